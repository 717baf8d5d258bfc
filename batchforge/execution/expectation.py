"""When what is in flight will have ended: as earlier batches of the same job took, and at the latest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from batchforge.clock import iso, parse_iso
from batchforge.state.records import StateReader

_BATCHES = 20
"""So many of the last ones are looked at."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Times as our files hold them."""

    expected_at: str | None
    """None where no batch of these jobs has ended yet, or all that are in flight have taken longer already."""
    latest_at: str | None
    """When the API ends the last of them by itself; None where no batch is known."""


def expectation(state: StateReader, jobs: Sequence[str], now: datetime) -> Expectation:
    batches = [
        (attempt.job, batch)
        for attempt in state.awaited_attempts(jobs)
        if attempt.batch_id and (batch := state.batch(attempt.batch_id)) is not None
    ]
    ends = [
        parse_iso(batch.created_at) + timedelta(seconds=usual)
        for job, batch in batches
        if (usual := _usual_s(state, job)) is not None
    ]
    last = max(ends, default=None)
    return Expectation(
        expected_at=iso(last) if last is not None and last > now else None,
        latest_at=max((batch.expires_at for _, batch in batches), default=None),
    )


def _usual_s(state: StateReader, job: str) -> float | None:
    spans = [(parse_iso(end) - parse_iso(begin)).total_seconds() for begin, end in state.batch_spans(job, _BATCHES)]
    return median(spans) if spans else None
