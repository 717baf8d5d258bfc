"""Rows whose request changed -> their results on both sides, as state holds them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from batchforge.answers import Answer, reader_of
from batchforge.outputs import result_columns
from batchforge.planning.decisions import decide
from batchforge.planning.plan_rows import Action, PlannedRow
from batchforge.requests.compiler import CompiledJob
from batchforge.review.row_changes import RowPair
from batchforge.state.records import RequestRecord, StateReader, StoredResult
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 1_000


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """A row's results; None on a side that has none."""

    key: str
    place: str
    row: Mapping[str, Any]
    before: Answer | None
    after: Answer | None
    again: Answer | None
    """Another answer to the older side's request."""
    stored_before: str
    stored_after: str
    """When the results came."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`before`, `after`, `again` -> the columns that an output has besides the answer's."""


class AnswerPairs:
    """Reads results of two revisions of a job."""

    def __init__(self, old: CompiledJob, new: CompiledJob, state: StateReader) -> None:
        self._state = state
        self._limits = (old.spec.max_tokens, new.spec.max_tokens)
        self._readers = tuple(reader_of(job.spec) for job in (old, new))

    def read(self, pairs: Iterable[RowPair]) -> Iterator[AnswerPair]:
        """Of rows that both sides have and that ask something else now. An answer is never compared with itself."""
        changed = (pair for pair in pairs if pair.old and pair.new and not pair.is_same)
        for chunk in in_chunks(changed, _ROWS_PER_LOOKUP):
            yield from self._chunk(chunk)

    def _chunk(self, pairs: Sequence[RowPair]) -> Iterator[AnswerPair]:
        sides = [[_row(pair.old) for pair in pairs], [_row(pair.new) for pair in pairs]]
        records = self._state.lookup(list({row.row.request_id for side in sides for row in side if row.row.request_id}))
        names = [
            [_serving(row, records, limit) for row in side] for side, limit in zip(sides, self._limits, strict=True)
        ]
        others = [_another(name, records) for name in names[0]]
        wanted = {name for side in (*names, others) for name in side if name is not None}
        stored = self._state.stored_results(list(wanted))
        for number, pair in enumerate(pairs):
            before, after = (stored.get(side[number]) if side[number] else None for side in names)  # type: ignore[arg-type]
            other = others[number]
            yield self._pair(pair, before, after, stored.get(other) if other else None)

    def _pair(
        self, pair: RowPair, before: StoredResult | None, after: StoredResult | None, again: StoredResult | None
    ) -> AnswerPair:
        row = _row(pair.new).row
        old_reader, new_reader = self._readers
        return AnswerPair(
            key=row.key,
            place=row.place,
            row=msgspec.json.decode(row.values),
            before=old_reader.read(before.result) if before else None,
            after=new_reader.read(after.result) if after else None,
            again=old_reader.read(again.result) if again else None,
            stored_before=before.stored_at if before else "",
            stored_after=after.stored_at if after else "",
            facts={
                side: result_columns(stored.result)
                for side, stored in (("before", before), ("after", after), ("again", again))
                if stored is not None
            },
        )


class SpooledPairs:
    """Pairs in a private file, to be read several times."""

    def __init__(self, pairs: Iterable[AnswerPair]) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="ascii", prefix="batchforge-pairs-")  # noqa: SIM115
        for pair in pairs:
            self._file.write(json.dumps(asdict(pair)) + "\n")

    def __enter__(self) -> SpooledPairs:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[AnswerPair]:
        self._file.seek(0)
        for line in self._file:
            values = json.loads(line)
            for side in ("before", "after", "again"):
                values[side] = Answer(**values[side]) if values[side] else None
            yield AnswerPair(**values)


def _row(planned: PlannedRow | None) -> PlannedRow:
    assert planned is not None
    return planned


def _serving(planned: PlannedRow, records: Mapping[bytes, RequestRecord], max_tokens: int) -> tuple[bytes, int] | None:
    """The answer that an output would hold: answered, or billed and failed."""
    request = planned.row.request_id
    record = records.get(request) if request else None
    if request is None or record is None or not record.answers:
        return None
    decision = decide(record, max_tokens)
    return (request, decision.ordinal) if decision.action in (Action.REUSE, Action.FAILED) else None


def _another(name: tuple[bytes, int] | None, records: Mapping[bytes, RequestRecord]) -> tuple[bytes, int] | None:
    """A further billed answer to the same request."""
    if name is None:
        return None
    request, serving = name
    ordinals = {answer.ordinal for answer in records[request].answers if answer.kind.is_billed}
    return next(((request, ordinal) for ordinal in sorted(ordinals - {serving})), None)
