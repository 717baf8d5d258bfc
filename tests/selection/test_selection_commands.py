"""Commands take a selection in one way, and `ls` shows what it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from batchforge.cli import run_command
from batchforge.config.config_files import load_schema
from batchforge.error_codes import ERROR_CODES
from tests.project_files import PROJECT, write_files

JOB = "input: {file: a.csv}\nuser: x\n"
FILES = {
    "batchforge.yml": PROJECT
    + "sources:\n  tickets: {file: a.csv, description: All tickets, tests: [{not_null: text}]}\n"
    + "exposures:\n  board: {type: dashboard, depends_on: [report], owner: {name: Desk}}\n",
    "prompts/categories.yml": "a: b\n",
    "a.csv": "text\nx\n",
    "jobs/clean.yml": "input: {source: tickets}\nuser: x\ntags: [nightly]\ngroup: desk\n",
    "jobs/report.yml": "input: {ref: clean}\nuser: x\n",
    "jobs/alone.yml": JOB,
    "jobs/old.yml": JOB + "enabled: false\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_files(tmp_path, FILES))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    code = run_command(line.split())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def names(capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    code, out, err = run(capsys, f"ls {line} --output json")
    assert code == 0, err
    return [each["name"] for each in json.loads(out)]


@pytest.mark.parametrize(
    ("line", "selected"),
    [
        ("", ["alone", "clean", "old", "report", "tickets", "board"]),
        ("--select alone report", ["alone", "report"]),
        ("-s alone report --exclude report", ["alone"]),
        ("--exclude alone report --resource-type job", ["clean"]),
        ("--exclude alone --exclude report source:tickets", ["clean", "board"]),
        ("--select clean+ --resource-type exposure", ["board"]),
        ("alone --select clean", ["alone", "clean"]),
        ("--select *", ["alone", "clean", "report", "board"]),
    ],
)
def test_words_go_on_to_the_next_option(
    project: Path, capsys: pytest.CaptureFixture[str], line: str, selected: list[str]
) -> None:
    assert names(capsys, line) == selected


def test_ls_shows_sources_exposures_and_lineage(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ls --select +exposure:board --lineage")
    assert code == 0
    assert out == (
        "clean           nightly\n    needs source:tickets\n    needed by report\n"
        "report\n    needs clean\n    needed by exposure:board\n"
        "source:tickets           All tickets\n    needed by clean\n"
        "exposure:board           dashboard: (Desk)\n    needs report\n"
    )


def test_ls_says_where_each_setting_was_set(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "ls clean --settings")
    assert "    max_tokens: 400               batchforge.yml:6:26\n" in out
    assert '    tags: ["nightly"]             jobs/clean.yml:3:1\n' in out


def test_ls_gives_sources_and_exposures_as_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "ls --select source:tickets exposure:board --output json")
    source, exposure = json.loads(out)
    assert (source["resource_type"], source["file"], source["children"]) == ("source", "a.csv", ["clean"])
    assert source["tests"] == ["not_null_text"]
    assert (exposure["resource_type"], exposure["owner"], exposure["parents"]) == (
        "exposure",
        {"name": "Desk"},
        ["report"],
    )


@pytest.mark.parametrize("command", ["run", "build", "plan", "compile", "collect", "status", "cancel", "test", "ls"])
def test_every_command_says_that_nothing_is_selected(
    project: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    code, out, err = run(capsys, f"{command} --select tag:nope")
    assert (code, out) == (0, "")
    assert err.endswith("Nothing is selected.\n")
    code, out, err = run(capsys, f"{command} --select tag:nope --output json")
    assert code == 0
    assert json.loads(out) in ([], {"jobs": [], "message": "Nothing is selected."})
    code, out, err = run(capsys, f"{command} --select tag:nope --on-empty fail")
    assert code == 2
    assert ERROR_CODES["BF920"].example in err


def test_gone_jobs_are_named_where_states_are_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "compile clean alone")[0] == 0
    (project / "jobs/alone.yml").unlink()
    code, out, err = run(capsys, "ls --select state:modified --state target")
    assert (code, out) == (0, "")
    assert "Gone since then: alone.\n" in err


def test_a_run_keeps_what_its_jobs_are_made_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "run clean --quiet")[0] == 0
    assert names(capsys, "--select result:success --state target") == ["clean"]
    assert names(capsys, "--select state:old,resource_type:job --state target") == ["alone", "clean", "report"]
    write_files(project, {"jobs/report.yml": "input: {ref: clean}\nuser: y\n"})
    assert names(capsys, "--select state:modified --state target") == ["report"]


def test_parse_reads_selectors_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(project, {"selectors/x.yml": "selectors: [{name: a, definition: {union: b}}]\n"})
    code, _, err = run(capsys, "parse")
    assert code == 2
    assert "BF195 selectors/x.yml:1:43" in err


def test_a_manifest_holds_lineage_and_is_as_its_schema_says(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "compile clean")[0] == 0
    manifest = json.loads((project / "target/manifest.json").read_text())
    assert list(Draft202012Validator(load_schema("manifest.schema.json")).iter_errors(manifest)) == []
    clean = manifest["jobs"]["clean"]
    assert (clean["parents"], clean["children"], clean["requests"]) == (["source:tickets"], ["report"], 1)
    assert clean["files"] == ["a.csv", "batchforge.yml", "jobs/clean.yml"]
    assert "requests" not in manifest["jobs"]["report"]
    assert manifest["exposures"]["board"]["parents"] == ["report"]
    assert manifest["sources"]["tickets"]["children"] == ["clean"]
