"""Rows into files and back: nothing changes on the way, and a file is replaced as a whole or not at all."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from batchforge.tables.writing import check_writable, open_writer, without_formula
from tests.peak_memory import peak_of

ENDINGS = ("jsonl", "csv", "tsv", "parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def write(file: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), **options: Any) -> Path:
    with open_writer(file, columns or list(rows[0]), **options) as writer:
        for row in rows:
            writer.write(row)
    return file


def read(file: Path) -> list[dict[str, Any]]:
    return [values for _, values in read_rows(file, file.name, TableOptions(format_of(file.name)))]


class _RowsThatFail(Sequence[Mapping[str, Any]]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return {"a": 1 / (1 - index)}


def copied(folder: Path, ending: str, rows: Sequence[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
    return read(write(folder / f"rows.{ending}", rows, **options))


# --- any text arrives unchanged

texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.lists(texts.filter(bool), min_size=1, max_size=3, unique_by=str.lower)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_text_in_a_cell_arrives_unchanged(folder: Path, ending: str, data: st.DataObject) -> None:
    columns = data.draw(names)
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, texts)), max_size=3))
    file = write(folder / f"texts.{ending}", rows, columns)
    assert read(file) == rows


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@settings(max_examples=60)
@given(cells=st.lists(trees, min_size=1, max_size=4))
def test_any_json_value_comes_back_as_it_was(folder: Path, ending: str, cells: list[Any]) -> None:
    assert copied(folder, ending, [{"cell": cell, "n": n} for n, cell in enumerate(cells)]) == [
        {"cell": cell, "n": n} for n, cell in enumerate(cells)
    ]


def test_csv_cells_that_are_no_text_are_json_and_null_is_empty(folder: Path) -> None:
    row = {"i": 2**70, "f": 0.1, "b": True, "n": None, "l": [1, "é"], "d": {"x": None}, "s": "007"}
    assert copied(folder, "csv", [row]) == [
        {"i": str(2**70), "f": "0.1", "b": "true", "n": "", "l": '[1,"é"]', "d": '{"x":null}', "s": "007"}
    ]


def test_a_csv_row_of_one_empty_cell_is_still_a_row(folder: Path) -> None:
    assert copied(folder, "csv", [{"a": None}, {"a": ""}, {"a": "x"}]) == [{"a": ""}, {"a": ""}, {"a": "x"}]


def test_csv_is_quoted_only_where_it_must_be(folder: Path) -> None:
    file = write(folder / "plain.csv", [{"a": "it's plain", "b": 'x,"y"\r'}])
    assert file.read_bytes() == b'a,b\nit\'s plain,"x,""y""\r"\n'


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_a_character_becomes_the_replacement_character(folder: Path, ending: str) -> None:
    assert copied(folder, ending, [{"a": "x\ud83dy"}]) == [{"a": "x\ufffdy"}]


# --- formulas


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "＝1", "-", "+49 30 12"]
)
def test_what_a_spreadsheet_would_run_is_escaped(text: str) -> None:
    assert without_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "x=1", "-5", "+5.25", "-1.5e-3", "-5%", "'=1", " =1"])
def test_plain_numbers_and_texts_are_not_escaped(text: str) -> None:
    assert without_formula(text) == text


def test_formulas_are_escaped_only_on_request(folder: Path) -> None:
    row = {"=a": "=1+1", "n": -5, "l": ["=x"]}
    assert copied(folder, "csv", [row]) == [{"=a": "=1+1", "n": "-5", "l": '["=x"]'}]
    assert copied(folder, "csv", [row], escape_formulas=True) == [{"'=a": "'=1+1", "n": "-5", "l": '["=x"]'}]


# --- Parquet types


def parquet_types(file: Path) -> dict[str, str]:
    with duckdb.connect() as connection:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
    return {name: kind for name, kind, *_ in described}


def test_parquet_columns_are_typed_by_their_values(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"t": "x", "i": 1, "big": 2**62, "n": 1, "b": True, "l": ["x"], "d": {"a": 1}, "mixed": 1, "none": None},
        {"t": None, "i": 2, "big": 2**70, "n": 1.5, "b": None, "l": [], "d": None, "mixed": "x", "none": None},
    ]
    file = write(folder / "typed.parquet", rows)
    assert read(file) == rows
    assert parquet_types(file) == {
        "t": "VARCHAR",
        "i": "BIGINT",
        "big": "DECIMAL(38,0)",
        "n": "DOUBLE",
        "b": "BOOLEAN",
        "l": "VARCHAR[]",
        "d": "JSON",
        "mixed": "JSON",
        "none": "VARCHAR",
    }


def test_declared_types_hold_without_rows_and_widen_where_they_must(folder: Path) -> None:
    kinds = {"i": "integer", "n": "number", "l": "text[]", "b": "boolean"}
    file = write(folder / "empty.parquet", [], list(kinds), kinds=kinds)
    assert parquet_types(file) == {"i": "BIGINT", "n": "DOUBLE", "l": "VARCHAR[]", "b": "BOOLEAN"}
    assert read(file) == []
    assert copied(folder, "parquet", [{"i": "x", "n": 1}], kinds=kinds) == [{"i": "x", "n": 1}]


def test_a_parquet_file_of_many_row_groups_keeps_the_order(folder: Path) -> None:
    rows = [{"n": n, "text": f"{n} " * 2_000} for n in range(5_000)]
    file = write(folder / "groups.parquet", rows)
    with duckdb.connect() as connection:
        groups = connection.execute("SELECT max(row_group_id) FROM parquet_metadata(?)", [str(file)]).fetchone()
    assert groups is not None
    assert groups[0] >= 1
    assert read(file) == rows


def test_parquet_columns_that_differ_only_in_case_are_refused(folder: Path) -> None:
    with pytest.raises(BatchForgeError, match="BF704 the columns 'Text' and 'text' differ only in case"):
        write(folder / "case.parquet", [{"Text": 1, "text": 2}])
    assert copied(folder, "jsonl", [{"Text": 1, "text": 2}]) == [{"Text": 1, "text": 2}]


def select_to_parquet(file: Path, select: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {select}) TO '{file}' (FORMAT parquet)")
    return file


def test_parquet_values_become_json_values_without_loss(folder: Path) -> None:
    file = select_to_parquet(
        folder / "types.parquet",
        """
        12.30::DECIMAL(10, 2) AS money, 7::DECIMAL(38, 0) AS whole, DATE '2024-01-05' AS day,
        TIMESTAMP '2024-01-05 10:00:00.5' AS local, TIMESTAMPTZ '2024-01-05 10:00:00+02' AS instant,
        TIMESTAMP_NS '2024-01-05 10:00:00.123456789' AS ns, TIME '10:00' AS clock, 'abc'::BLOB AS bytes,
        18446744073709551615::UBIGINT AS big, 0.1::FLOAT AS small_float, 0.1::DOUBLE AS number, [1, NULL] AS list,
        {'x': 1, 'Y': [DATE '2024-01-01'], 'm': 1.50::DECIMAL(5, 2)} AS struct, MAP {1: 'a'} AS map,
        '{"a": [1]}'::JSON AS json, NULL::INTEGER AS none, true AS yes, 'x' || chr(0) AS nul
        """,
    )
    assert read(file) == [
        {
            "money": "12.30",
            "whole": 7,
            "day": "2024-01-05",
            "local": "2024-01-05T10:00:00.5",
            "instant": "2024-01-05T08:00:00Z",
            "ns": "2024-01-05T10:00:00.123456789",
            "clock": "10:00:00",
            "bytes": "YWJj",
            "big": 18446744073709551615,
            "small_float": 0.1,
            "number": 0.1,
            "list": [1, None],
            "struct": {"x": 1, "Y": ["2024-01-01"], "m": "1.50"},
            "map": {"1": "a"},
            "json": {"a": [1]},
            "none": None,
            "yes": True,
            "nul": "x\x00",
        }
    ]


@pytest.mark.parametrize("value", ["'nan'::DOUBLE", "['-inf'::DOUBLE]", "{'x': 'nan'::FLOAT}"])
def test_parquet_numbers_that_json_cannot_carry_are_refused_with_row_and_column(folder: Path, value: str) -> None:
    file = select_to_parquet(folder / "nan.parquet", f"{value} AS price")
    with pytest.raises(BatchForgeError, match=r"BF209 nan\.parquet: row 1: column 'price' is"):
        read(file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1", b"a,b\n1,2\n"])
def test_a_damaged_parquet_file_is_refused(folder: Path, content: bytes) -> None:
    file = folder / "damaged.parquet"
    file.write_bytes(content)
    with pytest.raises(BatchForgeError, match=r"BF209 damaged\.parquet: the file cannot be read as Parquet"):
        read(file)


def test_a_parquet_path_with_glob_marks_is_one_file(folder: Path) -> None:
    rows = [{"a": 1}]
    write(folder / "x1.parquet", [{"a": 2}])
    assert read(write(folder / "x[1]?*.parquet", rows)) == rows


def test_a_parquet_file_is_read_row_group_by_row_group(folder: Path) -> None:
    """The rows together are far larger than what may be held at a time."""
    file = folder / "large.parquet"
    select = "i AS n, repeat(md5(i::VARCHAR), 100) AS text FROM range(100000) AS numbers(i)"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {select}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    program = """
