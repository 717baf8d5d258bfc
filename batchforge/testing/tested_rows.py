"""One test's rows: those of an output that it asks about, how their columns are written in SQL, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchforge.nearest import did_you_mean
from batchforge.spec import AssertionSpec
from batchforge.tables.duck import quoted_name, quoted_text
from batchforge.testing.tested_tables import ROW_NUMBER, TestedTable, TestedTables, value_of

NUMBERS = ("BIGINT", "DOUBLE", "DECIMAL(38,0)")
_REASON_CHARS = 200


class Unanswerable(Exception):
    """The test cannot be worked out, e.g. since a column is missing."""


class NotNow(Exception):
    """The test waits for something that is not there yet."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a test has counted or measured."""

    rows: int
    failures: int = 0
    value: float | None = None
    """What was measured; None for a test that counts failing rows."""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    failing: str = ""
    """SQL for the failing rows; empty where there are none to show."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a test may ask besides the rows."""

    is_partial: bool = False
    """Only some of the job's rows were asked."""
    cost_usd: Callable[[], float | None] = lambda: None
    """What the answers in the output have cost together; None where a price is not known."""
    spread_before: Callable[[str], Mapping[str, Any] | None] = lambda _name: None
    """Test -> how the values of its column were spread in the output before this one."""
    other_table: Callable[[str], TestedTable | None] = lambda _job: None
    """Job -> its output, added to the tables; None where there is none yet."""
    labels: frozenset[str] = frozenset()
    """Labels of the job's answers: values that may be written down as they are."""
    output_id: str = ""
    """Differs for outputs of different rows or answers."""


class TestedRows:
    """The rows of one table that one test asks about. In SQL they are called `tested`."""

    __test__ = False

    def __init__(self, tables: TestedTables, table: TestedTable, spec: AssertionSpec, around: Surroundings) -> None:
        self.tables, self.table, self.spec, self.around = tables, table, spec, around

    # ---- SQL

    @property
    def with_tested(self) -> str:
        """The beginning of every query over `tested`."""
        conditions = []
        if self.spec.rows == "answered" and "_status" in self.table.types:
            conditions.append("_status = 'answered'")
        if self.spec.where:
            conditions.append(f"({self.spec.where}\n)")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"WITH tested AS (SELECT * FROM {self.table.relation}{where}) "

    def column(self, name: str) -> str:
        """The column as SQL.

        Raises:
            Unanswerable: there is no such column.
        """
        self.kind(name)
        return quoted_name(name)

    def kind(self, name: str) -> str:
        """DuckDB's type of a column."""
        if name not in self.table.types:
            known = [column for column in self.table.types if not column.startswith("_")]
            hint = did_you_mean(name, self.table.types) or f"There is {', '.join(known[:20])}."
            raise Unanswerable(f"the output has no column '{name}'. {hint}")
        return self.table.types[name]

    def text(self, name: str) -> str:
        """The column as text in SQL: of a JSON text its characters, without quotes."""
        return text_of(self.column(name), self.kind(name))

    # ---- answers

    def count(self) -> int:
        return int(self.number("SELECT count(*) FROM tested"))

    def number(self, query: str) -> Any:
        return self.fetch(query)[0][0]

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """A query over `tested`; one that begins with further tables of its own begins with a comma."""
        return self.tables.fetch(self._whole(query))

    def _whole(self, query: str) -> str:
        return f"{self.with_tested.rstrip() if query.startswith(',') else self.with_tested}{query}"

    def values(self, *names: str) -> Iterator[tuple[int, list[Any]]]:
        """Each row's number, and its values of these columns as they were put in."""
        kinds = [self.kind(name) for name in names]
        columns = ", ".join(map(self.column, names))
        query = f"SELECT {quoted_name(ROW_NUMBER)}, {columns} FROM tested"
        for number, *cells in self.tables.stream(self._whole(query)):
            yield number, [value_of(cell, kind) for cell, kind in zip(cells, kinds, strict=True)]

    # ---- what failed

    def failing_where(self, condition: str, reason: str) -> Found:
        """Rows for which a condition is true; `reason` is an expression of SQL."""
        failures, rows = self.fetch(f"SELECT count(*) FILTER (WHERE {condition}\n), count(*) FROM tested")[0]
        return Found(rows, failures, failing=self.failing_sql(condition, reason) if failures else "")

    def failing_sql(self, condition: str, reason: str) -> str:
        number = quoted_name(ROW_NUMBER)
        return self._whole(
            f"SELECT left({reason}, {_REASON_CHARS}) AS _failure, * EXCLUDE ({number}) FROM tested "
            f"WHERE {condition}\nORDER BY {number} LIMIT {self.spec.limit}"
        )

    def failing_in(self, judged: Iterable[tuple[int, str | None]]) -> Found:
        """Rows that were judged one by one: each row's number, and why it fails (None: it passes)."""
        rows = failures = 0
        numbers: list[int] = []
        reasons: list[str] = []
        for number, reason in judged:
            rows += 1
            if reason is not None:
                failures += 1
                if len(numbers) < self.spec.limit:
                    numbers.append(number)
                    reasons.append(reason[:_REASON_CHARS])
        return Found(rows, failures, failing=self._listed(numbers, reasons) if numbers else "")

    def _listed(self, numbers: Sequence[int], reasons: Sequence[str]) -> str:
        self.tables.fetch("CREATE OR REPLACE TEMP TABLE judged (number BIGINT, reason VARCHAR)")
        self.tables.fetch("INSERT INTO judged SELECT unnest(?::BIGINT[]), unnest(?::VARCHAR[])", [numbers, reasons])
        number = quoted_name(ROW_NUMBER)
        return self._whole(
            f"SELECT judged.reason AS _failure, tested.* EXCLUDE ({number}) FROM tested "
            f"JOIN judged ON tested.{number} = judged.number ORDER BY tested.{number}"
        )


def text_of(expression: str, kind: str) -> str:
    if kind == "VARCHAR":
        return expression
    return f"({expression}->>'$')" if kind == "JSON" else f"CAST({expression} AS VARCHAR)"


def shown(expression: str) -> str:
    """A value as it is told in a reason: as JSON, so that texts can be told from numbers."""
    return f"coalesce(left(CAST(to_json({expression}) AS VARCHAR), 100), 'null')"


def sql_value(value: str | float | bool) -> str:
    if isinstance(value, str):
        return quoted_text(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)
