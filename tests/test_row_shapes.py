"""Rows become the rows that are asked: elements, distinct values, chunks, groups, joined columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError
from batchforge.row_joins import joined_rows
from batchforge.row_shapes import InputRow, RowSource, chunks, distinct_rows, each_element, groups
from batchforge.spec import EachSpec, GroupSpec, InputSpec, JoinSpec

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4), st.sampled_from(["3", "null", "true"])
)


def rows(*values: dict[str, Any], keys: Sequence[str] | None = None) -> RowSource:
    def read() -> Iterator[InputRow]:
        for position, each in enumerate(values):
            yield InputRow(position, keys[position] if keys else f"r{position}", each, f"data.jsonl:{position + 1}")

    return read


def keyed(keys: Sequence[str]) -> RowSource:
    return rows(*({"id": key} for key in keys), keys=keys)


def each(*values: dict[str, Any], key: tuple[str, ...] = ()) -> list[InputRow]:
    return list(each_element(rows(*values), EachSpec("found", key), None))


def grouped(values: Sequence[dict[str, Any]], **spec: Any) -> list[InputRow]:
    return list(groups(rows(*values), GroupSpec(("g",), **spec), None))


def test_each_element_becomes_a_row_that_names_the_row_it_came_from() -> None:
    found = each({"doc": "a", "found": [{"name": "Ann"}, {"name": "Bo"}]}, {"doc": "b", "found": []})
    assert [row.values for row in found] == [
        {"doc": "a", "name": "Ann", "_parent": "r0"},
        {"doc": "a", "name": "Bo", "_parent": "r0"},
    ]
    assert [row.position for row in found] == [0, 1]


def test_an_element_that_is_no_object_stands_in_the_column_of_the_list() -> None:
    assert [row.values["found"] for row in each({"found": ["x", 2, None]})] == ["x", 2, None]


def test_a_declared_key_names_elements_whatever_else_they_say() -> None:
    before = each({"found": [{"name": "Ann", "age": 1}, {"name": "Bo", "age": 2}]}, key=("name",))
    after = each({"found": [{"name": "Bo", "age": 3}]}, key=("name",))
    assert [row.key for row in before] == ["r0/Ann", "r0/Bo"]
    assert after[0].key == "r0/Bo"


def test_equal_elements_of_one_row_are_numbered_and_a_slash_in_a_name_is_escaped() -> None:
    assert [row.key for row in each({"found": ["a/b", "a/b"]})] == ["r0/a%2Fb", "r0/a%2Fb#2"]


@given(st.lists(st.lists(ODD, max_size=4), max_size=5))
def test_keys_of_elements_are_unique(lists: list[list[Any]]) -> None:
    keys = [row.key for row in each(*({"found": elements} for elements in lists))]
    assert len(set(keys)) == len(keys) == sum(map(len, lists))


@pytest.mark.parametrize("value", ["text", 3, {"a": 1}])
def test_a_column_that_holds_no_list_is_an_error(value: Any) -> None:
    with pytest.raises(BatchForgeError, match=r"BF220.*not a list"):
        each({"found": value})


def test_a_column_that_is_missing_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(BatchForgeError) as raised:
        each({"fund": []})
    assert (raised.value.problems[0].code, raised.value.problems[0].hint) == ("BF220", "Did you mean `fund`?")


def test_an_element_must_not_hide_a_column_of_its_row() -> None:
    with pytest.raises(BatchForgeError, match=r"BF221.*`doc`"):
        each({"doc": "a", "found": [{"doc": "b"}]})


def test_distinct_values_come_in_their_first_order_with_their_counts() -> None:
    found = list(distinct_rows(rows({"a": "x"}, {"a": "y"}, {"a": "x"}), ["a"], None))
    assert [(row.key, row.values) for row in found] == [("x", {"a": "x", "_count": 2}), ("y", {"a": "y", "_count": 1})]


@given(st.lists(ODD, max_size=30))
def test_values_of_different_types_stay_apart_and_keys_are_unique(values: list[Any]) -> None:
    found = list(distinct_rows(rows(*({"a": value} for value in values)), ["a"], None))
    assert sorted((repr(row.values["a"]), row.values["_count"]) for row in found) == sorted(
        Counter(map(repr, values)).items()
    )
    assert len({row.key for row in found}) == len(found)


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=80), st.integers(2, 9))
def test_chunks_hold_every_row_once_in_order_and_have_the_right_size(keys: list[str], size: int) -> None:
    found = list(chunks(keyed(keys), size))
    assert [key for chunk in found for key in chunk.values["_keys"]] == keys
    assert [row["id"] for chunk in found for row in chunk.rows] == keys
    assert all(len(chunk.rows) <= size for chunk in found)
    assert all(2 * len(chunk.rows) >= size for chunk in found[:-1])


def test_one_row_more_changes_two_chunks_near_to_it_on_average() -> None:
    changed = 0
    for number in range(100):  # where chunks end is told by hashes of keys, so a single case says little
        keys = [f"{number}-{row}" for row in range(1_000)]
        place = number * 10
        before = {tuple(chunk.values["_keys"]) for chunk in chunks(keyed(keys), 20)}
        after = {tuple(chunk.values["_keys"]) for chunk in chunks(keyed([*keys[:place], "new", *keys[place:]]), 20)}
        changed += len(after - before)
    assert changed <= 250


def test_groups_come_in_their_first_order_with_their_rows_in_order() -> None:
    found = grouped([{"g": "x", "n": 1}, {"g": "y", "n": 2}, {"g": "x", "n": 3}])
    assert [(row.key, [each["n"] for each in row.rows]) for row in found] == [("x", [1, 3]), ("y", [2])]
    assert found[0].values == {"g": "x", "_keys": ["r0", "r2"]}


def test_a_group_too_large_is_blocked_and_the_others_are_not() -> None:
    found = grouped([{"g": "x", "text": "word " * 100}] * 3 + [{"g": "y", "text": "word"}], max_tokens=200)
    assert [(row.key, bool(row.blocked), len(row.rows)) for row in found] == [("x", True, 0), ("y", False, 1)]


def test_a_group_too_large_comes_in_parts_where_it_may() -> None:
    values = [{"g": "x", "text": "word " * 100, "n": number} for number in range(5)]
    found = grouped(values, max_tokens=300, split=True)
    assert [row.key for row in found] == [f"x/{number}" for number in range(1, len(found) + 1)]
    assert [row.values["_part"] for row in found] == list(range(1, len(found) + 1))
    assert [each["n"] for row in found for each in row.rows] == [0, 1, 2, 3, 4]
    assert len(found) > 1


def test_a_row_larger_than_a_whole_group_may_be_is_a_part_by_itself() -> None:
    found = grouped([{"g": "x", "text": "word " * 500}] * 2, max_tokens=10, split=True)
    assert [len(row.rows) for row in found] == [1, 1]


@given(st.lists(ODD, max_size=30))
def test_every_row_is_in_exactly_one_group(values: list[Any]) -> None:
    found = grouped([{"g": value, "n": number} for number, value in enumerate(values)])
    assert sorted(each["n"] for row in found for each in row.rows) == list(range(len(values)))
    assert len({row.key for row in found}) == len(found)
    assert all(len({repr(each["g"]) for each in row.rows}) == 1 for row in found)


CUSTOMERS = ({"id": 1, "name": "Ann"}, {"id": 2, "name": "Bo"})


def joined(values: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]] = CUSTOMERS, **spec: Any) -> list[Any]:
    join = JoinSpec(InputSpec(), ("id",), **spec)
    return [row.values for row in joined_rows(rows(*values), rows(*others), join)]


def test_a_row_gets_the_columns_of_the_row_it_belongs_to_and_nulls_where_there_is_none() -> None:
    assert joined([{"id": 2, "x": 1}, {"id": 3, "x": 2}]) == [
        {"id": 2, "x": 1, "name": "Bo"},
        {"id": 3, "x": 2, "name": None},
    ]


def test_an_inner_join_leaves_out_rows_without_a_match() -> None:
    assert joined([{"id": 3}, {"id": 1}], how="inner") == [{"id": 1, "name": "Ann"}]


def test_a_prefix_keeps_columns_of_one_name_apart() -> None:
    assert joined([{"id": 1, "name": "x"}], prefix="c_") == [{"id": 1, "name": "x", "c_name": "Ann"}]
    with pytest.raises(BatchForgeError, match=r"BF221.*'name'"):
        joined([{"id": 1, "name": "x"}])


def test_two_rows_for_one_value_are_an_error_that_names_both() -> None:
    with pytest.raises(BatchForgeError, match=r"BF223.*data.jsonl:1 and data.jsonl:2 both have id = 1"):
        joined([{"id": 1}], [{"id": 1}, {"id": 1}])


def test_values_of_different_types_find_nothing_and_that_is_said() -> None:
    with pytest.raises(BatchForgeError, match=r"BF224.*no row finds another by id"):
        joined([{"id": "1"}, {"id": "2"}])


def test_a_column_that_one_side_lacks_is_an_error() -> None:
    with pytest.raises(BatchForgeError, match=r"BF222.*'id'"):
        joined([{"no": 1}])


def test_the_two_inputs_may_have_other_names_for_what_joins_them() -> None:
    join = JoinSpec(InputSpec(), ("user",), ("id",))
    found = joined_rows(rows({"id": "x", "user": 2}), rows(*CUSTOMERS), join)
    assert [row.values for row in found] == [{"id": "x", "user": 2, "name": "Bo"}]