import sys
from pathlib import Path
from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
rows = read_rows(Path(sys.argv[1]), "large.parquet", TableOptions("parquet"))
assert sum(len(values["text"]) for _, values in rows) == 320_000_000
"""
    assert peak_of(program, str(file)) < 160_000_000


# --- the file as a whole


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_rows_give_equal_bytes(tmp_path: Path, ending: str) -> None:
    rows = [{"n": n, "text": f"text {n % 7}", "d": {"b": 1, "a": [n]}, "f": n / 3} for n in range(3_000)]
    first = write(tmp_path / f"one.{ending}", rows).read_bytes()
    assert write(tmp_path / f"two.{ending}", rows).read_bytes() == first


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"rows.{ending}", [{"a": 1}])
    old = file.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write(file, _RowsThatFail())
    assert file.read_bytes() == old
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_stays_beside_a_file_that_was_written(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / "deep" / "folder" / f"rows.{ending}", [{"a": 1}])
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("ending", ENDINGS)
def test_until_the_end_readers_see_the_old_file(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"rows.{ending}", [{"a": "old"}])
    with open_writer(file, ["a"]) as writer:
        writer.write({"a": "new"})
        assert read(file) == [{"a": "old"}]
    assert read(file) == [{"a": "new"}]


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".rows.csv.999999999.partial", tmp_path / f".rows.csv.{os.getppid()}.partial"
    for leftover in (dead, alive, dead.with_name(dead.name + ".rows")):
        leftover.touch()
    file = write(tmp_path / "rows.csv", [{"a": 1}])
    assert sorted(tmp_path.iterdir()) == sorted([file, alive])


def test_a_new_file_keeps_the_permissions_of_the_old(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", [{"a": 1}])
    file.chmod(0o640)
    write(file, [{"a": 2}])
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_column_that_a_row_lacks_is_null_and_one_too_many_is_our_mistake(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write(file, [{"b": 1}], ["a", "b"])
    assert json.loads(file.read_text()) == {"a": None, "b": 1}
    with pytest.raises(ValueError, match="has no column"):
        write(file, [{"c": 1}], ["a", "b"])


def test_a_file_that_cannot_be_written_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "file").touch()
    for place in ("folder.jsonl", "file/rows.csv"):
        with pytest.raises(BatchForgeError, match=f"BF701 out/{place}: the file cannot be written"):
            write(tmp_path / place, [{"a": 1}], shown_as=f"out/{place}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.jsonl"]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    program = """
import resource, signal, sys
from pathlib import Path
from batchforge.errors import BatchForgeError
from batchforge.tables.writing import open_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    with open_writer(Path(sys.argv[1]), ["a"], shown_as="out") as writer:
        for _ in range(2_000):
            writer.write({"a": "x" * 1_000})
except BatchForgeError as exc:
    print(exc)
"""
    for ending in ENDINGS:
        file = write(tmp_path / f"rows.{ending}", [{"a": 1}])
        old = file.read_bytes()
        run = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
        assert run.stdout.startswith("BF701 out: the file cannot be written")
        assert file.read_bytes() == old
        assert list(tmp_path.iterdir()) == [file]
        file.unlink()


def test_an_ending_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchForgeError, match=r"BF703 .*'rows\.txt'"):
        write(tmp_path / "rows.txt", [{"a": 1}])


@pytest.mark.parametrize(("name", "columns"), [("a.txt", ["a"]), ("a.parquet", ["É", "é"])])
def test_whether_a_file_can_be_written_is_known_before_there_are_rows(name: str, columns: list[str]) -> None:
    check_writable(Path("fine.csv"), ["É", "é"])
    with pytest.raises(BatchForgeError):
        check_writable(Path(name), columns)
