"""What was edited is found part by part, against a manifest that was kept or a commit; what was not is left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from batchforge.errors import UsageError
from batchforge.requests.manifest import manifest_of
from batchforge.selection.choosing import Choice, Wanted, choose
from tests.git_repository import GitRepository, run_git
from tests.project_files import load, write_files

JOB = "jobs/triage/classify.yml"
FILES: Mapping[str, str] = {
    "batchforge.yml": """\
name: support
version: 1
targets: {local: {type: emulator}}
defaults: {model: cheap, max_tokens: 400}
models: {cheap: claude-haiku-5-5}
lists: {labels: prompts/labels.yml}
vars: {language: en, unused: 1}
sources:
  tickets: {file: data/tickets.csv}
exposures:
  board: {type: dashboard, depends_on: [summary]}
""",
    JOB: """\
description: The label of each ticket.
tags: [nightly]
input: {source: tickets}
system: "Answer in {{ vars.language }}. {% include 'tone.md' %}"
user: "{{ row.text }}"
output: {fields: {label: {one_of: labels}}}
""",
    "jobs/summary.yml": 'input: {ref: classify}\nuser: "{{ row.label }}"\n',
    "jobs/alone.yml": "input: {rows: [{a: 1}]}\nuser: x\n",
    "prompts/tone.md": "Be kind.\n",
    "prompts/labels.yml": "billing: money\nother: all else\n",
    "data/tickets.csv": "text\nWhere is my bill?\n",
}
ALL = ["alone", "classify", "summary"]
MOVED = "# a note\nuser: {file: prompts/x.md}\ninput: {rows: [{a: 1}]}\n"
"""The same job in other lines, and its prompt in another file."""


def written(root: Path, changed: Mapping[str, str | None] = {}) -> Path:
    """The project, with some files changed or taken away."""
    files = {**FILES, **changed}
    for name in (name for name, text in files.items() if text is None):
        (root / name).unlink(missing_ok=True)
    return write_files(root, {name: text for name, text in files.items() if text is not None})


def keep_manifest(root: Path, folder: Path) -> str:
    project, jobs, problems = load(root)
    assert problems == []
    write_files(folder, {"manifest.json": json.dumps(manifest_of(project, jobs, {}, "local"))})
    return str(folder)


def chosen(root: Path, *words: str, state: str | None = None) -> Choice:
    project, jobs, problems = load(root)
    assert problems == []
    return choose(project, jobs, Wanted(select=words, state=state))


def parts(root: Path, state: str) -> dict[str, list[str]]:
    """Part -> jobs that are modified in it."""
    from batchforge.selection.criteria import PARTS

    found = {part: sorted(without_tests(chosen(root, f"state:modified.{part}", state=state))) for part in PARTS}
    return {part: names for part, names in found.items() if names}


def without_tests(choice: Choice) -> list[str]:
    """Those of a job that is chosen are chosen with it."""
    return [name for name in choice.ids if not name.startswith("test:")]


def edit(name: str, old: str, new: str) -> dict[str, str | None]:
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new)}


@pytest.mark.parametrize(
    ("changed", "modified"),
    [
        (edit(JOB, "{{ row.text }}", "Sort: {{ row.text }}"), {"prompt": ["classify"]}),
        (edit(JOB, "Answer in", "Write in"), {"system": ["classify"]}),
        (edit("prompts/tone.md", "kind", "brief"), {"macro": ["classify"]}),
        (edit("batchforge.yml", "language: en", "language: de"), {"system": ["classify"]}),
        (edit("batchforge.yml", "unused: 1", "unused: 2"), {}),
        (
            edit("batchforge.yml", "cheap: claude-haiku-5-5", "cheap: claude-opus-5-5"),
            {"model": ["alone", "classify", "summary"]},
        ),
        (edit("batchforge.yml", "max_tokens: 400", "max_tokens: 500"), {"params": ALL}),
        (edit("jobs/alone.yml", "user: x", "user: x\nmax_tokens: 9\neffort: low"), {"params": ["alone"]}),
        (edit("jobs/alone.yml", "user: x", "user: x\ncache: off"), {"caching": ["alone"]}),
        (edit("jobs/alone.yml", "a: 1", "a: 2"), {"input": ["alone"]}),
        (edit("data/tickets.csv", "bill", "roof"), {"input": ["classify"]}),
        (edit("batchforge.yml", "data/tickets.csv}", "data/tickets.csv, encoding: latin-1}"), {"input": ["classify"]}),
        (edit("prompts/labels.yml", "other:", "claim: damage\nother:"), {"schema": ["classify"]}),
        (edit("prompts/labels.yml", "money", "bills"), {}),
        (edit("jobs/alone.yml", "user: x", "user: x\nmeta: {owner: me}"), {"meta": ["alone"]}),
        (edit("jobs/alone.yml", "user: x", "user: x\ntests: [{not_null: answer}]"), {"tests": ["alone"]}),
        ({"tests/few.sql": "select * from {{ output('alone') }}\n"}, {"tests": ["alone"]}),
        (edit("jobs/alone.yml", "user: x", "user: x\nmin_success: 0.5\nmode: sync"), {"run": ["alone"]}),
        (edit("jobs/summary.yml", "user:", "depends_on: [alone]\nuser:"), {"run": ["summary"]}),
        (edit(JOB, "[nightly]", "[weekly]\ngroup: support"), {}),
        (edit(JOB, "The label", "Label"), {}),
        (
            {
                "jobs/alone.yml": "# a note\nuser: {file: prompts/x.md}\ninput: {rows: [{a: 1}]}\n",
                "prompts/x.md": "x\n",
            },
            {},
        ),
        ({"jobs/alone.yml": None, "jobs/other/alone.yml": FILES["jobs/alone.yml"]}, {"folder": ["alone"]}),
    ],
)
def test_an_edit_is_found_in_its_part_and_in_no_other(
    tmp_path: Path, changed: dict[str, str | None], modified: dict[str, list[str]]
) -> None:
    state = keep_manifest(written(tmp_path / "project"), tmp_path / "state")
    root = written(tmp_path / "project", changed)
    assert parts(root, state) == modified
    jobs = sorted({name for names in modified.values() for name in names})
    assert [name for name in sorted(chosen(root, "state:modified", state=state).ids) if ":" not in name] == jobs


def test_nothing_is_modified_where_nothing_was_edited(tmp_path: Path) -> None:
    root = written(tmp_path)
    state = keep_manifest(root, tmp_path / "state")
    assert chosen(root, "state:modified", "state:new", state=state).ids == set()
    assert len(chosen(root, "state:unmodified", state=state).ids) == 5


def test_new_and_removed_jobs_are_named(tmp_path: Path) -> None:
    root = written(tmp_path)
    state = keep_manifest(root, tmp_path / "state")
    written(root, {"jobs/alone.yml": None, "jobs/new.yml": FILES["jobs/alone.yml"]})
    choice = chosen(root, "state:new", state=state)
    assert [job.name for job in choice.jobs] == ["new"]
    assert choice.removed == ("alone",)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The project in a folder of a repository, committed but for its data."""
    root = written(tmp_path / "project")
    GitRepository(tmp_path, {".gitignore": "data/\n"})
    return root


