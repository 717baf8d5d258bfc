"""Tests and the table of an output -> what came of each: worked out one by one, judged by their thresholds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from batchforge.spec import AssertionSpec
from batchforge.testing import measures, row_checks
from batchforge.testing.outcome import ERROR, FAIL, PASS, SKIPPED, WARN, AssertionResult
from batchforge.testing.tested_rows import Found, NotNow, Surroundings, TestedRows, Unanswerable
from batchforge.testing.tested_tables import TestedTable, TestedTables
from batchforge.testing.thresholds import parse_threshold

Assertion = Callable[[AssertionSpec, TestedRows], Found]

ASSERTIONS: dict[str, Assertion] = {
    "not_null": row_checks.not_null,
    "unique": row_checks.unique,
    "accepted_values": row_checks.accepted_values,
    "accepted_range": row_checks.accepted_range,
    "matches": row_checks.matches,
    "length": row_checks.length,
    "json_schema": row_checks.json_schema,
    "row_count": measures.row_count,
    "expression": row_checks.expression,
    "contained_in": row_checks.contained_in,
    "accuracy": measures.accuracy,
    "f1": measures.f1,
    "confusion": measures.confusion,
    "drift": measures.drift,
    "cost_per_row": measures.cost_per_row,
    "judge": row_checks.judge,
    "sql": row_checks.sql,
}
_NOT_ZERO = "!= 0"
_OF_THE_WHOLE = frozenset({"row_count", "cost_per_row", "drift", "sql"})


def run_assertions(
    job: str,
    tests: Sequence[AssertionSpec],
    tables: TestedTables,
    table: TestedTable,
    around: Surroundings,
    failures_path: Callable[[str], Path],
) -> Iterator[AssertionResult]:
    """The result of each test, in order. Failing rows are written to `failures_path` of the test's name."""
    for test in tests:
        began = time.perf_counter()
        result = _result(job, test, TestedRows(tables, table, test, around), failures_path(test.name))
        yield replace(result, duration_s=round(time.perf_counter() - began, 3))


def _result(job: str, test: AssertionSpec, rows: TestedRows, failures_path: Path) -> AssertionResult:
    import duckdb

    path = test.location.path if test.location else ""
    result = AssertionResult(job, test.name, test.kind, test.severity, PASS, path=path)
    if rows.table.row_count == 0 and test.kind not in _OF_THE_WHOLE:
        return replace(result, message="no rows")
    try:
        found = ASSERTIONS[test.kind](test, rows)
        if found.failing:
            rows.tables.write_rows(found.failing, failures_path)
    except NotNow as exc:
        return replace(result, status=SKIPPED, message=str(exc))
    except Unanswerable as exc:
        return replace(result, status=ERROR, message=str(exc))
    except duckdb.Error as exc:
        return replace(result, status=ERROR, message=str(exc).split("\n\n")[0].replace("\n", " "))
    status, message = judged(test, found)
    return replace(
        result,
        status=status,
        rows=found.rows,
        failures=found.failures,
        value=found.value,
        message=message,
        failures_path=str(failures_path) if failures_path.exists() else None,
        details=found.details,
    )


def judged(test: AssertionSpec, found: Found) -> tuple[str, str]:
    """What it comes to by the test's thresholds, and in words.

    As in dbt: with severity error `error_if` is looked at first, then `warn_if`; with severity warn only `warn_if`.
    """
    if found.value is None:
        error_if, warn_if = test.error_if or _NOT_ZERO, test.warn_if or _NOT_ZERO
        if test.severity == "error" and parse_threshold(error_if).holds_for_count(found.failures, found.rows):
            return FAIL, f"{_counted(test, found)}, configured to fail if {error_if}"
        if parse_threshold(warn_if).holds_for_count(found.failures, found.rows):
            return WARN, f"{_counted(test, found)}, configured to warn if {warn_if}"
        return PASS, found.message or (_counted(test, found) if found.failures else "")
    return _judged_value(test, found, found.value)


def _judged_value(test: AssertionSpec, found: Found, value: float) -> tuple[str, str]:
    if test.error_if is None and test.warn_if is None:
        broken = _broken_bound(test, value)
        failed = FAIL if test.severity == "error" else WARN
        return (failed, f"{found.message}, {broken}") if broken else (PASS, found.message)
    if test.severity == "error" and test.error_if and parse_threshold(test.error_if).holds_for_value(value):
        return FAIL, f"{found.message}, configured to fail if {test.error_if}"
    if test.warn_if and parse_threshold(test.warn_if).holds_for_value(value):
        return WARN, f"{found.message}, configured to warn if {test.warn_if}"
    return PASS, found.message


def _broken_bound(test: AssertionSpec, value: float) -> str:
    low, high = test.args.get("min"), test.args.get("max", test.args.get("max_usd"))
    if low is not None and value < low:
        return f"under the least that is asked for, {low:,}"
    return f"over the most that is allowed, {high:,}" if high is not None and value > high else ""


def _counted(test: AssertionSpec, found: Found) -> str:
    if test.kind == "sql":
        return f"{found.failures:,} rows found"
    return f"{found.failures:,} of {found.rows:,} rows failed"
