"""Rows that go out of tables of any format; the others stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from batchforge.lookup.erased_files import ErasedRows, count_rows, remove_rows
from batchforge.spec import InputSpec
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from batchforge.tables.writing import open_writer

ENDINGS = ["jsonl", "csv", "tsv", "parquet"]
ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": 'Ann, "A"', "score": 0.5, "tags": ["a"], "_request_id": "bf1_a"},
    {"id": 2, "name": "=1+1", "score": 2.0, "tags": [], "_request_id": "bf1_b"},
    {"id": 3, "name": "発送\nzwei", "score": None, "tags": ["b", "c"], "_request_id": None},
]


def written(path: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Path:
    with open_writer(path, list(rows[0]), **options) as table:
        for row in rows:
            table.write(row)
    return path


def erased(*keys: str, key: tuple[str, ...] = ("id",), **settings: Any) -> ErasedRows:
    spec = InputSpec(key=key, on_duplicate=settings.pop("on_duplicate", "error"))
    known: dict[str, Any] = {"custom_ids": frozenset(), "columns": (), "values": frozenset(), **settings}
    return ErasedRows(spec, frozenset(keys), **known)


def names(path: Path) -> list[Any]:
    return [row["name"] for _, row in read_rows(path, path.name, TableOptions(format_of(path.name)))]


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_go_by_their_key(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"out.{ending}")
    assert count_rows(path, erased("2", "9")) == 1
    assert remove_rows(path, erased("2", "9")) == 1
    assert names(path) == [ROWS[0]["name"], ROWS[2]["name"]]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_where_nothing_is_to_go_the_file_is_not_touched(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"out.{ending}")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert remove_rows(path, erased("9")) == 0
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv"])
def test_the_lines_that_stay_are_the_same_bytes(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"out.{ending}")
    alone = written(tmp_path / f"alone.{ending}", [ROWS[0], ROWS[2]])
    path.chmod(0o640)
    remove_rows(path, erased("2"))
    assert path.read_bytes() == alone.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o640


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = written(tmp_path / "out.parquet", kinds={"tags": "json"})
    described = "DESCRIBE SELECT * FROM read_parquet(?)"
    before = duckdb.execute(described, [str(path)]).fetchall()
    remove_rows(path, erased("1"))
    assert duckdb.execute(described, [str(path)]).fetchall() == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_rows_can_go(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"out.{ending}")
    assert remove_rows(path, erased("1", "2", "3")) == 3
    assert names(path) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_key_of_several_columns_is_found(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"out.{ending}")
    assert remove_rows(path, erased('[2,"=1+1"]', key=("id", "name"))) == 1
    assert names(path) == [ROWS[0]["name"], ROWS[2]["name"]]


def test_a_key_that_was_escaped_for_spreadsheets_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "out.csv", escape_formulas=True)
    assert remove_rows(path, erased("=1+1", key=("name",))) == 1


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("settings", [{"key": ()}, {"key": ("other",)}, {"key": ("id",), "on_duplicate": "suffix"}])
def test_without_a_key_in_the_file_rows_go_by_request_or_values(
    tmp_path: Path, ending: str, settings: dict[str, Any]
) -> None:
    path = written(tmp_path / f"out.{ending}")
    rows = erased(
        "x",
        custom_ids=frozenset({"bf1_a"}),
        columns=("id", "name"),
        values=frozenset({("3", "発送\nzwei")}),
        **settings,
    )
    assert remove_rows(path, rows) == 2
    assert names(path) == ["=1+1"]


def test_failed_rows_go_by_the_key_that_stands_beside_them(tmp_path: Path) -> None:
    rows = [{"_key": key, "_place": "x", "id": key, "name": key} for key in ("k", "k#2")]
    path = written(tmp_path / "out.rejected.jsonl", rows)
    assert remove_rows(path, erased("k#2", on_duplicate="suffix")) == 1
    assert names(path) == ["k"]