def test_a_commit_is_a_state_too(repository: Path) -> None:
    changed = {**edit("prompts/tone.md", "kind", "brief"), **edit("jobs/alone.yml", "a: 1", "a: 2")}
    root = written(repository, {**changed, "jobs/new.yml": FILES["jobs/alone.yml"]})
    assert parts(root, "HEAD")["macro"] == ["classify"]
    assert parts(root, "main")["input"] == ["alone", "new"]
    assert sorted(chosen(root, "state:modified+", state="main").ids) == [
        "alone",
        "classify",
        "exposure:board",
        "new",
        "summary",
    ]


def test_data_that_git_does_not_know_is_not_compared_with_a_commit(repository: Path) -> None:
    root = written(repository, edit("data/tickets.csv", "bill", "roof"))
    assert parts(root, "HEAD") == {}


def test_jobs_are_touched_by_the_files_that_they_depend_on(repository: Path) -> None:
    run_git(repository, "switch", "-q", "-c", "work")
    written(repository, edit("prompts/tone.md", "kind", "brief"))
    run_git(repository, "commit", "-q", "-a", "-m", "tone")
    root = written(repository, {**edit("prompts/tone.md", "kind", "brief"), **edit("jobs/alone.yml", "x", "y")})
    assert sorted(chosen(root, "git:main").ids) == ["alone", "classify"]
    assert sorted(chosen(root, "git:HEAD").ids) == ["alone"]
    assert sorted(chosen(root, "git:main+,resource_type:job").ids) == ["alone", "classify", "summary"]
    assert [job.name for job in chosen(root, "git:work").jobs] == ["alone"]


@pytest.mark.parametrize(
    ("words", "state", "message"),
    [
        (("state:new",), None, "`state:` needs something to compare with."),
        (("state:new",), "nowhere", "`nowhere` is neither a folder nor a commit here."),
        (("result:error",), None, "There is no file"),
    ],
)
def test_what_cannot_be_compared_says_so(
    repository: Path, words: tuple[str, ...], state: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match="BF922") as error:
        chosen(repository, *words, state=state)
    assert error.value.problems[0].message.startswith(message)


def test_a_commit_whose_project_is_wrong_is_no_state(repository: Path) -> None:
    written(repository, edit("jobs/alone.yml", "user", "usr"))
    run_git(repository, "commit", "-q", "-a", "-m", "wrong")
    with pytest.raises(UsageError, match=r"The project as of `HEAD` has errors, e\.g\. BF101 jobs/alone\.yml:2:1"):
        chosen(written(repository), "state:new", state="HEAD")


def test_results_lie_beside_the_manifest_or_are_those_of_the_last_run(tmp_path: Path) -> None:
    root = written(tmp_path / "project")
    results = {"jobs": [{"job": "classify", "status": "error"}, {"job": "alone", "status": "success"}]}
    write_files(root, {"target/run_results.json": json.dumps(results)})
    assert chosen(root, "result:error").ids == {"classify"}
    state = keep_manifest(root, tmp_path / "state")
    assert chosen(root, "result:error+", state=state).ids == {"classify", "summary", "exposure:board"}
    write_files(tmp_path / "state", {"run_results.json": json.dumps({"jobs": [{"job": "alone", "status": "warn"}]})})
    assert chosen(root, "result:warn", state=state).ids == {"alone"}
