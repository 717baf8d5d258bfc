"""Rows out of files: what is odd arrives unchanged, and what is wrong is refused with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import BatchForgeError
from batchforge.tables.options import TableFormat, TableOptions, format_of
from batchforge.tables.reading import read_rows


def rows_of(
    folder: Path, content: str | bytes, kind: TableFormat = "csv", **options: Any
) -> list[tuple[int, dict[str, Any]]]:
    file = folder / f"rows.{kind}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(file, f"data/rows.{kind}", TableOptions(kind, **options)))


def values_of(folder: Path, content: str | bytes, kind: TableFormat = "csv", **options: Any) -> list[dict[str, Any]]:
    return [values for _, values in rows_of(folder, content, kind, **options)]


def refusal(folder: Path, content: str | bytes, kind: TableFormat = "csv", **options: Any) -> str:
    with pytest.raises(BatchForgeError) as caught:
        rows_of(folder, content, kind, **options)
    return str(caught.value)


# --- CSV and TSV


def test_a_row_knows_the_line_on_which_it_begins(tmp_path: Path) -> None:
    content = 'a,b\n1,"x\ny\r\nz"\n\n2,w\n'
    assert rows_of(tmp_path, content) == [(2, {"a": "1", "b": "x\ny\r\nz"}), (6, {"a": "2", "b": "w"})]


@pytest.mark.parametrize(
    "cell", ["\x00", "🙂👩‍👩‍👧", "é", "e\u0301", "\u2028\u0085\x0b\x0c", " padded ", "{{ row }}", 'a "b" c']
)
def test_an_odd_cell_arrives_unchanged(tmp_path: Path, cell: str) -> None:
    assert values_of(tmp_path, f"a,b\n{cell},1\n") == [{"a": cell, "b": "1"}]
    assert values_of(tmp_path, f"a\tb\n{cell}\t1\n", "tsv") == [{"a": cell, "b": "1"}]


def test_cells_of_a_csv_file_are_text(tmp_path: Path) -> None:
    assert values_of(tmp_path, "a,b,c\n007,1e5,true\n") == [{"a": "007", "b": "1e5", "c": "true"}]


def test_crlf_ends_lines_and_is_kept_inside_quotes(tmp_path: Path) -> None:
    assert values_of(tmp_path, 'a,b\r\n1,"x\r\ny\r"\r\n') == [{"a": "1", "b": "x\r\ny\r"}]


@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", "a,b\n", "\ufeffa,b\r\n", "a,b"])
def test_a_file_without_rows_gives_no_rows(tmp_path: Path, content: str) -> None:
    assert rows_of(tmp_path, content) == []


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert values_of(tmp_path, "\ufeffa,b\n1,2\n") == [{"a": "1", "b": "2"}]
    assert values_of(tmp_path, "a,b\n1,é\n".encode("utf-16"), encoding="utf-16") == [{"a": "1", "b": "é"}]


def test_a_cell_of_a_hundred_megabytes_arrives(tmp_path: Path) -> None:
    cell = "0123456789" * 10_000_000
    [values] = values_of(tmp_path, f"a,b\n{cell},1\n")
    assert values["a"] == cell


def test_quotes_are_ordinary_where_the_user_says_so(tmp_path: Path) -> None:
    content = '"Wow" she said\t1\n"never closed\t0\n'
    assert values_of(tmp_path, content, "tsv", header=False, quote=None) == [
        {"c1": '"Wow" she said', "c2": "1"},
        {"c1": '"never closed', "c2": "0"},
    ]


def test_another_delimiter_and_quote(tmp_path: Path) -> None:
    assert values_of(tmp_path, "a;b\n'x;y';2\n", delimiter=";", quote="'") == [{"a": "x;y", "b": "2"}]


def test_a_file_without_a_header_takes_the_given_names_or_numbers(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "1,2\n", header=False, columns=("x", "y")) == [(1, {"x": "1", "y": "2"})]
    assert rows_of(tmp_path, "1,2\n", header=False) == [(1, {"c1": "1", "c2": "2"})]


def test_too_many_and_too_few_cells_are_refused_with_their_line(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, "a,b\n1,2\n1,2,3\n") == "BF205 data/rows.csv:3: the row has 3 cells, but there are 2 columns"
    )
    assert refusal(tmp_path, "a,b\n1\n") == "BF205 data/rows.csv:2: the row has 1 cell, but there are 2 columns"
    assert "BF205 data/rows.csv:1:" in refusal(tmp_path, "1,2\n", header=False, columns=("x",))


def test_a_header_with_equal_or_empty_names_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a,b,a\n") == "BF204 data/rows.csv:1: the column name 'a' stands twice in the header"
    assert refusal(tmp_path, "\na,,b\n") == "BF204 data/rows.csv:2: column 2 of the header has no name"


def test_a_quote_that_is_never_closed_is_refused_where_it_opens(tmp_path: Path) -> None:
    assert refusal(tmp_path, 'a,b\n1,2\n3,"x\n4,5\n') == (
        "BF206 data/rows.csv:3: a quoted cell of this row is never closed"
    )


def test_text_after_a_closing_quote_is_refused_rather_than_glued(tmp_path: Path) -> None:
    assert refusal(tmp_path, 'a,b\n"x"y,2\n').startswith("BF206 data/rows.csv:2: text follows the closing")


def test_a_bare_carriage_return_is_refused_rather_than_taken_for_a_line_end(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a\nx\ry\n").startswith("BF206 data/rows.csv:2: a carriage return")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path, kind: TableFormat) -> None:
    padding = "1\n" * 400_000 if kind == "csv" else "\n" * 400_000
    message = refusal(tmp_path, padding.encode() + b"caf\xe9\n", kind, header=False)
    assert message.startswith(f"BF203 data/rows.{kind}:400001: the file is not utf-8: byte 0xe9")


def test_a_file_in_another_encoding_is_read_as_such(tmp_path: Path) -> None:
    assert values_of(tmp_path, "a,b\né,1\n".encode("cp1252"), encoding="cp1252") == [{"a": "é", "b": "1"}]
    assert "byte 0x81" in refusal(tmp_path, b"a\nx\x81\n", encoding="cp1252")
    assert "there is no text encoding 'klingon'" in refusal(tmp_path, "a\n", encoding="klingon")


def test_a_utf16_file_that_ends_in_half_a_character_is_refused(tmp_path: Path) -> None:
    assert "BF203 data/rows.csv:2:" in refusal(tmp_path, "a\nx".encode("utf-16") + b"\x00", encoding="utf-16")


# --- typed cells


def test_typed_cells(tmp_path: Path) -> None:
    content = 'i,n,b,j,t\n+12,-1.5e2,Yes,"{""k"": [1]}",12\n,,,,\n 7 ,3,0,null,\n'
    types = {"i": "integer", "n": "number", "b": "boolean", "j": "json", "t": "text"}
    assert values_of(tmp_path, content, types=types) == [
        {"i": 12, "n": -150.0, "b": True, "j": {"k": [1]}, "t": "12"},
        {"i": None, "n": None, "b": None, "j": None, "t": ""},
        {"i": 7, "n": 3, "b": False, "j": None, "t": ""},
    ]


def test_a_large_integer_stays_exact(tmp_path: Path) -> None:
    number = 123456789012345678901234567890
    assert values_of(tmp_path, f"i\n{number}\n", types={"i": "number"}) == [{"i": number}]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("integer", "1.0"),
        ("integer", "1_000"),
        ("integer", "٣"),
        ("number", "NaN"),
        ("number", "1e999"),
        ("number", "0x10"),
        ("boolean", "maybe"),
        ("json", "[1"),
        ("json", "NaN"),
        ("integer", "9" * 5000),
    ],
)
def test_a_cell_of_another_type_is_refused_with_line_and_column(tmp_path: Path, kind: str, cell: str) -> None:
    message = refusal(tmp_path, f"a;x\n1;\n1;{cell}\n", types={"x": kind}, delimiter=";")
    assert message.startswith("BF207 data/rows.csv:3: column 'x': '")


def test_a_type_for_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchForgeError) as caught:
        rows_of(tmp_path, "price\n1\n", types={"prise": "number"})
    assert caught.value.problems[0].code == "BF210"
    assert caught.value.problems[0].hint == "Did you mean `price`?"


# --- JSONL and JSON


def test_json_rows_keep_their_types(tmp_path: Path) -> None:
    row = {"i": 2**70, "f": 1.5, "b": True, "n": None, "l": [1, {"x": "é🙂\u0000\u2028"}], "s": "007"}
    for text in (json.dumps(row), json.dumps(row, ensure_ascii=False)):
        assert values_of(tmp_path, text + "\r\n\n", "jsonl") == [row]
        assert values_of(tmp_path, f"[{text}]", "json") == [row]


def test_json_rows_know_their_lines(tmp_path: Path) -> None:
    assert [n for n, _ in rows_of(tmp_path, '{"a":1}\n\n{"a":2}', "jsonl")] == [1, 3]
    assert [n for n, _ in rows_of(tmp_path, '[\n{"a":\n1},\n\n {"a":2}\n]\n', "json")] == [2, 5]


@pytest.mark.parametrize("content", ["", "\ufeff", " \n", "[]", "\ufeff[ ]\n"])
def test_json_files_without_rows_give_no_rows(tmp_path: Path, content: str) -> None:
    assert rows_of(tmp_path, content, "json") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1, "a": 2}', "the name 'a' stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "the name 'b' stands twice"),
        ("[1]", "a row must be an object, but this is an array"),
        ('"text"', "but this is a text"),
        ("null", "but this is null"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": "\\ud83d"}', "half a character"),
        ('{"a": "\\uDE00"}', "half a character"),
        ('{"a": 1', "a comma or a closing bracket is missing"),
        ('{"a": 1} x', "there is more text after the JSON value"),
        ('{"a": "x', "a text is never closed"),
        ("{'a': 1}", "a name in double quotes is missing"),
        ('{"a": ' + "9" * 5000 + "}", "a number in it has too many digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused_with_its_place(tmp_path: Path, line: str, reason: str) -> None:
    message = refusal(tmp_path, f'{{"a": 0}}\n{line}\n', "jsonl")
    assert message.startswith("BF208 data/rows.jsonl:2")
    assert reason in message


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ('{"a": 1}', "json:1:", "the file must hold one array of objects"),
        ('[{"a": 1},\n{"a": 2}', "json:2:", "a comma or the closing bracket of the array is missing"),
        ('[{"a": 1},\n{"a": \n', "json:3:", "a value is missing"),
        ('[{"a": 1}\n{"a": 2}]', "json:2:", "a comma"),
        ("[{}]\n[]", "json:2:", "there is more text after the array"),
        ("[{},\n3]", "json:2:", "a row must be an object, but this is a number"),
        ('[{"a":1},\n\n{"a": 1, "a": 2}]', "json:3:", "stands twice"),
        ('[{"a": "never closed', "json:1:", "a text is never closed"),
    ],
)
def test_a_file_that_is_no_array_of_objects_is_refused(tmp_path: Path, content: str, place: str, reason: str) -> None:
    message = refusal(tmp_path, content, "json")
    assert place in message
    assert reason in message


def test_json_rows_are_found_across_the_windows_in_which_the_file_is_read(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "x" * (n * 977 % 300_000), "é": [n, -1.5e-7, None]} for n in range(40)]
    assert values_of(tmp_path, json.dumps(rows, indent=1), "json") == rows


# --- formats


def test_the_ending_tells_the_format() -> None:
    assert [format_of(f"a/b.{e}") for e in ("CSV", "tsv", "ndjson", "pq")] == ["csv", "tsv", "jsonl", "parquet"]
    with pytest.raises(BatchForgeError, match=r"BF202 'a/b\.dat' has no ending"):
        format_of("a/b.dat")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchForgeError, match="BF201 data: the file cannot be read: Is a directory"):
        list(read_rows(tmp_path, "data", TableOptions("csv")))


@pytest.mark.parametrize("options", [{"delimiter": "::"}, {"quote": "\n"}, {"delimiter": '"'}])
def test_a_delimiter_or_quote_that_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    assert refusal(tmp_path, "a\n", **options).startswith("BF214")
