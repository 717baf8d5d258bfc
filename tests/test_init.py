"""`batchforge init`: whatever file it is given, what it makes passes `parse` and runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchforge import pipeline
from batchforge.cli import run_command
from batchforge.config.job_files import load_jobs
from batchforge.errors import ProblemList
from batchforge.project import load_project
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.spec import JobSpec
from batchforge.summaries import JobSummary
from tests.builders import CLI, child_environment

Init = Callable[..., int]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are given in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> int:
    return run_command(["init", *words, "--yes"])


def only_job(root: Path) -> JobSpec:
    """The job of a project in which nothing is wrong."""
    problems = ProblemList()
    (job,) = load_jobs(load_project(root, problems=problems), problems).values()
    assert problems.items == []
    return job


def run(root: Path) -> JobSummary:
    project = load_project(root, problems=ProblemList())
    (summary,) = pipeline.run(project, [only_job(root)], project.target()).jobs
    return summary


def statuses(summary: JobSummary) -> dict[str, int]:
    assert summary.output is not None
    return dict(summary.output.statuses)


def made_from(here: Path, name: str, content: str | bytes) -> Path:
    (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert init("made", "--from", name) == 0
    return here / "made"


def test_without_a_file_the_project_runs_at_once(here: Path) -> None:
    assert init("demo") == 0
    assert statuses(run(here / "demo")) == {"answered": 6}


def test_it_brings_a_gitignore_and_the_schemas_for_the_editor(here: Path) -> None:
    init("demo")
    assert {"target/", ".batchforge/"} <= set((here / "demo/.gitignore").read_text().splitlines())
    for file in ("batchforge.yml", f"jobs/{only_job(here / 'demo').name}.yml"):
        first = (here / "demo" / file).read_text().splitlines()[0]
        schema = (here / "demo" / file).parent / first.removeprefix("# yaml-language-server: $schema=")
        assert json.loads(schema.read_text())["title"] in {"Project", "Job"}


def test_schemas_refer_only_to_files_that_came_with_them(here: Path) -> None:
    init("demo")
    folder = here / "demo/schemas"
    for path in folder.iterdir():
        for part in path.read_text().split('"$ref": "')[1:]:
            file = part.split('"')[0].split("#")[0]
            assert not file or (folder / file).is_file()


ODD_FILES: dict[str, tuple[str, str | bytes, int, dict[str, Any]]] = {
    "spaces and dots in names": ("a.csv", "My column,other.one\nhello there,1\nhi you,2\n", 2, {"key": ("other.one",)}),
    "quotes and braces in names": ("a.csv", '"say ""it""","a}}b\'s"\nx,hello there all\n', 1, {}),
    "names that are words of YAML": ("a.csv", "yes,null,on\n1,hello there,3\n", 1, {"key": ("yes",)}),
    "names of methods of a mapping": ("a.csv", "id,items\n1,hello there\n", 1, {"key": ("id",)}),
    "names in other scripts": ("a.csv", "ключ,Größe 📏\n1,ein langer Text\n", 1, {"key": ("ключ",)}),
    "semicolons": ("a.csv", 'id;text\n1;"a;b, c"\n2;d\n', 2, {"delimiter": ";", "key": ("id",)}),
    "a byte order mark": ("a.csv", b"\xef\xbb\xbfid,text\r\n1,hello\r\n", 1, {"key": ("id",)}),
    "UTF-16": ("a.csv", "id,text\n1,héllo\n".encode("utf-16"), 1, {"encoding": "utf-16"}),
    "Windows' encoding": ("a.csv", "id,text\n1,h\xe9llo\n".encode("cp1252"), 1, {"encoding": "cp1252"}),
    "tabs": ("a.tsv", "id\ttext\n1\thello, you\n", 1, {"key": ("id",), "delimiter": None}),
    "tabs in a .csv": ("a.csv", "id\ttext\n1\thello\n", 1, {"delimiter": "\t"}),
    "lone quotes": ("a.tsv", 'id\ttext\n1\t"Hello\n2\t5" nails\n', 2, {"quote": None}),
    "no header": ("a.csv", "1,hello there\n2,and you\n", 2, {"header": False, "key": ("c1",)}),
    "an index without a name": ("a.csv", ",text\n0,hello\n1,you\n", 2, {"header": False, "key": ("column_1",)}),
    "a name that stands twice": ("a.csv", "text,text\nhello,you\n", 1, {"columns": ("text", "text_2")}),
    "one column": ("a.csv", "text\nhello there\n", 1, {}),
    "texts, one a line": ("notes.txt", "text\nI came, I saw\nthen I left\n", 2, {"format": "csv"}),
    "names like those of outputs": ("a.csv", "_id,_status,summary\n1,ok,a long old summary\n", 1, {"key": ("_id",)}),
    "an ending in capitals": ("A B.CSV", "id,text\n1,hello\n", 1, {"key": ("id",)}),
    "lines of JSON": ("a.jsonl", '{"id": 1, "text": "hello"}\n{"id": 2, "note": "x"}\n', 2, {"key": ("id",)}),
    "JSON": ("a.json", '[{"id": "x", "deep": {"a": 1}, "body": "hello"}]', 1, {"key": ("id",)}),
    "no texts": ("a.jsonl", '{"a": 1.5, "b": true}\n', 1, {"key": ()}),
    "keys that are not unique": ("a.csv", "id,text\n1,hello\n1,you there\n", 2, {"key": ()}),
    "keys that are not always there": ("a.csv", "id,text\n1,hello\n,you there\n", 2, {"key": ()}),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_project_from_an_odd_file_parses_and_runs(here: Path, name: str) -> None:
    file, content, rows, wanted = ODD_FILES[name]
    root = made_from(here, file, content)
    spec = only_job(root).input
    assert {setting: getattr(spec, setting) for setting in wanted} == wanted
    assert statuses(run(root)) == {"answered": rows}


