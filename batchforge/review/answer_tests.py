"""Answers of both sides -> what the job's own tests say of each of them, row by row, and when the same is asked twice.

The rows are tables in a private file, one a side, with the columns that an output has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from batchforge.answers import Answer, column_kinds, reader_of
from batchforge.evaluation.statistics import compare_shares, compare_with_noise
from batchforge.outputs import ANSWERED, META_KINDS
from batchforge.review.answer_pairs import AnswerPair
from batchforge.review.answer_values import JobTestDiff, JobTestSide
from batchforge.spec import AssertionSpec, JobSpec
from batchforge.testing.outcome import ERROR, PASS

if TYPE_CHECKING:
    from batchforge.testing.tested_tables import TestedTable, TestedTables

ClusterOf = Callable[[AnswerPair], str]

_WHOLE_OUTPUT = frozenset({"row_count", "drift", "cost_per_row", "sql", "judge"})
_AGAINST_LABELS = frozenset({"accuracy", "f1", "confusion"})
_NUMBER = "_pair#"
_SIDES = ("before", "after", "again")


@dataclass(slots=True)
class TestedAnswers:
    """What the tests say; `passing` holds for each test and side a flag a row, in the order in which rows came."""

    __test__ = False
    tests: list[JobTestDiff] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Tests that say something only of a whole output."""
    passing: list[tuple[bytearray, bytearray]] = field(default_factory=list)

    def failing(self, number: int) -> tuple[list[str], list[str]]:
        """Names of the tests that a row fails, before and after."""
        before, after = (
            [test.name for test, flags in zip(self.tests, self.passing, strict=True) if not flags[side][number]]
            for side in (0, 1)
        )
        return before, after


@dataclass(slots=True)
class _Rows:
    """What is known of each compared row besides its values."""

    is_answered: Mapping[str, bytearray] = field(default_factory=lambda: {side: bytearray() for side in _SIDES})
    is_twice: bytearray = field(default_factory=bytearray)
    clusters: list[str] = field(default_factory=list)


def tests_of_rows(spec: JobSpec) -> list[AssertionSpec]:
    """Those that say something of some rows, without the whole output and without those of other jobs."""
    return [test for test in spec.tests if not (test.is_late or test.reads or test.kind in _WHOLE_OUTPUT)]


def ask_tests(
    old: JobSpec,
    new: JobSpec,
    pairs: Callable[[], Iterable[AnswerPair]],
    cluster_of: ClusterOf | None,
) -> TestedAnswers:
    """The newer side's tests, asked of the answers of both sides. `pairs` is read once for each side."""
    chosen = tests_of_rows(new)
    found = TestedAnswers(left_out=[test.name for test in new.tests if test not in chosen])
    if not chosen:
        return found
    from batchforge.testing.tested_tables import open_tables

    with ExitStack() as stack:
        rows = _Rows()
        tables = stack.enter_context(open_tables())
        added = {
            side: _add(tables, side, spec, pairs(), rows, cluster_of)
            for side, spec in zip(_SIDES, (old, new, old), strict=True)
        }
        for test in chosen:
            _Asked(tables, added, rows, replace(test, limit=len(rows.is_twice) + 1)).into(found)
    return found


def _add(
    tables: TestedTables,
    side: str,
    spec: JobSpec,
    pairs: Iterable[AnswerPair],
    rows: _Rows,
    cluster_of: ClusterOf | None,
) -> TestedTable:
    kinds = {**column_kinds(spec.output), **META_KINDS, _NUMBER: "integer"}
    columns = [*reader_of(spec).columns, *META_KINDS, _NUMBER]
    return tables.add(side, _values(side, pairs, rows, cluster_of), columns, kinds)


