"""Every code that the program uses is explained, every explained code is used, and the examples are what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import batchforge
from batchforge.error_codes import ERROR_CODES
from tests.project_files import JOB, PROJECT, problems_of

PACKAGE = Path(batchforge.__file__).parent
PATH = "jobs/triage/classify_tickets.yml"
LOCAL = "  local: {type: emulator}\n"
OPTIONAL_FIELDS = "".join(f"    note_{number}: {{type: text, optional: true}}\n" for number in range(1, 26))
FIELDS = "  fields:\n    category: {one_of: categories}\n    reason: text\n"
AFTER_TICKETS = "input: {ref: classify_tickets}\nuser: x\n"


def job(old: str, new: str) -> dict[str, str | bytes]:
    assert old in JOB
    return {PATH: JOB.replace(old, new)}


def project(old: str, new: str) -> dict[str, str | bytes]:
    assert old in PROJECT
    return {"batchforge.yml": PROJECT.replace(old, new)}


def target(settings: str) -> dict[str, str | bytes]:
    return project(
        "  local: {type: emulator}\n", f"  local: {{type: emulator}}\n  prod: {{type: claude, {settings}}}\n"
    )


CAUSES: dict[str, dict[str, str | bytes]] = {
    "BF100": job("thinking: disabled", "thinking: disabled: yes"),
    "BF101": job("thinking:", "thinkin:"),
    "BF102": job("One of three categories for each ticket.", "2026"),
    "BF103": project("version: 1\n", ""),
    "BF104": job("thinking: disabled", "thinking: disable"),
    "BF105": job("{file: data/tickets.tsv}", "{file: data/tickets.tsv, files: data/*.tsv}"),
    "BF106": job("thinking: disabled", "thinking: disabled\ntags: [weekly]"),
    "BF107": job("tags: [nightly]", "tags: !!set [nightly]"),
    "BF108": job("tags: [nightly]", "tags: *usual"),
    "BF109": job("tags: [nightly]", "---\ntags: [nightly]"),
    "BF110": job("tags: [nightly]", f"tags: {'[' * 70}{']' * 70}"),
    "BF111": job("for each", "for\0each"),
    "BF112": {PATH: JOB.replace("three", "dre\u00ed").encode("latin-1")},
    "BF113": job("output:\n", "output:\n  <<: {columns: [text]}\n"),
    "BF114": job("  fields", "\tfields"),
    "BF115": job("tags: [nightly]", "meta: {ticket: 123456789012345678901}"),
    "BF116": job('"<ticket>{{ row.text }}</ticket>"', "{{ row.text }}"),
    "BF117": job("thinking: disabled", "thinking: disabled\nmax_tokens: 0"),
    "BF118": {"jobs/empty.yml": "# later\n"},
    "BF121": job("prompts/classify.md.j2", "prompts/clasify.md.j2"),
    "BF122": job("prompts/classify.md.j2", "../prompts/classify.md.j2"),
    "BF124": job("prompts/classify.md.j2", "prompts"),
    "BF130": project("default_target: local", "default_target: loca"),
    "BF131": target('api_key: "{{ vars.key }}"'),
    "BF133": {"batchforge.yml": PROJECT + "vars: {region: \"{{ env_var('REGION') }}\"}\n"},
    "BF134": target('base_url: "http://gateway.example"'),
    "BF136": target("api_key: sk-ant-not-a-real-key"),
    "BF137": target('state: "mysql://db/state"'),
    "BF138": job("outputs/tickets.parquet", "target/tickets.parquet"),
    "BF139": project(
        "  local: {type: emulator}\n", "  local: {type: emulator}\n  dev: {type: claude}\n  prod: {type: claude}\n"
    ),
    "BF140": {"batchforge.yml": PROJECT + "vars: {month: {required: true}}\n"},
    "BF150": {"jobs/Classify Tickets.yml": JOB},
    "BF151": {"jobs/other/classify_tickets.yml": JOB},
    "BF152": project(", max_tokens: 400", ""),
    "BF153": job("thinking: disabled", "params: {stream: true}"),
    "BF154": {"jobs/other.yml": JOB},
    "BF156": job("one_of: categories", "one_of: categorys"),
    "BF157": {"prompts/categories.yml": "billing: the money\nBilling: the bills\n"},
    "BF158": {"prompts/classify.md.j2": "\n"},
    "BF190": {PATH: JOB + "tests: [{length: {column: reason}}]\n"},
    "BF191": {PATH: JOB + "tests: [{unique: id, name: a}, {not_null: id, name: a}]\n"},
    "BF192": {"tests/none.sql": "SELECT 1\n"},
    "BF160": job(FIELDS, "  schema: {type: object, properties: {reason: {type: string, format: iban}}}\n"),
    "BF164": job(FIELDS, "  schema: {type: object, properties: {reason: {type: string, maxLength: 80}}}\n"),
    "BF165": job(FIELDS, "  from: {tool: record}\n" + FIELDS),
    "BF161": job(FIELDS, '  schema: {type: object, properties: {reason: {$ref: "#/$defs/text"}}}\n'),
    "BF162": job("    reason: text\n", OPTIONAL_FIELDS),
    "BF163": job(FIELDS, "  schema: {type: object, additionalProperties: true}\n"),
    "BF180": job("{file: data/tickets.tsv}", "{ref: clean_tickets}"),
    "BF181": {PATH: JOB.replace("{file: data/tickets.tsv}", "{ref: other}"), "jobs/other.yml": AFTER_TICKETS},
    "BF182": {"jobs/other/classify_tickets.yml": JOB, "jobs/last.yml": AFTER_TICKETS},
    "BF183": job("{file: data/tickets.tsv}", "{source: tickets}"),
    "BF184": job("{file: data/tickets.tsv}", "{sql: select 1 as text, key: text, connection: warehouse}"),
}


def used_codes() -> set[str]:
    sources = (path for path in PACKAGE.rglob("*.py") if path.name != "error_codes.py")
    return {code for path in sources for code in re.findall(r"\bBF\d{3}\b", path.read_text("utf-8"))}


def test_every_code_that_is_used_is_explained() -> None:
    assert used_codes() - ERROR_CODES.keys() == set()


def test_every_code_that_is_explained_is_used() -> None:
    assert ERROR_CODES.keys() - used_codes() == set()


def test_codes_are_in_order() -> None:
    assert list(ERROR_CODES) == sorted(ERROR_CODES)


@pytest.mark.parametrize("code", ERROR_CODES)
def test_an_explanation_is_complete(code: str) -> None:
    entry = ERROR_CODES[code]
    assert entry.title
    assert not entry.title.endswith(".")
    assert entry.cause.endswith((".", ")"))
    assert entry.cure.endswith((".", "`"))


@pytest.mark.parametrize("code", CAUSES)
def test_the_example_is_what_the_program_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.delenv("BATCHFORGE_ENV_ALLOW", raising=False)
    assert ERROR_CODES[code].example in problems_of(tmp_path, CAUSES[code])
