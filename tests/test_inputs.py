"""Rows of a job: which ones, in which order, under which keys, and what is refused."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError, Location
from batchforge.inputs import input_identity, read_input
from batchforge.row_shapes import InputRow
from batchforge.source_tree import SourceTree
from batchforge.spec import InputSpec
from tests.peak_memory import peak_of
from tests.project_files import write_files

TICKETS = "id,lang,text\n7,en,one\n3,de,zwei\n9,en,three\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path, {"data/tickets.csv": TICKETS})


whole_texts = st.text(st.characters(exclude_categories=["Cs"]))


def rows_of(root: Path, variables: dict[str, Any] | None = None, **spec: Any) -> list[InputRow]:
    narrow = {name: spec.pop(f"run_{name}") for name in ("limit", "sample") if f"run_{name}" in spec}
    if not spec.keys() & {"rows", "text_files"}:
        spec.setdefault("files", "data/tickets.csv")
    return list(read_input(InputSpec(**spec), SourceTree(root), variables, **narrow))


def keys_of(root: Path, **spec: Any) -> list[str]:
    return [row.key for row in rows_of(root, **spec)]


def refusal(root: Path, **spec: Any) -> BatchForgeError:
    with pytest.raises(BatchForgeError) as caught:
        rows_of(root, **spec)
    return caught.value


def inline(*rows: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {"rows": rows, "location": Location("jobs/x.yml", 3, 1), **spec}


# --- where rows come from


def test_a_row_has_a_position_a_key_its_values_and_a_place(root: Path) -> None:
    assert rows_of(root, key=("id",), where="row.lang == 'en'") == [
        InputRow(0, "7", {"id": "7", "lang": "en", "text": "one"}, "data/tickets.csv:2"),
        InputRow(1, "9", {"id": "9", "lang": "en", "text": "three"}, "data/tickets.csv:4"),
    ]


def test_files_of_a_glob_are_read_in_sorted_order_each_by_its_format(root: Path) -> None:
    write_files(root, {"in/b.jsonl": '{"id": 2}\n', "in/a.csv": "id\n1\n", "in/deep/c.json": '[{"id": 3}]'})
    rows = rows_of(root, files="in/**/*", key=("id",))
    assert [(row.key, row.place) for row in rows] == [
        ("1", "in/a.csv:2"),
        ("2", "in/b.jsonl:1"),
        ("3", "in/deep/c.json:1"),
    ]


def test_text_files_are_rows_with_path_name_and_untouched_text(root: Path) -> None:
    write_files(root, {"docs/b.c.txt": "\ufeffB\r\n{{ row }}", "docs/a.txt": ""})
    rows = rows_of(root, text_files="docs/*.txt", key=("name",))
    assert [row.values for row in rows] == [
        {"path": "docs/a.txt", "name": "a", "text": ""},
        {"path": "docs/b.c.txt", "name": "b.c", "text": "B\r\n{{ row }}"},
    ]
    assert rows[1].place == "docs/b.c.txt"


def test_a_text_file_in_another_encoding_is_refused_with_its_line(root: Path) -> None:
    write_files(root, {"docs/a.txt": b"one\ncaf\xe9\n"})
    assert str(refusal(root, text_files="docs/*.txt")).startswith("BF203 docs/a.txt:2: the file is not utf-8")


def test_inline_rows_keep_their_types(root: Path) -> None:
    rows = rows_of(root, **inline({"id": 1, "text": "a"}, {"id": "x", "text": None}, key=("id",)))
    assert [(row.key, row.values["text"], row.place) for row in rows] == [
        ("1", "a", "jobs/x.yml:row 1"),
        ("x", None, "jobs/x.yml:row 2"),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "\ud83d", [{"x": float("inf")}], {"\udc00": 1}])
def test_an_inline_value_that_json_cannot_carry_is_refused(root: Path, value: Any) -> None:
    assert str(refusal(root, **inline({"a": value}))).startswith("BF215 jobs/x.yml:row 1: ")


@pytest.mark.parametrize("content", ["", "\ufeff", "id,text\n", "\ufeffid,text\r\n"])
def test_an_input_without_rows_is_allowed(root: Path, content: str) -> None:
    write_files(root, {"data/tickets.csv": content})
    assert rows_of(root, key=("id",), sample=3) == []


def test_a_missing_file_names_the_nearest_one(root: Path) -> None:
    error = refusal(root, files="data/ticket.csv", location=Location("jobs/x.yml", 4, 3))
    assert str(error) == "BF201 jobs/x.yml:4:3: there is no file 'data/ticket.csv'"
    assert error.problems[0].hint == "Did you mean `data/tickets.csv`?"
    assert refusal(root, files="tickets.csv").problems[0].hint == "Did you mean `data/tickets.csv`?"


def test_a_glob_that_matches_nothing_is_refused(root: Path) -> None:
    assert str(refusal(root, files="data/*.parquet")) == "BF201 no file matches 'data/*.parquet'"


def test_a_file_whose_name_holds_glob_marks_is_found_by_its_name(root: Path) -> None:
    write_files(root, {"data/x[1].csv": "id\n5\n", "data/x1.csv": "id\n6\n"})
    assert keys_of(root, files="data/x[1].csv", key=("id",)) == ["5"]


def test_an_unknown_ending_needs_a_format(root: Path) -> None:
    write_files(root, {"data/rows.txt": "id\n5\n"})
    assert refusal(root, files="data/rows.txt").problems[0].code == "BF202"
    assert keys_of(root, files="data/rows.txt", format="csv", key=("id",)) == ["5"]


def test_settings_that_a_format_cannot_use_are_refused(root: Path) -> None:
    write_files(root, {"data/rows.jsonl": "{}\n"})
    assert "`types:` is for CSV and TSV" in str(refusal(root, files="data/rows.jsonl", types={"a": "integer"}))
    assert "`header:` is true" in str(refusal(root, columns=("a", "b", "c")))


PROJECTS = Path(__file__).resolve().parents[1] / "projects"


def test_the_tickets_with_crlf_lines_and_quotes_are_read_whole() -> None:
    rows = rows_of(PROJECTS / "tickets", files="data/tickets.tsv")
    assert len(rows) == 68
    assert {tuple(row.values) for row in rows} == {("text", "label")}
    assert len({row.values["label"] for row in rows}) == 10
    assert rows[-1].place == "data/tickets.tsv:69"


def test_the_reviews_with_unbalanced_quotes_are_read_whole_and_equal_ones_numbered() -> None:
    spec: dict[str, Any] = {
        "format": "tsv",
        "header": False,
        "columns": ("text", "label"),
        "quote": None,
        "types": {"label": "integer"},
    }
    rows = rows_of(PROJECTS / "reviews", files="data/yelp_labelled.txt", **spec)
    assert len(rows) == 1000
    assert {row.values["label"] for row in rows} == {0, 1}
    assert sum(row.key.endswith("-2") for row in rows) == 4
    assert sum(row.values["text"].count('"') % 2 for row in rows) > 0


# --- which rows are taken


def test_where_is_an_expression_over_row_and_vars(root: Path) -> None:
    assert keys_of(
        root, key=("id",), where="row.id | int > vars.least and row['text'] is defined", variables={"least": 5}
    ) == ["7", "9"]
    assert keys_of(root, key=("id",), where="row.nothing is not defined and row.lang in ['de']") == ["3"]


def test_where_sees_a_column_that_is_named_like_a_method(root: Path) -> None:
    assert keys_of(
        root, **inline({"items": "x", "id": "a"}, {"items": "y", "id": "b"}, key=("id",), where="row.items == 'y'")
    ) == ["b"]


@pytest.mark.parametrize(
    ("where", "reason", "hint"),
    [
        ("row.langg == 'en'", "fails at data/tickets.csv:2: the row has no column 'langg'", "Did you mean `lang`?"),
        ("row['zzz']", "the row has no column 'zzz'", "The columns are id, lang, text."),
        ("row.id > 5", "TypeError", "CSV cells are text unless"),
        ("vars.least > 5", "'least' is not there", "Conditions see `row` and `vars`."),
        ("rwo.id == 'x'", "'rwo' is not there", "Did you mean `row`?"),
        ("row.id ==", "`where:` is not an expression", "Example"),
        ("row.__class__", "SecurityError", ""),
        ("1 / 0", "ZeroDivisionError", ""),
    ],
)
def test_a_condition_that_fails_tells_where_and_why(root: Path, where: str, reason: str, hint: str) -> None:
    error = refusal(root, where=where)
    assert error.problems[0].code == "BF213"
    assert reason in str(error)
    assert hint in error.problems[0].hint


def test_limit_takes_the_first_rows_that_hold(root: Path) -> None:
    assert keys_of(root, key=("id",), where="row.lang == 'en'", limit=1) == ["7"]
    assert keys_of(root, key=("id",), limit=0) == []
    assert keys_of(root, key=("id",), limit=2, run_limit=1) == ["7"]


def numbered(count: int) -> dict[str, Any]:
    return inline(*({"id": f"k{n}"} for n in range(count)), key=("id",))


def test_a_sample_is_the_same_on_every_machine_and_in_input_order(root: Path) -> None:
    rows = rows_of(root, **numbered(1000), sample=5)
    assert [row.key for row in rows] == ["k262", "k325", "k483", "k545", "k637"]
    assert [row.position for row in rows] == [0, 1, 2, 3, 4]


@given(
    st.lists(whole_texts.filter(bool), unique=True, max_size=30),
    st.integers(0, 40),
)
def test_a_sample_does_not_depend_on_the_order_of_the_rows(keys: list[str], size: int) -> None:
    def sample(order: Sequence[str]) -> list[str]:
        return keys_of(Path(), **inline(*({"id": key} for key in order), key=("id",)), sample=size)

    chosen = sample(keys)
    assert len(chosen) == min(size, len(keys))
    assert chosen == [key for key in keys if key in chosen]
    assert sorted(sample(keys[::-1])) == sorted(chosen)


def test_a_smaller_sample_is_part_of_a_larger_one(root: Path) -> None:
    assert set(keys_of(root, **numbered(200), sample=10)) < set(keys_of(root, **numbered(200), sample=20))


def test_a_run_samples_from_the_rows_of_the_job(root: Path) -> None:
    first = [f"k{n}" for n in range(20)]
    assert set(keys_of(root, **numbered(200), limit=20, run_sample=5)) < set(first)
    assert keys_of(root, **numbered(200), sample=10, run_limit=2) == keys_of(root, **numbered(200), sample=10)[:2]


def test_many_rows_take_no_more_memory_than_few(root: Path) -> None:
    write_files(root, {"data/many.csv": "id,text\n" + "".join(f"{n},{'x' * 400}\n" for n in range(200_000))})
    program = """
