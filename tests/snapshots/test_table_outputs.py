"""Published rows in database tables: made where told so, one transaction, by the publish rule; drift is named."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batchforge.cli import run_command
from tests.postgres_server import PostgresServer
from tests.project_files import write_files

Ask = Callable[[str], list[tuple[Any, ...]]]
PROJECT = """\
name: shop
version: 1
targets:
  local:
    type: emulator
    connections: {warehouse: {url: "{{ env_var('WAREHOUSE_URL') }}"}}
defaults: {model: claude-haiku-5-5, max_tokens: 400, thinking: disabled}
"""
JOB = """\
input: {file: data/reviews.csv, key: id, types: {stars: integer}}
user: "{{ row.text }}"
output:
  fields: {label: {one_of: [good, bad]}, score: integer, sure: boolean, tags: {list_of: text}}
  table: labelled
  connection: warehouse
"""
REVIEWS = "id,text,stars\na,Fine.,5\nb,Bad.,\n"
KINDS = ["postgresql", "sqlite", "duckdb", "alchemy"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "")  # what a test sets goes with it


@pytest.fixture(params=KINDS)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Ask]]:
    """The URL of an empty database, and a way to ask it."""
    kind = request.param
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
        with psycopg.connect(url, autocommit=True) as database:
            yield url, lambda text: _rows(database.execute(text.encode()))
        return
    file = tmp_path / "shop.db"
    url = {"sqlite": "sqlite:///shop.db", "duckdb": "duckdb:///shop.db"}.get(kind, f"sqlite+pysqlite:///{file}")
    yield url, lambda text: _ask_file(kind, file, text)


def _rows(cursor: Any) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description else []


def _ask_file(kind: str, file: Path, text: str) -> list[tuple[Any, ...]]:
    import duckdb

    database: Any = duckdb.connect(str(file)) if kind == "duckdb" else sqlite3.connect(file, isolation_level=None)
    try:
        return _rows(database.execute(text))
    finally:
        database.close()


def write_project(root: Path, url: str, *, table: str = "", files: Mapping[str, str] | None = None) -> None:
    """`table` are further settings of the output."""
    os.environ["WAREHOUSE_URL"] = url
    lines = "".join(f"  {line}\n" for line in table.splitlines())
    write_files(
        root,
        {
            "batchforge.yml": PROJECT,
            "jobs/label.yml": JOB + lines,
            "data/reviews.csv": REVIEWS,
            **(files or {}),
        },
    )


def run(root: Path) -> int:
    return run_command(["run", "--project-dir", str(root), "-q"])


def test_a_table_is_made_and_rows_of_equal_keys_are_replaced(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true")
    assert run(tmp_path) == 0
    assert ask("select id, stars, label in ('good', 'bad'), _status from labelled order by id") == [
        ("a", 5, True, "answered"),
        ("b", None, True, "answered"),
    ]
    (tmp_path / "data/reviews.csv").write_text("id,text,stars\nb,Better.,4\nc,New.,3\n")
    assert run(tmp_path) == 0
    assert ask("select id, text, stars from labelled order by id") == [
        ("a", "Fine.", 5),
        ("b", "Better.", 4),
        ("c", "New.", 3),
    ]


def test_append_adds_each_output_once(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true\nmode: append")
    assert run(tmp_path) == 0
    (tmp_path / "target/local/outputs/label.jsonl").unlink()  # as if the run had ended before it was there
    assert run(tmp_path) == 0
    assert ask("select count(*) from labelled") == [(2,)]
    (tmp_path / "data/reviews.csv").write_text("id,text,stars\na,Fine.,5\n")
    assert run(tmp_path) == 0
    assert ask("select id from labelled order by id") == [("a",), ("a",), ("b",)]


def test_replace_takes_the_place_of_all(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true\nmode: replace")
    assert run(tmp_path) == 0
    (tmp_path / "data/reviews.csv").write_text("id,text,stars\nz,Fine.,5\na,New.,5\n")
    assert run(tmp_path) == 0
    assert ask("select id from labelled order by id") == [("a",), ("z",)]


def test_a_table_of_ones_own_keeps_its_other_columns(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="columns: [id]")
    ask(
        "create table labelled (id varchar(20) primary key, note varchar(20) default 'mine', label varchar(20), "
        "score integer, sure boolean, tags varchar(900), _emulated boolean)"
    )
    ask("insert into labelled (id, note) values ('a', 'kept')")
    assert run(tmp_path) == 0
    assert [row[0] for row in ask("select id from labelled order by id")] == ["a", "b"]
    if "pysqlite" not in url:  # there a row of the same key is removed first
        assert ask("select note, label is not null from labelled order by id") == [("kept", True), ("mine", True)]


def test_what_differs_is_named_before_anything_is_sent(
    tmp_path: Path, warehouse: tuple[str, Ask], capsys: pytest.CaptureFixture[str]
) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="columns: [id]")
    if "sqlite" in url or "duckdb" in url:
        ask("create table other (id integer)")
    assert run(tmp_path) == 2
    assert "BF706" in capsys.readouterr().err
    ask("create table labelled (id varchar(20) primary key, label integer, must integer not null, sure boolean)")
    assert run(tmp_path) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "BF707" in message
    assert "it has no column 'score' (integer)" in message
    assert "its column 'must' must have a value" in message
    assert ("column 'label' is INTEGER".lower() in message.lower()) == (not url.startswith("sqlite:"))
    assert not (tmp_path / "target/local/outputs").exists()


def test_a_key_that_names_two_rows_changes_nothing(
    tmp_path: Path, warehouse: tuple[str, Ask], capsys: pytest.CaptureFixture[str]
) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true")
    assert run(tmp_path) == 0
    write_project(
        tmp_path, url, table="create: true\nkey: text", files={"data/reviews.csv": REVIEWS.replace("Bad.", "Fine.")}
    )
    capsys.readouterr()
    assert run(tmp_path) == 2
    assert "BF708" in capsys.readouterr().err
    assert ask("select id, text from labelled order by id") == [("a", "Fine."), ("b", "Bad.")]


def test_a_part_of_the_rows_is_never_published(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true")
    assert run_command(["run", "--project-dir", str(tmp_path), "-q", "--limit", "1"]) == 0
    assert run(tmp_path) == 0
    assert ask("select count(*) from labelled") == [(2,)]


def test_emulated_answers_go_only_into_a_connection_of_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path, "sqlite:///shop.db", table="create: true")
    text = (tmp_path / "batchforge.yml").read_text().replace("    connections: {warehouse", "connections: {warehouse")
    head, _, rest = text.partition("connections:")
    line, _, tail = rest.partition("\n")
    (tmp_path / "batchforge.yml").write_text(f"{head}{tail}connections:{line}\n")
    assert run_command(["run", "--project-dir", str(tmp_path)]) == 0
    assert "emulated answers go only into a connection that the target" in capsys.readouterr().err
    assert not (tmp_path / "shop.db").exists()


def test_two_targets_do_not_write_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(tmp_path, "sqlite:///shop.db", table="create: true")
    (tmp_path / "batchforge.yml").write_text(
        "name: shop\nversion: 1\ndefault_target: a\n"
        "targets:\n  a: {type: claude, outputs: a}\n  b: {type: claude, outputs: b, workspace_id: w}\n"
        'connections: {warehouse: {url: "sqlite:///shop.db"}}\n'
        "defaults: {model: claude-haiku-5-5, max_tokens: 400, thinking: disabled}\n"
    )
    assert run_command(["plan", "--project-dir", str(tmp_path)]) == 2
    assert "BF709" in capsys.readouterr().err


def test_a_table_that_was_dropped_or_emptied_is_written_again_without_asking(
    tmp_path: Path, warehouse: tuple[str, Ask], capsys: pytest.CaptureFixture[str]
) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true")
    assert run(tmp_path) == 0
    for statement in ("drop table labelled", "delete from labelled"):
        ask(statement)
        assert run_command(["run", "--project-dir", str(tmp_path), "--output", "json"]) == 0
        assert '"requests_sent": 0' in capsys.readouterr().out
        assert ask("select count(*) from labelled") == [(2,)]
    assert run_command(["run", "--project-dir", str(tmp_path), "--output", "json"]) == 0
    assert '"output": null' in capsys.readouterr().out


def test_a_table_that_is_added_to_may_be_emptied_by_its_readers(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true\nmode: append")
    assert run(tmp_path) == 0
    ask("delete from labelled")
    assert run(tmp_path) == 0
    assert ask("select count(*) from labelled") == [(0,)]
    ask("drop table labelled")
    assert run(tmp_path) == 0
    assert ask("select count(*) from labelled") == [(2,)]


def test_an_output_file_that_was_deleted_is_written_again(tmp_path: Path, warehouse: tuple[str, Ask]) -> None:
    url, ask = warehouse
    write_project(tmp_path, url, table="create: true")
    assert run(tmp_path) == 0
    file = tmp_path / "target/local/outputs/label.jsonl"
    before = file.read_bytes()
    file.unlink()
    assert run(tmp_path) == 0
    assert file.read_bytes() == before
    assert ask("select count(*) from labelled") == [(2,)]
