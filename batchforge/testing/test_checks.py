"""A job's tests, before anything is sent: whether they name columns that the output will have, in SQL that can be read.

A test that could not be worked out would keep back an output that is paid for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchforge.answers import column_kinds
from batchforge.errors import Location, ProblemList
from batchforge.nearest import did_you_mean
from batchforge.outputs import EMULATED, META_KINDS, answer_columns
from batchforge.spec import AssertionSpec, JobSpec
from batchforge.testing.tested_tables import TestedTables, open_tables

_NOT_FOUND = ("Referenced column", "Referenced table", "does not exist")


def check_tests(spec: JobSpec, columns: Sequence[str]) -> None:
    """With these columns of the input.

    Raises:
        ProjectError: BF710 a test names a column that will not be there, BF711 its SQL cannot be read.
    """
    if not spec.tests:
        return
    problems = ProblemList()
    known = [*columns, *answer_columns(spec), *META_KINDS, EMULATED]
    for test in spec.tests:
        for name in _named_columns(test, known):
            if name not in known:
                hint = did_you_mean(name, known) or f"Its columns: {', '.join(known[: -len(META_KINDS) - 1])}."
                message = f"The test {test.name} asks for the column '{name}', which the output does not have."
                problems.add("BF710", message, location=test.location, hint=hint)
    if any(test.where or test.kind in ("expression", "sql") for test in spec.tests):
        _check_sql(spec, known, problems)
    problems.raise_if_any()


def _named_columns(test: AssertionSpec, known: Sequence[str]) -> Iterator[str]:
    args = test.args
    yield from args.get("columns", ())
    if test.kind == "judge":
        yield from args["on"]
        return
    if "column" in args:
        column = str(args["column"])
        yield column if test.kind != "contained_in" or column in known else column.split(".")[0]
    yield from (str(args[name]) for name in ("label", "source") if name in args)


def _check_sql(spec: JobSpec, known: Sequence[str], problems: ProblemList) -> None:
    with open_tables() as tables:
        table = tables.add(spec.name, (), known, column_kinds(spec.output) | META_KINDS)
        for test in spec.tests:
            conditions = [text for text in (test.where, test.args.get("sql")) if text]
            for text in conditions:
                query = text if test.kind == "sql" else f"SELECT 1 FROM {table.relation} WHERE ({text}\n)"
                if reason := _why_unreadable(tables, query, is_whole=test.kind == "sql"):
                    _refuse(test, reason, problems)


def _why_unreadable(tables: TestedTables, query: str, *, is_whole: bool) -> str:
    """What is surely wrong with a query; empty where nothing is. Types of the input's columns are not known yet."""
    import duckdb

    try:
        if tables.statements(query) != 1:
            return "it must be one query"
        if not is_whole:
            tables.check(query)
    except duckdb.ParserException as exc:
        return _first_line(exc)
    except (duckdb.BinderException, duckdb.CatalogException) as exc:
        return _first_line(exc) if any(words in str(exc) for words in _NOT_FOUND) else ""
    except duckdb.Error:
        return ""
    return ""


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0].split(": ", 1)[-1].rstrip("!.")


def _refuse(test: AssertionSpec, reason: str, problems: ProblemList) -> None:
    hint = "SQL is DuckDB's: texts in single quotes, names in double quotes: \"my column\" = 'yes'."
    location = test.location or Location("tests")
    problems.add("BF711", f"The SQL of the test {test.name} cannot be read: {reason}.", location=location, hint=hint)
