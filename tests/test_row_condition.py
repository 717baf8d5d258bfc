"""A condition in SQL over rows: which keys it holds for, and what it cannot reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import UsageError
from batchforge.lookup.row_condition import NoSuchColumn, keys_where

ROWS: list[dict[str, Any]] = [
    {"id": "a", "customer_id": 7, "lang": "en", "tags": ["vip"], "note": None},
    {"id": "b", "customer_id": 8, "lang": "de", "tags": [], "note": "it's 7"},
    {"id": "c", "customer_id": 7, "lang": "de", "tags": ["vip", "old"], "note": ""},
]


def keys(condition: str, rows: list[dict[str, Any]] = ROWS) -> set[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return keys_where(columns, ((row["id"], row) for row in rows), condition)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("customer_id = 7", {"a", "c"}),
        ("customer_id = 7 AND lang = 'de'", {"c"}),
        ("customer_id = 7 OR note LIKE '%7'", {"a", "b", "c"}),
        ("'vip' = ANY(tags)", {"a", "c"}),
        ("note IS NULL", {"a"}),
        ("id IN ('a', 'b') -- two of them", {"a", "b"}),
        ("false", set()),
    ],
)
def test_it_is_sql_over_the_columns(condition: str, expected: set[str]) -> None:
    assert keys(condition) == expected


def test_no_rows_have_no_keys() -> None:
    assert keys_where(["customer_id"], iter(()), "customer_id = 7") == set()


def test_a_column_that_is_not_there_is_told_from_other_mistakes() -> None:
    with pytest.raises(NoSuchColumn, match="customer_di"):
        keys("customer_di = 7")


@pytest.mark.parametrize("condition", ["customer_id =", "lang = 7", "1=1); DROP VIEW rows; SELECT (1"])
def test_a_condition_that_cannot_be_worked_out_is_refused(condition: str) -> None:
    with pytest.raises(UsageError) as caught:
        keys(condition)
    assert caught.value.problems[0].code == "BF942"


def test_a_condition_reaches_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhush\n")
    with pytest.raises(UsageError, match="disabled"):
        keys(f"lang IN (SELECT word FROM read_csv('{secret}'))")
