"""Uncertain attempts -> what became of them, by looking at the batches that the API lists and at their custom_ids."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import islice

from batchforge.backends.base import BatchBackend, BatchGone, BatchListing, BatchProgress
from batchforge.clock import Clock, parse_iso
from batchforge.errors import ApiError
from batchforge.requests.fingerprint import parse_custom_id
from batchforge.state.attempts import UNSETTLED, AttemptState
from batchforge.state.records import AttemptRecord, RequestRecord, StateReader

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
    """Batches that were looked into and hold nothing that any attempt asks for."""
    awaits_end: bool = False
    """Whether only the end of a batch will tell, which can take hours."""


def settle(
    attempt: AttemptRecord,
    state: StateReader,
    backend: BatchBackend,
    clock: Clock,
    *,
    settle_after_s: float,
    timeout_s: float,
    may_resend: bool,
    first_looks: MutableMapping[int, datetime],
) -> Verdict:
    """Look for the batch of an attempt whose POST got no clear answer.

    A batch is a candidate if it was created while the POST was under way, by the server's clock, holds as many
    requests, and belongs to no other attempt. Where none has appeared in time, the requests are free to be sent again
    if `may_resend`; else a person decides. `first_looks`: attempt -> the server's time when this process first looked
    for it, which is noted here.

    Raises:
        Unavailable: the list cannot be had now.
    """
    assert attempt.sent_at is not None
    now = clock.now()
    listing, waited_s = _listed_since(parse_iso(attempt.sent_at), now, backend)
    if listing.server_time:
        first_look = first_looks.setdefault(attempt.attempt_id, listing.server_time)
        waited_s = max(waited_s, (listing.server_time - first_look).total_seconds() - _DATE_HEADER_STEP_S)
    candidates = _candidates(attempt, listing, now, timeout_s, state.known_batch_ids())
    ours, possible, foreign = _look_into(attempt, candidates, state, backend)
    if ours is None and len(possible) == 1 and not _rivals(attempt, state):
        ours = possible[0]
    if ours is not None:
        return Verdict(AttemptState.ADOPTED, f"found as {ours.batch_id}", ours.batch_id, foreign)
    names = ", ".join(batch.batch_id for batch in possible)
    if possible and all(batch.has_ended for batch in possible) and waited_s >= settle_after_s:
        note = f"it could be {names}, and the results of none can be read any more; a person decides"
        is_told = attempt.state is AttemptState.AMBIGUOUS
        return Verdict(None if is_told else AttemptState.AMBIGUOUS, note, None, foreign)
    if possible:
        note = f"it could be {names}; the custom_ids will tell once it has ended"
        return Verdict(None, note, None, foreign, awaits_end=True)
    if waited_s < settle_after_s:
        lost_at = now + timedelta(seconds=settle_after_s - waited_s, minutes=1)
        note = f"not listed yet; taken for lost if it does not appear by {lost_at:%Y-%m-%d %H:%M} UTC"
        return Verdict(None, note, None, foreign)
    note = f"not listed {waited_s:.0f} s after it was sent"
    if attempt.state is AttemptState.AMBIGUOUS:
        return Verdict(None, f"{note}; a person decides", None, foreign)
    return Verdict(AttemptState.ASSUMED_LOST if may_resend else AttemptState.AMBIGUOUS, note, None, foreign)


def _listed_since(sent: datetime, now: datetime, backend: BatchBackend) -> tuple[BatchListing, float]:
    """The batches since then, and for how many seconds that has been so at least.

    Where our clock and the server's differ, ours may have been set since: the list goes back as far as either says,
    and no more time has passed than either says.
    """
    by_ours = (now - sent).total_seconds()
    listing = backend.list_recent(max(by_ours, 0.0) + _SLACK_S + _DATE_HEADER_STEP_S)
    skew_s = _skew(listing, now).total_seconds()
    if skew_s > _SLACK_S:
        listing = backend.list_recent(max(by_ours, 0.0) + skew_s + _SLACK_S + _DATE_HEADER_STEP_S)
    return listing, by_ours + skew_s if skew_s < -_SLACK_S else by_ours


def _skew(listing: BatchListing, now: datetime) -> timedelta:
    return listing.server_time - now if listing.server_time else timedelta()


def _candidates(
    attempt: AttemptRecord, listing: BatchListing, now: datetime, timeout_s: float, known: set[str]
) -> list[BatchProgress]:
    assert attempt.sent_at is not None
    skew = _skew(listing, now)
    sent = parse_iso(attempt.sent_at)
    # Our clock may have been set since: then it was right before, or is right now.
    first = min(sent, sent + skew) - timedelta(seconds=_SLACK_S + _DATE_HEADER_STEP_S)
    last = max(sent, sent + skew) + timedelta(seconds=timeout_s + _SLACK_S)
    return [
        batch
        for batch in listing.batches
        if batch.batch_id not in known
        and batch.request_count == attempt.request_count
        and first <= parse_iso(batch.created_at) <= last
    ]


def _rivals(attempt: AttemptRecord, state: StateReader) -> list[AttemptRecord]:
    """Other attempts that a batch of so many requests may belong to."""
    return [
        other
        for other in state.open_attempts()
        if other.state in UNSETTLED
        and other.mode == "batch"
        and other.request_count == attempt.request_count
        and other.attempt_id != attempt.attempt_id
    ]


class _Owner(Enum):
    """Who asks for what a batch holds."""

    WE = auto()
    ANOTHER_ATTEMPT = auto()
    NOBODY = auto()
    UNKNOWN = auto()
    """Its custom_ids cannot be read yet."""


def _look_into(
    attempt: AttemptRecord, candidates: Sequence[BatchProgress], state: StateReader, backend: BatchBackend
) -> tuple[BatchProgress | None, list[BatchProgress], tuple[str, ...]]:
    """(the batch that is the attempt's by its custom_ids, those that may be, ids of those that are nobody's)"""
    possible: list[BatchProgress] = []
    foreign: list[str] = []
    for batch in candidates:
        owner = _owner(attempt, batch, state, backend)
        if owner is _Owner.WE:
            return batch, [], tuple(foreign)
        if owner is _Owner.UNKNOWN:
            possible.append(batch)
        elif owner is _Owner.NOBODY:
            foreign.append(batch.batch_id)
    return None, possible, tuple(foreign)


def _owner(attempt: AttemptRecord, batch: BatchProgress, state: StateReader, backend: BatchBackend) -> _Owner:
    if not batch.has_ended:
        return _Owner.UNKNOWN
    try:
        names = [result.custom_id for result in islice(backend.results(batch.batch_id), 5)]
    except BatchGone:
        return _Owner.UNKNOWN
    if is_asked_by(attempt, names, state):
        return _Owner.WE
    return _Owner.ANOTHER_ATTEMPT if is_asked_by_any(names, state) else _Owner.NOBODY


def is_asked_by(attempt: AttemptRecord, custom_ids: Iterable[str], state: StateReader) -> bool:
    """Whether the attempt asks for all of these."""
    claimed = set(state.claimed(attempt.attempt_id))
    return all(parse_custom_id(name) in claimed for name in custom_ids)


def is_asked_by_any(custom_ids: Iterable[str], state: StateReader) -> bool:
    """Whether some open attempt asks for one of these."""
    names = [name for custom_id in custom_ids if (name := parse_custom_id(custom_id)) is not None]
    records = state.lookup([request_id for request_id, _ in names])
    return any(
        claim.ordinal == ordinal
        for request_id, ordinal in names
        for claim in records.get(request_id, RequestRecord()).claims
    )


@dataclass(frozen=True, slots=True)
class OnUncertain:
    """What is done with a batch that may have been accepted, and was not listed in time."""

    asks_always: bool = False
    ask_above_usd: float = 10.0
    """A batch that can cost more than this is never sent again without a person's word."""

    def may_resend(self, ceiling_pico_usd: int | None) -> bool:
        if self.asks_always or ceiling_pico_usd is None:
            return False
        return ceiling_pico_usd <= self.ask_above_usd * 1e12


def undecided(attempt: AttemptRecord) -> ApiError:
    return ApiError(
        "BF606",
        f"attempt {attempt.attempt_id} of {attempt.job} ({attempt.request_count:,} requests, sent {attempt.sent_at}) "
        f"may have been accepted: {attempt.note}",
        hint="Look at the batches of the workspace. `batchforge adopt BATCH_ID` takes one for it; "
        "`batchforge run --resend-and-risk-paying-twice` sends it again.",
    )
