"""Tests that count failing rows: what must hold for each row of an output by itself, or beside the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batchforge.spec import AssertionSpec
from batchforge.tables.duck import quoted_name, quoted_text
from batchforge.testing.tested_rows import (
    NUMBERS,
    Found,
    NotNow,
    TestedRows,
    Unanswerable,
    shown,
    sql_value,
    text_of,
)

_SPACE = re.compile(r"\s+")


def not_null(spec: AssertionSpec, rows: TestedRows) -> Found:
    columns = spec.args["columns"]
    condition = " OR ".join(f"{rows.column(name)} IS NULL" for name in columns)
    empty = ", ".join(f"CASE WHEN {rows.column(name)} IS NULL THEN {quoted_text(name)} END" for name in columns)
    return rows.failing_where(condition, f"concat_ws(', ', {empty}) || ' is empty'")


def unique(spec: AssertionSpec, rows: TestedRows) -> Found:
    names = [rows.column(name) for name in spec.args["columns"]]
    columns = ", ".join(names)
    filled = " AND ".join(f"{name} IS NOT NULL" for name in names)
    twice = f"SELECT {columns} FROM tested WHERE {filled} GROUP BY {columns} HAVING count(*) > 1"
    key = columns if len(names) == 1 else f"({columns})"
    twice = twice if len(names) == 1 else f"SELECT ({columns}) FROM ({twice})"
    value = " || ', ' || ".join(map(shown, names))
    return rows.failing_where(f"{filled} AND {key} IN ({twice})", f"{value} || ' is there more than once'")


def accepted_values(spec: AssertionSpec, rows: TestedRows) -> Found:
    name = spec.args["column"]
    values, texts = spec.args["values"], spec.args["texts"]
    return _each_item(rows, name, lambda item, kind: f"NOT ({_is_in(item, kind, values, texts)})", "is not accepted")


def accepted_range(spec: AssertionSpec, rows: TestedRows) -> Found:
    bounds = {sign: spec.args[name] for name, sign in (("min", "<"), ("max", ">")) if name in spec.args}
    equal = "" if spec.args.get("inclusive", True) else "="

    def is_outside(item: str, kind: str) -> str:
        if any(isinstance(bound, str) for bound in bounds.values()):
            value = text_of(item, kind)
        else:
            value = f"TRY_CAST({text_of(item, kind)} AS DOUBLE)"
        broken = " OR ".join(f"{value} {sign}{equal} {sql_value(bound)}" for sign, bound in bounds.items())
        return f"({value} IS NULL OR {broken})"

    return _each_item(rows, spec.args["column"], is_outside, "is out of range")


def matches(spec: AssertionSpec, rows: TestedRows) -> Found:
    pattern = quoted_text(spec.args["pattern"])
    return _each_item(
        rows,
        spec.args["column"],
        lambda item, kind: f"NOT regexp_matches({text_of(item, kind)}, {pattern})",
        "does not match",
    )


def length(spec: AssertionSpec, rows: TestedRows) -> Found:
    name = spec.args["column"]
    column, kind = rows.column(name), rows.kind(name)
    if kind.endswith("[]"):
        size = f"len({column})"
    elif kind == "JSON":
        is_list = f"json_type({column}) = 'ARRAY'"
        size = f"CASE WHEN {is_list} THEN json_array_length({column}) ELSE length({rows.text(name)}) END"
    else:
        size = f"length({rows.text(name)})"
    broken = [f"{size} {sign} {spec.args[bound]}" for bound, sign in (("min", "<"), ("max", ">")) if bound in spec.args]
    return rows.failing_where(f"({' OR '.join(broken)})", f"'its length is ' || {size}")


def expression(spec: AssertionSpec, rows: TestedRows) -> Found:
    return rows.failing_where(f"NOT ({spec.args['sql']}\n)", "'the expression is false'")


def json_schema(spec: AssertionSpec, rows: TestedRows) -> Found:
    import jsonschema_rs

    validator = jsonschema_rs.validator_for(spec.args["schema"])
    name = spec.args["column"]
    is_text = rows.kind(name) == "VARCHAR"

    def why_not(value: Any) -> str | None:
        if is_text:
            try:
                value = json.loads(value)
            except ValueError as exc:
                return f"it is not JSON: {exc}"
        error = None if validator.is_valid(value) else next(iter(validator.iter_errors(value)))
        if error is None:
            return None
        place = ".".join(map(str, error.instance_path))
        return f"{place}: {error.message}" if place else error.message

    judged = ((number, None if value is None else why_not(value)) for number, (value,) in rows.values(name))
    return rows.failing_in(judged)


def contained_in(spec: AssertionSpec, rows: TestedRows) -> Found:
    name, *steps = _column_path(spec.args["column"], rows)
    judged = (
        (number, _not_contained(_texts_at(value, steps), source))
        for number, (value, source) in rows.values(name, spec.args["source"])
    )
    return rows.failing_in(judged)


def _column_path(path: str, rows: TestedRows) -> list[str]:
    """A column with dots in its name comes before a path."""
    return [path] if path in rows.table.types else path.split(".")


def _texts_at(value: Any, steps: Sequence[str]) -> Iterator[str]:
    """All texts at the end of a path; lists on the way are gone through."""
    if isinstance(value, list):
        for item in value:
            yield from _texts_at(item, steps)
    elif steps:
        if isinstance(value, Mapping):
            yield from _texts_at(value.get(steps[0]), steps[1:])
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _not_contained(texts: Iterator[str], source: Any) -> str | None:
    whole = _SPACE.sub(" ", source if isinstance(source, str) else json.dumps(source, ensure_ascii=False))
    for text in texts:
        quote = _SPACE.sub(" ", text).strip()
        if not quote:
            return "a quote is empty"
        if quote not in whole:
            return f"not in the source: {quote}"
    return None


def judge(spec: AssertionSpec, rows: TestedRows) -> Found:
    """
    Raises:
        NotNow: the judge has no output yet.
    """
    verdicts = rows.around.other_table(spec.args["job"])
    if verdicts is None:
        raise NotNow(f"{spec.args['job']} has no output yet")
    for name in (*spec.args["on"], spec.args["column"]):
        if name not in verdicts.types:
            raise Unanswerable(f"the output of {spec.args['job']} has no column '{name}'.")
    verdict, kind = f"v.{quoted_name(spec.args['column'])}", verdicts.types[spec.args["column"]]
    same = " AND ".join(
        f"{text_of(f'v.{quoted_name(name)}', verdicts.types[name])} = "
        f"{text_of(f'tested.{rows.column(name)}', rows.kind(name))}"
        for name in spec.args["on"]
    )
    good = _is_in(verdict, kind, spec.args["accept_values"], spec.args["accept_texts"])
    source = f"FROM {quoted_name(verdicts.name)} v WHERE {same}"
    condition = f"NOT coalesce((SELECT bool_and(coalesce({good}, false)) {source}), false)"
    # A verdict may be given more than once: each of them must be good.
    told = f"(SELECT string_agg({text_of(verdict, kind)}, ', ') {source})"
    return rows.failing_where(condition, f"coalesce('the verdict is ' || {told}, 'there is no verdict')")


def sql(spec: AssertionSpec, rows: TestedRows) -> Found:
    """A file of tests/: the rows of its query are what fails.

    Raises:
        NotNow: an output that it reads is not there yet.
    """
    for job in spec.reads:
        if rows.around.other_table(job) is None:
            raise NotNow(f"{job} has no output yet")
    query = spec.args["sql"].rstrip().rstrip(";")
    failures = rows.tables.number(f"SELECT count(*) FROM ({query}\n)")
    failing = f"SELECT * FROM ({query}\n) LIMIT {spec.limit}"
    return Found(rows.table.row_count, failures, failing=failing if failures else "")


def _each_item(rows: TestedRows, name: str, is_bad: Callable[[str, str], str], words: str) -> Found:
    """A condition on a column's values, or on each item of its lists; empty values pass."""
    column, kind = rows.column(name), rows.kind(name)
    if not kind.endswith("[]"):
        bad = f"{column} IS NOT NULL AND {is_bad(column, kind)}"
        return rows.failing_where(bad, f"{shown(column)} || ' {words}'")
    item_is_bad = f"item IS NOT NULL AND {is_bad('item', kind.removesuffix('[]'))}"
    found = f"list_filter({column}, lambda item: {item_is_bad})"
    return rows.failing_where(f"len({found}) > 0", f"{shown(f'{found}[1]')} || ' {words}'")


def _is_in(value: str, kind: str, values: Sequence[Any], texts: Sequence[str]) -> str:
    """Whether it is one of some values. Texts are compared with what was typed: `no` and 1.10 are labels too."""
    match kind:
        case "VARCHAR":
            known = [quoted_text(text) for text in texts]
        case "BOOLEAN":
            known = [sql_value(each) for each in values if isinstance(each, bool)]
        case "JSON":
            value, known = f"CAST({value} AS VARCHAR)", [quoted_text(json.dumps(each)) for each in values]
        case _ if kind in NUMBERS:
            known = [repr(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
        case _:
            value, known = f"CAST({value} AS VARCHAR)", [quoted_text(text) for text in texts]
    return f"{value} IN ({', '.join(known)})" if known else "false"
