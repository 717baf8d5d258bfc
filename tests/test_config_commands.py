"""parse, ls, clean and explain: what they print, as text and as JSON, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from batchforge.commands import clean, explain, ls, parse
from batchforge.commands.options import parse_vars
from batchforge.error_codes import ERROR_CODES
from batchforge.errors import BatchForgeError
from tests.project_files import JOB, PROJECT, write_project

PATH = "jobs/triage/classify_tickets.yml"


def run(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def printed(command: click.Command, *words: str | Path) -> str:
    result = run(command, *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(command: click.Command, *words: str | Path) -> BatchForgeError:
    error = run(command, *words).exception
    assert isinstance(error, BatchForgeError)
    return error


def test_parse_says_that_all_is_well(tmp_path: Path) -> None:
    assert printed(parse.command, "--project-dir", write_project(tmp_path)) == "support: 1 job, no errors.\n"


def test_parse_lists_all_problems_of_all_files(tmp_path: Path) -> None:
    root = write_project(tmp_path, {PATH: "modle: x\n", "jobs/b.yml": "a: b: c\n", "batchforge.yml": "version: 2\n"})
    error = refused(parse.command, "--project-dir", root)
    assert error.exit_code == 2
    assert {problem.location.path for problem in error.problems if problem.location} == {
        "batchforge.yml",
        "jobs/b.yml",
        PATH,
    }


def test_parse_gives_problems_as_json(tmp_path: Path) -> None:
    result = run(parse.command, "--output", "json", "--project-dir", write_project(tmp_path, {PATH: "modle: x\n"}))
    assert result.exit_code == 2
    value = json.loads(result.stdout)
    assert (value["project"], value["jobs"]) == ("support", [])
    assert value["problems"][0] | {"hint": ""} == {
        "code": "BF101",
        "severity": "error",
        "message": "`modle` is not a job setting.",
        "path": PATH,
        "line": 1,
        "column": 1,
        "hint": "",
    }


def test_parse_takes_variables(tmp_path: Path) -> None:
    root = write_project(tmp_path, {"batchforge.yml": PROJECT + "vars: {month: {required: true}}\n"})
    assert refused(parse.command, "--project-dir", root).problems[0].code == "BF140"
    assert printed(parse.command, "--project-dir", root, "--vars", "month=2026-11")


def test_the_project_is_found_from_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_project(tmp_path / "project")
    monkeypatch.chdir(root / "jobs")
    assert printed(parse.command)
    monkeypatch.chdir(tmp_path)
    assert refused(parse.command).problems[0].code == "BF120"
    monkeypatch.setenv("BATCHFORGE_PROJECT_DIR", str(root))
    assert printed(parse.command)
    assert refused(parse.command, "--project-dir", tmp_path).problems[0].code == "BF120"


def test_ls_lists_jobs_with_tags_and_descriptions(tmp_path: Path) -> None:
    files = {"jobs/b.yml": 'enabled: false\ninput: {file: a.csv}\nuser: x\ndescription: "Wide 漢\\e[31m"\n'}
    assert printed(ls.command, "--project-dir", write_project(tmp_path, files)) == (
        "b                          (disabled) Wide 漢\\x1b[31m\n"
        "classify_tickets  nightly  One of three categories for each ticket.\n"
    )


def test_ls_selects(tmp_path: Path) -> None:
    root = write_project(tmp_path, {"jobs/b.yml": "input: {file: a.csv}\nuser: x\n"})
    assert printed(ls.command, "--project-dir", root, "-s", "tag:nightly").startswith("classify_tickets")
    assert printed(ls.command, "--project-dir", root, "--exclude", "tag:nightly") == "b\n"
    assert (
        run(ls.command, "--project-dir", root, "-s", "c").stderr.splitlines()[0]
        == "BF923 warning: `c` selects nothing."
    )
    assert refused(ls.command, "--project-dir", root, "c").problems[0].code == "BF903"


def test_ls_gives_json(tmp_path: Path) -> None:
    (job,) = json.loads(printed(ls.command, "--project-dir", write_project(tmp_path), "--output", "json"))
    assert job["settings"]["model"] == {"value": "cheap", "from": "batchforge.yml:6:12"}
    assert job == {
        "resource_type": "job",
        "fqn": ["support", "triage", "classify_tickets"],
        "group": None,
        "parents": [],
        "children": [],
        "tests": [],
        "settings": job["settings"],
        "name": "classify_tickets",
        "path": PATH,
        "description": "One of three categories for each ticket.",
        "tags": ["nightly"],
        "model": "claude-haiku-5-5",
        "models": ["claude-haiku-5-5"],
        "enabled": True,
        "output": "outputs/tickets.parquet",
    }


def test_clean_removes_what_can_be_made_again_and_nothing_else(tmp_path: Path) -> None:
    kept = {".batchforge/state.db": "s", "outputs/tickets.csv": "o"}
    root = write_project(tmp_path, {**kept, "target/manifest.json": "12345", "target/local/outputs/x.csv": "12"})
    assert printed(clean.command, "--project-dir", root) == "Removed target/: 2 files, 7 bytes.\n"
    assert not (root / "target").exists()
    assert all((root / name).exists() for name in (*kept, PATH))
    assert printed(clean.command, "--project-dir", root) == "Nothing to remove in target/.\n"
    assert json.loads(printed(clean.command, "--project-dir", root, "--output", "json"))["files"] == 0


def test_clean_does_not_follow_a_link(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (root / "target").symlink_to(tmp_path / "precious")
    assert refused(clean.command, "--project-dir", root).problems[0].code == "BF906"
    (root / "target").unlink()
    (root / "target").mkdir()
    (root / "target" / "link").symlink_to(tmp_path / "precious")
    printed(clean.command, "--project-dir", root)
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.parametrize("code", ["BF101", "bf101", "101"])
def test_explain_says_cause_and_cure(code: str) -> None:
    text = printed(explain.command, code)
    entry = ERROR_CODES["BF101"]
    assert (
        text == f"BF101: {entry.title}\n\nCause: {entry.cause}\n\nCure: {entry.cure}\n\nExample:\n  {entry.example}\n"
    )


def test_explain_lists_all_codes() -> None:
    assert len(printed(explain.command).splitlines()) == len(ERROR_CODES)
    assert json.loads(printed(explain.command, "--output", "json")).keys() == ERROR_CODES.keys()
    assert json.loads(printed(explain.command, "BF101", "--output", "json"))["code"] == "BF101"
    assert refused(explain.command, "BF000").problems[0].code == "BF905"


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["a=1", "b=x=y", "c="], {"a": "1", "b": "x=y", "c": ""}),
        (["a=1", "a=2"], {"a": "2"}),
        (["{a: 1, b: no, c: [x]}"], {"a": 1, "b": "no", "c": ["x"]}),
        (['{"a": "1", "b": null}'], {"a": "1", "b": None}),
        (["a: 1"], {"a": 1}),
        (["a=line\nline"], {"a": "line\nline"}),
    ],
)
def test_vars_are_read(texts: list[str], values: dict[str, Any]) -> None:
    assert parse_vars(texts) == values


@pytest.mark.parametrize("text", ["a", "5", "", "[a]", "{a: 1", "{a: 1, a: 2}", "1a=2", "a: !x 1"])
def test_vars_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BatchForgeError, match="BF901"):
        parse_vars([text])


def test_a_job_in_use_by_an_editor_is_the_job_that_the_readme_shows(tmp_path: Path) -> None:
    commented = "# yaml-language-server: $schema=../../schemas/job.schema.json\n" + JOB
    assert printed(parse.command, "--project-dir", write_project(tmp_path, {PATH: commented}))
