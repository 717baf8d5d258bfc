"""What `try` brought: a few rows with their answers and prices, as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from batchforge.answers import AnswerReader, reader_of
from batchforge.outputs import ANSWERED, BLOCKED
from batchforge.planning.plan_rows import Action, PlannedRow
from batchforge.planning.planner import JobPlan
from batchforge.requests.fingerprint import custom_id
from batchforge.results import Usage
from batchforge.state.records import StateReader, StoredResult
from batchforge.summaries import EXIT_FAILED, EXIT_OK, EXIT_PENDING

IN_FLIGHT, NOT_ASKED = "in flight", "not asked"


@dataclass(frozen=True, slots=True)
class TriedRow:
    key: str
    place: str
    custom_id: str | None
    """None for a row that cannot be asked."""
    row: Mapping[str, Any]
    """The input's columns."""
    status: str
    """answered, or why there is no answer."""
    error: str | None
    fields: Mapping[str, Any]
    """The answer's columns."""
    text: str
    """The answer as it came."""
    model: str | None
    stop_reason: str | None
    usage: Usage
    cost_usd: float | None
    """None where there is no answer, or the model has no known price."""
    is_new: bool
    """Whether it was asked, and paid, by this very command."""


@dataclass(frozen=True, slots=True)
class TrySummary:
    run_id: str
    job: str
    target: str
    is_emulated: bool
    started_at: str
    ended_at: str
    rows: Sequence[TriedRow]

    @property
    def cost_usd(self) -> float:
        """What was paid now."""
        return round(sum(row.cost_usd or 0.0 for row in self.rows if row.is_new), 9)

    @property
    def status(self) -> str:
        """ok, pending where a row is in flight, failed where one has no answer."""
        statuses = {row.status for row in self.rows}
        if statuses - {ANSWERED, IN_FLIGHT}:
            return "failed"
        return "pending" if IN_FLIGHT in statuses else "ok"

    @property
    def exit_code(self) -> int:
        return {"ok": EXIT_OK, "pending": EXIT_PENDING}.get(self.status, EXIT_FAILED)

    def to_json(self) -> dict[str, Any]:
        """The value of --output json."""
        return {**self.to_record(), "rows": [asdict(row) for row in self.rows]}

    def to_record(self) -> dict[str, Any]:
        """What state keeps of it: no texts of rows and answers, which have their places and are erased there."""
        facts = {name: value for name, value in asdict(self).items() if name != "rows"}
        return {**facts, "status": self.status, "cost_usd": self.cost_usd, "exit_code": self.exit_code}


def tried_rows(plan: JobPlan, state: StateReader, run_id: str) -> list[TriedRow]:
    """The plan's rows with what is stored for them by now."""
    rows = list(plan.rows())
    names = [(planned.row.request_id, planned.row.ordinal) for planned in rows if planned.row.request_id]
    stored = state.stored_results(names)
    reader = reader_of(plan.compiled.spec)
    paid = set(_paid_by(run_id, stored.values()))
    return [_tried_row(planned, stored, reader, paid) for planned in rows]


def _paid_by(run_id: str, results: Iterable[StoredResult]) -> Iterator[str]:
    return (each.result.custom_id for each in results if each.run_id == run_id)


def _tried_row(
    planned: PlannedRow,
    stored: Mapping[tuple[bytes, int], StoredResult],
    reader: AnswerReader,
    paid: set[str],
) -> TriedRow:
    row = planned.row
    values = msgspec.json.decode(row.values)
    found = stored.get((row.request_id or b"", row.ordinal))
    if found is None:
        status, error = _without_result(planned)
        name = custom_id(row.request_id, row.ordinal) if row.request_id else None
        return TriedRow(
            row.key, row.place, name, values, status, error, {}, "", None, None, Usage(), None, is_new=False
        )
    result, answer = found.result, reader.read(found.result)
    is_new = result.custom_id in paid
    paid.discard(result.custom_id)  # equal rows are paid once
    return TriedRow(
        key=row.key,
        place=row.place,
        custom_id=result.custom_id,
        row=values,
        status=answer.status,
        error=answer.error,
        fields=answer.values,
        text=answer.text,
        model=result.model,
        stop_reason=result.stop_reason,
        usage=result.usage,
        cost_usd=None if result.cost_pico_usd is None else result.cost_pico_usd / 1e12,
        is_new=is_new,
    )


def _without_result(planned: PlannedRow) -> tuple[str, str]:
    if planned.action is Action.BLOCKED:
        return BLOCKED, f"{planned.row.blocked_code} {planned.row.blocked_reason}"
    if planned.action is Action.WAIT:
        return IN_FLIGHT, f"asked already ({planned.reason}); `batchforge collect` fetches the answer"
    return NOT_ASKED, planned.reason