def test_a_project_from_parquet_runs(here: Path) -> None:
    import duckdb

    rows = """SELECT range AS "row id", 'text ' || range AS body FROM range(3)"""
    duckdb.execute(f"COPY ({rows}) TO '{here}/a.parquet'")
    assert init("made", "--from", "a.parquet") == 0
    assert only_job(here / "made").input.key == ("row id",)
    assert statuses(run(here / "made")) == {"answered": 3}


_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_NAMES, min_size=1, max_size=4, unique=True))
def test_any_column_name_makes_a_job_that_compiles(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    (folder / "a.jsonl").write_text(json.dumps({name: f"value of {name}" for name in names}) + "\n", "utf-8")
    assert run_command(["init", str(folder / "made"), "--from", str(folder / "a.jsonl"), "--yes"]) == 0
    job = only_job(folder / "made")
    problems = ProblemList()
    project = load_project(folder / "made", problems=problems)
    compiled = compile_jobs(project, [job], project.target(), RunOptions(), problems)
    assert problems.errors == []
    (row,) = compiled[0].requests()
    assert "value of" in str(compiled[0].params_of(row))  # type: ignore[arg-type]


def test_a_file_inside_the_project_stays_where_it_is(here: Path) -> None:
    (here / "exports").mkdir()
    (here / "exports/may.csv").write_text("id,text\n1,hello\n")
    assert init(".", "--from", "exports/may.csv") == 0
    assert only_job(here).input.files == "exports/may.csv"
    assert not (here / "data").exists()


def test_a_file_outside_is_copied(here: Path) -> None:
    assert only_job(made_from(here, "may.csv", "id,text\n1,hello\n")).input.files == "data/may.csv"
    assert (here / "made/data/may.csv").read_bytes() == (here / "may.csv").read_bytes()


def test_nothing_is_overwritten_and_what_is_in_the_way_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "batchforge.yml").write_text("mine")
    (here / "jobs").write_text("a file, not a folder")
    assert init() == 2
    assert "BF930 batchforge.yml, " in (told := capsys.readouterr().err)
    assert "jobs" in told
    assert sorted(path.name for path in here.iterdir()) == ["batchforge.yml", "jobs"]
    assert (here / "batchforge.yml").read_text() == "mine"


def test_a_gitignore_that_is_there_stays_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitignore").write_text("mine\n")
    assert init() == 0
    assert (here / ".gitignore").read_text() == "mine\n"
    assert "Your .gitignore stays as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "holds no rows"), ("id,text\n", "holds no rows"), (None, "There is no file a.csv")],
)
def test_a_file_that_cannot_be_used_says_so(
    here: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    if content is not None:
        (here / "a.csv").write_text(content)
    assert init("made", "--from", "a.csv") == 2
    assert told in capsys.readouterr().err
    assert not (here / "made").exists()


def test_a_misspelt_file_brings_the_nearest_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "tickets.csv").write_text("id\n1\n")
    assert init("--from", "tickets.cvs") == 2
    assert "Did you mean 'tickets.csv'?" in capsys.readouterr().err.replace("`", "'")


def test_the_value_as_json_names_what_was_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.csv").write_text("id,text\n1,hello there\n")
    assert run_command(["init", "--from", "a.csv", "--output", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["input"] == {"rows": 1, "columns": ["id", "text"], "key": "id", "text": "text"}
    assert {"batchforge.yml", ".gitignore", f"jobs/{value['job']}.yml"} <= set(value["files"])


def test_on_a_terminal_it_asks_for_the_file_and_the_column(here: Path) -> None:
    (here / "a.csv").write_text("id,note,text\n1,hm,hello there\n")
    main_side, terminal = os.openpty()
    process = subprocess.Popen(
        [*CLI, "init", "made"], cwd=here, env=child_environment(TERM="dumb"), stdin=terminal, stdout=terminal, stderr=2
    )
    os.close(terminal)
    os.write(main_side, b"a.csv\nnote\n")
    assert process.wait(30) == 0
    os.close(main_side)
    assert "row.note" in (here / "made/jobs/summarize_a.yml").read_text()
