"""Uncertain attempts -> what became of them, by looking at the batches that the API lists and at their custom_ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from batchforge.backends.base import BatchBackend, BatchGone, BatchListing, BatchProgress
from batchforge.clock import Clock, parse_iso
from batchforge.fingerprint import parse_custom_id
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord, StateReader

_DATE_HEADER_STEP_S = 1.0
"""The Date header counts whole seconds."""
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`to_state` is None where it cannot be told yet."""

    to_state: AttemptState | None
    note: str
    batch_id: str | None = None
    foreign_batch_ids: tuple[str, ...] = ()
    """Batches that were looked into and hold nothing of this attempt."""


def settle(
    attempt: AttemptRecord,
    state: StateReader,
    backend: BatchBackend,
    clock: Clock,
    *,
    settle_after_s: float,
    timeout_s: float,
    may_resend: bool,
) -> Verdict:
    """Look for the batch of an attempt whose POST got no clear answer.

    A batch is a candidate if it was created while the POST was under way, by the server's clock, holds as many
    requests, and belongs to no other attempt. Where none has appeared in time, the requests are free to be sent again
    if `may_resend`; else a person decides.

    Raises:
        Unavailable: the list cannot be had now.
    """
    assert attempt.sent_at is not None
    waited_s = (clock.now() - parse_iso(attempt.sent_at)).total_seconds()
    listing = backend.list_recent(waited_s + _SLACK_S + _DATE_HEADER_STEP_S)
    candidates = _candidates(attempt, listing, clock.now(), timeout_s, state.known_batch_ids())
    ours, foreign = _look_into(attempt, candidates, state, backend)
    if len(ours) == 1:
        return Verdict(AttemptState.ADOPTED, f"found as {ours[0].batch_id}", ours[0].batch_id, foreign)
    if ours:
        names = ", ".join(batch.batch_id for batch in ours)
        return Verdict(None, f"{len(ours)} batches could be it ({names}); their custom_ids will tell", None, foreign)
    if waited_s < settle_after_s:
        left_s = settle_after_s - waited_s
        return Verdict(None, f"not listed yet; taken for lost in {left_s:.0f} s if it does not appear", None, foreign)
    note = f"not listed {waited_s:.0f} s after it was sent"
    if attempt.state is AttemptState.AMBIGUOUS:
        return Verdict(None, f"{note}; a person decides", None, foreign)
    return Verdict(AttemptState.ASSUMED_LOST if may_resend else AttemptState.AMBIGUOUS, note, None, foreign)


def _candidates(
    attempt: AttemptRecord, listing: BatchListing, now: datetime, timeout_s: float, known: set[str]
) -> list[BatchProgress]:
    assert attempt.sent_at is not None
    skew = (listing.server_time - now) if listing.server_time else timedelta()
    sent = parse_iso(attempt.sent_at) + skew
    first = sent - timedelta(seconds=_SLACK_S + _DATE_HEADER_STEP_S)
    last = sent + timedelta(seconds=timeout_s + _SLACK_S)
    return [
        batch
        for batch in listing.batches
        if batch.batch_id not in known
        and batch.request_count == attempt.request_count
        and first <= parse_iso(batch.created_at) <= last
    ]


def _look_into(
    attempt: AttemptRecord, candidates: Sequence[BatchProgress], state: StateReader, backend: BatchBackend
) -> tuple[list[BatchProgress], tuple[str, ...]]:
    """Candidates that are, or may be, the attempt's; and those that are surely not. One that can be read and is the
    attempt's own settles it alone."""
    possible: list[BatchProgress] = []
    foreign: list[str] = []
    for batch in candidates:
        answer = _holds_ours(attempt, batch, state, backend) if batch.has_ended else None
        if answer is True:
            return [batch], tuple(foreign)
        if answer is None:
            possible.append(batch)
        else:
            foreign.append(batch.batch_id)
    return possible, tuple(foreign)


def _holds_ours(attempt: AttemptRecord, batch: BatchProgress, state: StateReader, backend: BatchBackend) -> bool | None:
    try:
        names = [result.custom_id for result in islice(backend.results(batch.batch_id), 5)]
    except BatchGone:
        return None
    return is_asked_by(attempt, names, state)


def is_asked_by(attempt: AttemptRecord, custom_ids: Iterable[str], state: StateReader) -> bool:
    """Whether the attempt asks for all of these."""
    claimed = set(state.claimed(attempt.attempt_id))
    return all(parse_custom_id(name) in claimed for name in custom_ids)