def _values(
    side: str, pairs: Iterable[AnswerPair], rows: _Rows, cluster_of: ClusterOf | None
) -> Iterator[dict[str, Any]]:
    compared = (pair for pair in pairs if pair.before and pair.after)
    for number, pair in enumerate(compared):
        answer: Answer | None = getattr(pair, side)
        rows.is_answered[side].append(answer is not None and answer.status == ANSWERED)
        if side == "before":
            rows.is_twice.append(pair.again is not None)
            if cluster_of is not None:
                rows.clusters.append(cluster_of(pair))
        if answer is not None:
            status = {"_status": answer.status, "_error": answer.error}
            yield {**pair.row, **answer.values, **status, **pair.facts.get(side, {}), _NUMBER: number}


class _Asked:
    """One test on the tables of all sides."""

    def __init__(
        self, tables: TestedTables, added: Mapping[str, TestedTable], rows: _Rows, test: AssertionSpec
    ) -> None:
        self._tables, self._added, self._rows, self._test = tables, added, rows, test

    def into(self, found: TestedAnswers) -> None:
        sides = {side: self._side(side) for side in _SIDES}
        before, after, again = (sides[side][1] for side in _SIDES)
        counted = self._counted(all(side.status != ERROR for side, _ in sides.values()))
        clusters = [self._rows.clusters[n] for n in counted] if self._rows.clusters else None
        twice = [n for n in counted if self._rows.is_twice[n]]
        passing = compare_shares([bool(before[n]) for n in counted], [bool(after[n]) for n in counted], clusters)
        noise = compare_with_noise(
            [before[n] != after[n] for n in twice],
            [before[n] != again[n] for n in twice],
            [self._rows.clusters[n] for n in twice] if self._rows.clusters else None,
        )
        found.tests.append(
            JobTestDiff(
                name=self._test.name,
                kind=self._test.kind,
                severity=self._test.severity,
                before=sides["before"][0],
                after=sides["after"][0],
                passing=passing if counted else None,
                noise=noise if twice else None,
            )
        )
        found.passing.append((before, after))

    def _side(self, side: str) -> tuple[JobTestSide, bytearray]:
        """What the test comes to, and for each row whether it passes: one without an answer does not."""
        import duckdb

        from batchforge.testing.assertions import ASSERTIONS, judged
        from batchforge.testing.tested_rows import Surroundings, TestedRows, Unanswerable

        table, test = self._added[side], self._test
        passing = bytearray(b"\x01") * len(self._rows.is_twice)
        if test.rows == "answered" and test.kind not in _AGAINST_LABELS:
            passing = bytearray(self._rows.is_answered[side])
        if not table.row_count:
            return JobTestSide(PASS, message="no rows"), passing
        try:
            found = ASSERTIONS[test.kind](test, TestedRows(self._tables, table, test, Surroundings(is_partial=True)))
            for number in self._tables.column_of(found.failing, _NUMBER) if found.failing else ():
                passing[number] = 0
        except Unanswerable as exc:
            return JobTestSide(ERROR, message=str(exc)), passing
        except duckdb.Error as exc:
            return JobTestSide(ERROR, message=str(exc).split("\n\n")[0].replace("\n", " ")), passing
        if test.kind in _AGAINST_LABELS:
            answered = self._rows.is_answered[side]
            passing = bytearray(right and has_answer for right, has_answer in zip(passing, answered, strict=True))
        status, message = judged(test, found)
        return JobTestSide(status, found.rows, found.failures, found.value, message), passing

    def _counted(self, can_be_asked: bool) -> list[int]:
        """The rows that the test is about on either side, those without an answer among them."""
        if not can_be_asked:
            return []
        conditions = [f"({self._test.where}\n)"] if self._test.where else []
        if self._test.kind in _AGAINST_LABELS:
            conditions.append(f"{_quoted(self._test.args['label'])} IS NOT NULL")
        if not conditions:
            return list(range(len(self._rows.is_twice)))
        tables = [self._added[side] for side in _SIDES[:2] if self._added[side].row_count]
        return sorted({n for table in tables for n in self._tables.column_of(table.rows_where(conditions), _NUMBER)})


def _quoted(name: str) -> str:
    from batchforge.tables.duck import quoted_name

    return quoted_name(name)
