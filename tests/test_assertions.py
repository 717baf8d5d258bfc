"""Each kind of test: rows with which it passes, rows with which it fails, and what it says of rows that are odd."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.config.job_tests import JobTestsReader
from batchforge.config.yaml_nodes import parse_yaml
from batchforge.errors import ProblemList
from batchforge.source_tree import SourceTree
from batchforge.spec import AssertionSpec, Label
from batchforge.testing.assertions import ASSERTIONS, judged, run_assertions
from batchforge.testing.outcome import AssertionResult
from batchforge.testing.tested_rows import Found, Surroundings
from batchforge.testing.tested_tables import open_tables
from batchforge.testing.thresholds import parse_threshold

Row = Mapping[str, Any]
LISTS = {"categories": (Label("billing"), Label("no"))}


def read(test: str | Mapping[str, Any]) -> AssertionSpec:
    text = test if isinstance(test, str) else json.dumps([test], ensure_ascii=False)
    problems = ProblemList()
    node = parse_yaml(text, "jobs/a.yml", problems)
    assert node is not None
    (spec,) = JobTestsReader(lambda: LISTS, SourceTree(Path()), problems).read(node.elements)
    assert not problems.items, problems.items
    return spec


def run(
    test: str | Mapping[str, Any],
    rows: Iterable[Row],
    folder: Path | None = None,
    kinds: Mapping[str, str] | None = None,
    **around: Any,
) -> AssertionResult:
    """Failing rows are stored in the folder, if there is one."""
    spec = read(test)
    if folder is None:
        spec = replace(spec, limit=0)
    place = (folder or Path()) / "failing.jsonl"
    with open_tables() as tables:
        table = tables.add("a", rows, (), kinds)
        (result,) = run_assertions("a", [spec], tables, table, Surroundings(**around), lambda _name: place)
    return result


def column(*values: Any, name: str = "x") -> list[Row]:
    return [{"id": number, name: value} for number, value in enumerate(values)]


ODD = "a \"b\" {{ c }} {% d %}\n'e' \\ ü 🚲; DROP TABLE a -- "
CASES: list[tuple[dict[str, Any], list[Row], list[Row]]] = [
    ({"not_null": "x"}, column("a", ""), column("a", None)),
    ({"not_null": ["id", "x"]}, column(1, 2), column(1, None)),
    ({"unique": "x"}, column("a", "b", None, None), column("a", "b", "a")),
    ({"unique": ["id", "x"]}, column("a", "a"), [*column("a"), *column("a")]),
    ({"unique": "x"}, column([1], [2]), column([1], [1])),
    ({"accepted_values": {"column": "x", "values": ["no", ODD]}}, column("no", ODD, None), column("no", "No")),
    ({"accepted_values": {"column": "x", "values": [1, 2.5]}}, column(1, 2.5), column(1, 3)),
    ({"accepted_values": {"column": "x", "values": [True]}}, column(True), column(False)),
    ({"accepted_values": {"column": "x", "values": [1]}}, column("1"), column("1.0")),
    ({"accepted_values": {"column": "x", "values": ["a", 1]}}, column("a", 1), column("a", "1", 1)),
    ({"accepted_values": {"column": "x", "values": ["a", "b"]}}, column(["a", "b"], []), column(["a", "c"])),
    ({"accepted_values": {"column": "x", "values": "categories"}}, column("no"), column("false")),
    ({"accepted_range": {"column": "x", "min": 0, "max": 1}}, column(0, 0.5, 1, None), column(0, 1.01)),
    ({"accepted_range": {"column": "x", "min": 0, "inclusive": False}}, column(0.1), column(0)),
    ({"accepted_range": {"column": "x", "max": 3}}, column("2", "-5"), column("2", "many")),
    ({"accepted_range": {"column": "x", "min": "2026-01-01"}}, column("2026-01-01"), column("2025-12-31")),
    ({"matches": {"column": "x", "pattern": "^[A-Z]{3}$"}}, column("ABC", None), column("ABCD")),
    ({"matches": {"column": "x", "pattern": "'"}}, column("it's"), column("its")),
    ({"matches": {"column": "x", "pattern": "^[0-9]+$"}}, column(["1", "22"]), column(["1", "b"])),
    ({"length": {"column": "x", "max": 3}}, column("abc", "ü🚲", None), column("abcd")),
    ({"length": {"column": "x", "min": 1}}, column([1], [1, 2]), column([])),
    ({"length": {"column": "x", "max": 1}}, column("a", [{"b": 1}], 3), column("a", [{"b": 1}, 2], 3)),
    ({"row_count": 2}, column(1, 2), column(1)),
    ({"row_count": {"max": 1}}, column(1), column(1, 2)),
    ({"expression": "length(x) > id -- longer"}, column("a", "bc"), column("")),
    ({"expression": "x > 1"}, column(2, None), column(1)),
    ({"contained_in": {"column": "x", "source": "id"}}, [{"id": "a b\n c", "x": "b  c"}], [{"id": "a", "x": "b"}]),
    (
        {"contained_in": {"column": "x", "source": "text"}},
        [{"x": ["one", "two\nthree"], "text": "one two three"}, {"x": [], "text": None}],
        [{"x": ["one", "four"], "text": "one two three"}],
    ),
    (
        {"contained_in": {"column": "claims.quote", "source": "text"}},
        [{"claims": [{"quote": "one"}, {"quote": None}, {}], "text": "one"}],
        [{"claims": [{"quote": "one"}, {"quote": "two"}], "text": "one"}],
    ),
    ({"contained_in": {"column": "x", "source": "text"}}, [{"x": None, "text": "a"}], [{"x": " ", "text": "a"}]),
    (
        {"json_schema": {"column": "x", "schema": {"type": "object", "required": ["city"]}}},
        column({"city": "Bonn"}, None),
        column({"town": "Bonn"}),
    ),
    ({"json_schema": {"column": "x", "schema": {"maxItems": 1}}}, column("[1]", "{}"), column("[1, 2]")),
    ({"json_schema": {"column": "x", "schema": {}}}, column("null"), column("not JSON")),
    (
        {"accuracy": {"column": "x", "label": "gold", "min": 0.5}},
        [{"x": "a", "gold": "a"}, {"x": None, "gold": "b"}, {"x": "a", "gold": None}],
        [{"x": "a", "gold": "b"}],
    ),
    ({"f1": {"column": "x", "label": "gold", "min": 0.6}}, [{"x": 1, "gold": 1.0}], [{"x": 1, "gold": 2}]),
    (
        {"confusion": {"column": "x", "label": "gold", "max": 0.25}},
        [{"x": x, "gold": "a"} for x in "aaab"],
        [{"x": x, "gold": "a"} for x in "aabb"],
    ),
]


@pytest.mark.parametrize(("test", "good", "bad"), CASES, ids=[next(iter(test)) for test, _, _ in CASES])
def test_each_kind_passes_and_fails(test: dict[str, Any], good: list[Row], bad: list[Row], tmp_path: Path) -> None:
    passed = run(test, good, tmp_path)
    assert (passed.status, passed.failures_path) == ("pass", passed.failures_path if passed.value is not None else None)
    result = run(test, bad, tmp_path)
    assert (result.status, result.rows) == ("fail", len([row for row in bad if row.get("gold", 0) is not None]))


def test_every_kind_that_yaml_knows_has_its_assertion() -> None:
    from batchforge.config.config_files import load_schema

    names = {branch["required"][0] for branch in load_schema("job.schema.json")["$defs"]["test"]["oneOf"]}
    assert names | {"sql"} == ASSERTIONS.keys()


# ---- failing rows


def test_failing_rows_are_stored_whole_with_their_reason(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "a", "x": "no", "cells": [ODD, {"b": 1}], "n": 10**25},
        {"id": "b", "x": "yes", "cells": None, "n": 1},
    ]
    result = run({"accepted_values": {"column": "x", "values": ["yes"]}}, rows, tmp_path)
    assert (result.failures, result.rows) == (1, 2)
    (line,) = (tmp_path / "failing.jsonl").read_text().splitlines()
    assert json.loads(line) == {"_failure": '"no" is not accepted', **rows[0]}


def test_all_failing_rows_are_counted_and_some_are_stored(tmp_path: Path) -> None:
    result = run({"not_null": "x", "limit": 2}, column(*[None] * 5), tmp_path)
    assert result.failures == 5
    assert [json.loads(line)["id"] for line in (tmp_path / "failing.jsonl").read_text().splitlines()] == [0, 1]
    assert "5 of 5 rows failed" in result.message


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({"contained_in": {"column": "x", "source": "id"}}, "not in the source: b"),
        ({"json_schema": {"column": "x", "schema": {"type": "object"}}}, "it is not JSON"),
        ({"not_null": ["y", "z"]}, "y, z is empty"),
        ({"unique": ["x", "id"]}, '"b", "a" is there more than once'),
    ],
)
def test_a_reason_says_what_is_wrong(test: dict[str, Any], reason: str, tmp_path: Path) -> None:
    run(test, [{"id": "a", "x": "b", "y": None, "z": None}] * 2, tmp_path)
    assert json.loads((tmp_path / "failing.jsonl").read_text().splitlines()[0])["_failure"].startswith(reason)


# ---- which rows are tested


STATUSES: list[Row] = [{"x": "a", "_status": "answered"}, {"x": None, "_status": "refused"}]


def test_rows_without_an_answer_are_not_tested_unless_that_is_asked_for() -> None:
    assert run({"not_null": "x"}, STATUSES).status == "pass"
    assert run({"not_null": "x", "rows": "all"}, STATUSES).status == "fail"


def test_where_narrows_the_rows() -> None:
    result = run({"not_null": "x", "where": "id <> 1 -- the second"}, column("a", None, "b"))
    assert (result.status, result.rows) == ("pass", 2)


def test_an_empty_output_passes_but_for_what_counts_it() -> None:
    assert run({"not_null": "x"}, []).status == "pass"
    assert run({"accuracy": {"column": "x", "label": "gold", "min": 1}}, []).status == "pass"
    assert run({"row_count": {"min": 1}}, []).status == "fail"


def test_columns_that_differ_only_in_case_are_told_apart() -> None:
    rows = [{"Text": "a", "text": None}]
    assert run({"not_null": "Text"}, rows).status == "pass"
    assert run({"not_null": "text_2"}, rows).status == "fail"


def test_many_rows_of_one_group_are_counted() -> None:
    result = run({"unique": "x"}, ({"x": "same", "n": n} for n in range(50_000)))
    assert (result.status, result.failures) == ("fail", 50_000)


# ---- what cannot be worked out


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"not_null": "y"}, "the output has no column 'y'. There is id, x."),
        ({"expression": "x >"}, "syntax error"),
        ({"expression": "CAST(x AS INTEGER) > 1"}, "Could not convert"),
        ({"not_null": "x", "where": "nope = 1"}, '"nope" not found'),
        ({"accuracy": {"column": "x", "label": "gold", "min": 1}}, "no row has anything in 'gold'"),
        ({"cost_per_row": {"max_usd": 1}}, "the price of some of its answers is not known"),
        ({"expression": "x IN (SELECT content FROM read_text('/etc/hosts'))"}, "file system operations are disabled"),
    ],
)
def test_what_cannot_be_worked_out_is_an_error(test: dict[str, Any], words: str) -> None:
    result = run(test, [{"id": 1, "x": "a", "gold": None}] if "accuracy" in test else column("a"))
    assert result.status == "error"
    assert words in result.message
    assert result.is_failed


# ---- thresholds


def test_thresholds_follow_dbt() -> None:
    def status(failures: int, **settings: Any) -> str:
        return judged(read({"not_null": "x", **settings}), Found(100, failures))[0]

    assert [status(0), status(1), status(1, severity="warn")] == ["pass", "fail", "warn"]
    assert [status(n, error_if=">5") for n in (0, 3, 6)] == ["pass", "warn", "fail"]
    assert [status(n, error_if="> 5%", warn_if="> 1%") for n in (1, 2, 6)] == ["pass", "warn", "fail"]
    assert status(3, warn_if=">5") == "fail"
    assert [status(n, severity="warn", error_if=">1", warn_if=">5") for n in (4, 6)] == ["pass", "warn"]


def test_what_is_measured_has_bounds_or_thresholds() -> None:
    def status(value: float, **settings: Any) -> str:
        accuracy = {"column": "x", "label": "y", **settings.pop("bounds", {})}
        return judged(read({"accuracy": accuracy, **settings}), Found(100, 1, value))[0]

    assert [status(value, bounds={"min": 0.9}) for value in (0.9, 0.89)] == ["pass", "fail"]
    assert status(0.1, bounds={"min": 0.9}, severity="warn") == "warn"
    assert [status(v, warn_if="< 95%", error_if="<0.9") for v in (0.95, 0.94, 0.89)] == ["pass", "warn", "fail"]


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 100))
def test_a_share_is_of_the_rows(failures: int, total: int, percent: int) -> None:
    assert parse_threshold(f">{percent}%").holds_for_count(failures, total) == (failures / total > percent / 100)


@pytest.mark.parametrize("text", ["5", ">", "> five", "> 5 %%", "between 1 and 2"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no comparison"):
        parse_threshold(text)


# ---- measures


def test_confusions_are_listed_with_the_worst_first() -> None:
    rows = [{"x": x, "gold": g} for x, g in zip("aabbbcca", "abbbccaa", strict=True)]
    result = run({"confusion": {"column": "x", "label": "gold", "max": 0.1}}, rows)
    first, *_ = result.details["confusions"]
    assert (first["label"], first["answer"], first["rows"], first["share"]) == ("c", "b", 1, 0.5)
    assert "c was taken for b in 50.00% of its rows" in result.message


LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30)


def f1_by_hand(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    names = sorted({name for pair in pairs for name in pair})
    hits = {name: sum(a == b == name for a, b in pairs) for name in names}
    return {n: 2 * hits[n] / (sum(a == n for a, _ in pairs) + sum(b == n for _, b in pairs)) for n in names}


@settings(max_examples=20)
@given(LABELS)
def test_f1_is_what_its_definition_says(pairs: list[tuple[str, str]]) -> None:
    scores = f1_by_hand(pairs)
    weights = {name: sum(a == name for a, _ in pairs) for name in scores}
    f1 = {"column": "x", "label": "gold", "min": 0}
    tests = [f1, {**f1, "average": "weighted"}, {**f1, "average": "micro"}, {**f1, "positive": "a"}]
    with open_tables() as tables:
        table = tables.add("a", [{"gold": a, "x": b} for a, b in pairs])
        specs = [replace(read({"f1": test}), limit=0) for test in tests]
        results = list(run_assertions("a", specs, tables, table, Surroundings(), lambda _name: Path("failing.jsonl")))
    assert [result.value for result in results] == pytest.approx(
        [
            sum(scores.values()) / len(scores),
            sum(scores[name] * weights[name] for name in scores) / len(pairs),
            sum(a == b for a, b in pairs) / len(pairs),
            scores.get("a", 0.0),
        ]
    )


SETS = [
    ["aabbcc", "abbccc"],
    ["aaaa", "aaab"],
    ["abcabcabc", "bcabcabca"],
    ["aabb", "ccdd"],
    ["ab" * 20, "aabb" * 10],
]


@pytest.mark.parametrize(("labels", "answers"), SETS)
def test_measures_agree_with_scikit_learn(labels: str, answers: str) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    right, said = list(labels), list(answers)
    rows = [{"gold": a, "x": b} for a, b in zip(right, said, strict=True)]
    base = {"column": "x", "label": "gold"}
    assert run({"accuracy": {**base, "min": 0}}, rows).value == pytest.approx(accuracy_score(right, said))
    for average in ("macro", "micro", "weighted"):
        expected = f1_score(right, said, average=average, zero_division=0)
        assert run({"f1": {**base, "min": 0, "average": average}}, rows).value == pytest.approx(expected)
    names = sorted({*right, *said})
    matrix = confusion_matrix(right, said, labels=names)
    cells = run({"confusion": {**base, "max": 1}}, rows).details["confusions"]
    found = {(cell["label"], cell["answer"]): cell["rows"] for cell in cells}
    expected = {(a, b): matrix[i][j] for i, a in enumerate(names) for j, b in enumerate(names) if matrix[i][j]}
    assert found == expected


def spread(rows: Sequence[Row], before: Any = None) -> AssertionResult:
    return run({"drift": {"column": "x", "max": 0.1}}, rows, spread_before=lambda _name: before, labels=frozenset("ab"))


def test_drift_is_the_share_of_rows_that_moved() -> None:
    first = spread(column(*"aaaabbbbbb"))
    assert (first.status, first.message) == ("pass", "nothing to compare with yet")
    before = first.details["spread"]
    assert spread(column(*"aaabbbbbbb"), before).value == pytest.approx(0.1)
    moved = spread(column(*"aaaaaabbbb"), before)
    assert moved.status == "fail"
    assert moved.value == pytest.approx(0.2)
    assert "most of them to or from a" in moved.message


def test_numbers_drift_by_bins_of_the_output_before() -> None:
    before = spread(column(*range(1000))).details["spread"]
    assert spread(column(*range(0, 1000, 2)), before).status == "pass"
    assert spread(column(*range(500, 1500)), before).value == pytest.approx(0.5, abs=0.01)


def test_texts_of_rows_are_not_written_into_results() -> None:
    result = spread(column("a secret", "a"))
    assert "secret" not in json.dumps(result.to_json())
    assert result.details["spread"]["counts"]["a"] == 1


def test_some_of_the_rows_do_not_tell_of_the_whole() -> None:
    assert run({"row_count": {"min": 100}}, column(1), is_partial=True).status == "skipped"


# ---- another job's answers


JUDGE = {"judge": {"job": "judges", "on": "id", "column": "verdict", "accept": ["good", "no"]}}


def judge(rows: Sequence[Row], verdicts: Sequence[Row] | None, tmp_path: Path) -> tuple[AssertionResult, list[str]]:
    with open_tables() as tables:
        table = tables.add("a", rows)
        other = tables.add("judges", verdicts) if verdicts is not None else None
        around = Surroundings(other_table=lambda _job: other)
        place = tmp_path / "failing.jsonl"
        (result,) = run_assertions("a", [read(JUDGE)], tables, table, around, lambda _name: place)
    reasons = [json.loads(line)["_failure"] for line in place.read_text().splitlines()] if place.exists() else []
    return result, reasons


def test_a_judge_has_a_good_word_for_each_row(tmp_path: Path) -> None:
    rows = column("a", "b")
    good = [{"id": "0", "verdict": "good"}, {"id": "1", "verdict": "no"}, {"id": "7", "verdict": "bad"}]
    assert judge(rows, good, tmp_path)[0].status == "pass"
    result, reasons = judge([*rows, {"id": 2, "x": "c"}], [*good[:1], {"id": "1", "verdict": "bad"}], tmp_path)
    assert (result.status, result.failures) == ("fail", 2)
    assert reasons == ["the verdict is bad", "there is no verdict"]


def test_without_a_verdict_of_any_row_the_test_waits(tmp_path: Path) -> None:
    result, _ = judge(column("a"), None, tmp_path)
    assert (result.status, result.message) == ("skipped", "judges has no output yet")
