"""An attempt that is open -> what will settle it, and when: for people who ask for the status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from batchforge.clock import iso, parse_iso
from batchforge.execution.recovery import RESULTS_KEPT_S
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord, BatchRecord
from batchforge.target import Target

WARN_AFTER_S = 7 * 24 * 3600.0
"""Results that nobody has fetched for so long are warned of: the API keeps them for 29 days."""
_PERSON = (
    "`batchforge adopt BATCH_ID` takes a batch for it, `batchforge run --resend-and-risk-paying-twice` sends it again"
)


@dataclass(frozen=True, slots=True)
class Settlement:
    by: str
    """What will settle it, in words."""
    at: str | None = None
    """The latest moment at which that is the case, where there is one."""


def settlement_of(attempt: AttemptRecord, target: Target) -> Settlement:
    """What will become of an attempt of which no batch is known."""
    match attempt.state:
        case AttemptState.INTENDED:
            return Settlement("nothing was sent; the next run or collect withdraws it once its process has ended")
        case AttemptState.SENDING:
            return Settlement(
                "its process sends it; if that has ended, the next run or collect looks for it at the API"
            )
        case AttemptState.AMBIGUOUS:
            return Settlement(f"a person decides: {_PERSON}. It is taken up by itself if the API lists it after all")
        case _:
            return _uncertain(attempt, target)


def _uncertain(attempt: AttemptRecord, target: Target) -> Settlement:
    assert attempt.sent_at is not None
    at = iso(parse_iso(attempt.sent_at) + timedelta(seconds=target.settle_after_s))
    ceiling = attempt.ceiling_pico_usd
    may_resend = not target.asks_when_uncertain and ceiling is not None and ceiling <= target.ask_above_usd * 1e12
    after = "its requests are sent again" if may_resend else f"a person decides ({_PERSON})"
    by = f"each run and collect looks for it in the API's list, by its count and its custom_ids; from {at} on, {after}"
    return Settlement(by, at)


def days_unfetched(batch: BatchRecord, now: datetime) -> int:
    """Since its creation; 0 while it is not long enough to be warned of."""
    age = now - parse_iso(batch.created_at)
    return age.days if age.total_seconds() >= WARN_AFTER_S else 0


def unfetched_words(batch: BatchRecord, job: str, now: datetime) -> str:
    """A warning; empty where there is nothing to warn of."""
    days = days_unfetched(batch, now)
    if not days:
        return ""
    until = iso(parse_iso(batch.created_at) + timedelta(seconds=RESULTS_KEPT_S))[:10]
    command = f"batchforge collect {job}"
    return f"the results of {batch.batch_id} have not been fetched for {days} days; `{command}` can until {until}"