import sys
from pathlib import Path
from batchforge.inputs import read_input
from batchforge.source_tree import SourceTree
from batchforge.spec import InputSpec
spec = InputSpec(files="data/many.csv", sample=100_000)
assert sum(1 for _ in read_input(spec, SourceTree(Path(sys.argv[1])))) == 100_000
"""
    assert peak_of(program, str(root)) < 100_000_000


# --- keys


def test_a_key_of_one_text_column_is_its_text_and_of_others_their_json(root: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": 1}, {"id": True}, {"id": 1.5}, {"id": [1, "é"]}, {"id": "text"}]
    assert keys_of(root, **inline(*rows, key=("id",))) == ["1", "true", "1.5", '[1,"é"]', "text"]


def test_a_key_of_several_columns_is_a_json_array(root: Path) -> None:
    assert keys_of(root, key=("lang", "id"))[0] == '["en","7"]'


def test_without_a_key_the_content_names_the_row_and_equal_rows_are_numbered(root: Path) -> None:
    a, b = {"x": "é", "n": 1}, {"x": "e\u0301", "n": 1}
    keys = keys_of(root, **inline(a, b, a, {"n": 1, "x": "é"}, {"x": "é", "n": 1.0}))
    assert keys[0] == "d54874d4aa61a99f"
    assert keys[2:4] == [f"{keys[0]}-2", f"{keys[0]}-3"]
    assert len({*keys}) == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | whole_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(whole_texts, inner, max_size=3),
)


@given(row=st.dictionaries(whole_texts, json_values), seed=st.randoms())
def test_the_order_of_keys_in_the_file_does_not_change_the_key_of_a_row(row: dict[str, Any], seed: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(item)) for key, item in value.items()]
            seed.shuffle(items)
            return dict(items)
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert keys_of(Path(), **inline(row)) == keys_of(Path(), **inline(shuffled(row)))


def test_equal_keys_are_refused_with_their_rows_and_their_number(root: Path) -> None:
    error = refusal(root, key=("lang",), location=Location("jobs/x.yml", 4, 3))
    assert str(error) == (
        "BF211 jobs/x.yml:4:3: 1 row has a key that an earlier row has (key column 'lang'), e.g. "
        "'en' in data/tickets.csv:2, data/tickets.csv:4"
    )


def test_only_the_first_few_of_many_bad_keys_are_named(root: Path) -> None:
    rows = [{"id": f"k{n % 50}"} for n in range(500)] + [{"id": None}] * 7
    error = refusal(root, **inline(*rows, key=("id",)))
    assert [problem.code for problem in error.problems] == ["BF212", "BF211"]
    empty, equal = (problem.message for problem in error.problems)
    assert empty.startswith("7 rows have no value in key column 'id': jobs/x.yml:row 501, jobs/x.yml:row 502")
    assert empty.endswith("and 4 more")
    assert equal.startswith(
        "450 rows have a key that an earlier row has (key column 'id'), e.g. 'k0' in jobs/x.yml:row 1,"
    )
    assert "'k4'" in equal
    assert "'k5'" not in equal


@pytest.mark.parametrize("on_duplicate", ["error", "first", "suffix"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_row_without_a_key_is_refused_whatever_is_done_with_equal_ones(
    root: Path, value: Any, on_duplicate: str
) -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 1, "b": value}]
    error = refusal(root, **inline(*rows, key=("a", "b"), on_duplicate=on_duplicate))
    assert str(error) == "BF212 jobs/x.yml:3:1: 1 row has no value in key column 'a' and 'b': jobs/x.yml:row 2"


def test_of_equal_keys_the_first_row_can_be_kept(root: Path) -> None:
    rows = rows_of(root, key=("lang",), on_duplicate="first")
    assert [(row.position, row.key, row.values["id"]) for row in rows] == [(0, "en", "7"), (1, "de", "3")]


def test_equal_keys_can_be_numbered_and_never_meet_a_key_of_the_file(root: Path) -> None:
    rows = [{"id": key} for key in ("a#2", "a", "a", "a", "a#2")]
    keys = keys_of(root, **inline(*rows, key=("id",), on_duplicate="suffix"))
    assert keys == ["a#2", "a", "a#3", "a#4", "a#2#3"]


def test_a_key_column_that_is_not_there_is_refused(root: Path) -> None:
    error = refusal(root, key=("Id",))
    assert str(error) == "BF210 data/tickets.csv:2: the row has no column 'Id', which `key:` names"
    assert error.problems[0].hint == "Did you mean `id`?"


# --- identity


def identity(root: Path, variables: dict[str, Any] | None = None, **spec: Any) -> str:
    return input_identity(InputSpec(**{"files": "data/*.csv", **spec}), SourceTree(root), variables)


def test_the_identity_changes_with_what_the_rows_depend_on(root: Path) -> None:
    before = identity(root)
    settings: list[dict[str, Any]] = [
        {"header": False},
        {"key": ("id",)},
        {"where": "row.id"},
        {"limit": 1},
        {"types": {"id": "integer"}},
    ]
    assert len({before, *(identity(root, **setting) for setting in settings)}) == 6
    write_files(root, {"data/tickets.csv": TICKETS + "1,fr,deux\n"})
    assert identity(root) != before


def test_the_identity_does_not_depend_on_the_folder_or_unused_vars(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = write_files(tmp_path_factory.mktemp("elsewhere"), {"data/tickets.csv": TICKETS})
    assert identity(root, {"a": 1}, location=Location("jobs/x.yml")) == identity(elsewhere, {"a": 2})
    assert identity(root, {"a": 1}, where="vars.a") != identity(root, {"a": 2}, where="vars.a")


# --- any text


@given(data=st.data())
def test_any_text_in_a_jsonl_file_arrives_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cells = data.draw(st.lists(whole_texts, min_size=1, max_size=5))
    folder = tmp_path_factory.getbasetemp()
    write_files(folder, {"any.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in cells)})
    assert [row.values["text"] for row in rows_of(folder, files="any.jsonl")] == cells


def test_folders_of_hive_partitions_give_columns(tmp_path: Path) -> None:
    for lang, text in (("de", "hallo"), ("en", "hello")):
        folder = tmp_path / f"data/lang={lang}/city=New%20York"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text(f"text\n{text}\n")
    spec = InputSpec(files="data/*/*/a.csv", hive_partitions=True)
    assert [row.values for row in read_input(spec, SourceTree(tmp_path))] == [
        {"text": "hallo", "lang": "de", "city": "New York"},
        {"text": "hello", "lang": "en", "city": "New York"},
    ]
