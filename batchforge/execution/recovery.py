"""Batches that the API still holds -> answers in state: for a state that was lost, and for a person's decisions.

Any of our batches can be told by its custom_ids (`bf1_...`), and any result by its own belongs to its request, whatever
project or machine asked it. Nothing here sends a request that costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import msgspec

from batchforge.backends.base import BatchBackend, BatchGone, BatchProgress, Unavailable
from batchforge.backends.result_lines import message_result
from batchforge.errors import UsageError
from batchforge.execution.batch_records import record_of
from batchforge.execution.settling import is_asked_by
from batchforge.ledger.pricing import Pricing
from batchforge.requests.fingerprint import parse_custom_id
from batchforge.results import RequestResult
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord, BatchRecord, StateStore
from batchforge.streams import in_chunks

RESULTS_KEPT_S = 29 * 24 * 3600.0
"""The API keeps results for 29 days after a batch's creation."""
_RESULTS_PER_STEP = 2_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a look at the API's batches brought."""

    batches: int = 0
    answers: int = 0
    in_progress: int = 0
    """Batches that have not ended: whose they are can be told only then."""
    unreadable: tuple[str, ...] = ()
    """Batches whose results could not be read now."""


def recover(state: StateStore, backend: BatchBackend, pricing: Pricing, run_id: str) -> Recovered:
    """Read every batch of ours of the last 29 days that state does not know. A second time changes nothing.

    Raises:
        Unavailable: the list cannot be had now.
    """
    batches = answers = in_progress = 0
    unreadable: list[str] = []
    known = state.known_batch_ids() - state.unfinished_recoveries()
    for batch in backend.list_recent(RESULTS_KEPT_S).batches:
        if batch.batch_id in known or batch.archived_at is not None:
            continue
        if not batch.has_ended:
            in_progress += 1
            continue
        try:
            found = _recover_batch(batch, state, backend, pricing, run_id)
        except (Unavailable, BatchGone):
            unreadable.append(batch.batch_id)
            continue
        batches, answers = batches + (found > 0), answers + found
    return Recovered(batches, answers, in_progress, tuple(unreadable))


def _recover_batch(
    batch: BatchProgress, state: StateStore, backend: BatchBackend, pricing: Pricing, run_id: str
) -> int:
    """Returns the number of its results; 0 for a batch that is not ours."""
    results = iter(backend.results(batch.batch_id))
    first = list(islice(results, 1))
    if not first or parse_custom_id(first[0].custom_id) is None:
        return 0
    priced = (pricing.priced(result, is_batch=True) for result in chain(first, results) if _is_ours(result))
    attempt_id = state.begin_recovery(run_id, record_of(batch, 0))
    stored = sum(len(state.store_recovered(attempt_id, chunk)) for chunk in in_chunks(priced, _RESULTS_PER_STEP))
    state.end_recovery(attempt_id)
    return stored


def _is_ours(result: RequestResult) -> bool:
    return parse_custom_id(result.custom_id) is not None


def import_answers(state: StateStore, lines: Iterable[bytes], run_id: str) -> tuple[int, int]:
    """Take the paid answers of `state export`; returns how many were read, and how many of them were new.

    Raises:
        UsageError: BF913 a line is none of an export.
    """
    read = stored = 0
    attempts: dict[str | None, int] = {}
    for number, line in enumerate(lines, 1):
        try:
            value = msgspec.json.decode(line, type=_ExportedAnswer)
            result = _exported_result(value)
        except msgspec.DecodeError as exc:
            hint = "Files of `batchforge state export` are taken, one JSON value a line."
            raise UsageError("BF913", f"line {number} is not a line of an export: {exc}", hint=hint) from exc
        read += 1
        if result is None:
            continue
        if value.batch_id not in attempts:
            attempts[value.batch_id] = state.begin_recovery(run_id, _imported_batch(value.batch_id, value.stored_at))
        stored += len(state.store_recovered(attempts[value.batch_id], [result]))
    for attempt_id in attempts.values():
        state.end_recovery(attempt_id)
    return read, stored


class _ExportedAnswer(msgspec.Struct):
    custom_id: str
    stored_at: str
    message: msgspec.Raw
    batch_id: str | None = None
    cost_usd: float | None = None


def _exported_result(value: _ExportedAnswer) -> RequestResult | None:
    """None for what was never billed: it is worth nothing."""
    if bytes(value.message) == b"null" or parse_custom_id(value.custom_id) is None:
        return None
    cost = None if value.cost_usd is None else round(value.cost_usd * 1e12)
    return msgspec.structs.replace(message_result(value.custom_id, bytes(value.message)), cost_pico_usd=cost)


def _imported_batch(batch_id: str | None, stored_at: str) -> BatchRecord:
    return BatchRecord(batch_id or "", 0, "ended", 0, 0, 0, 0, 0, stored_at, stored_at, stored_at)


def adopt(state: StateStore, backend: BatchBackend, batch_id: str) -> AttemptRecord:
    """Take a batch for the uncertain attempt that it belongs to, on a person's word; its custom_ids still must agree.

    Raises:
        UsageError: BF912 no uncertain attempt can have sent it.
    """
    try:
        batch = backend.poll(batch_id)
    except (BatchGone, Unavailable) as exc:
        hint = "Look at the id, and at whether the target's key reaches the batch's workspace."
        raise UsageError("BF912", f"{batch_id} cannot be looked at: {exc}", hint=hint) from exc
    for attempt in _undecided(state):
        if attempt.request_count == batch.request_count and _may_be(attempt, batch, state, backend):
            state.move(attempt.attempt_id, attempt.state, AttemptState.ADOPTED, batch_id=batch_id, note="by a person")
            return state.attempt(attempt.attempt_id)
    raise UsageError(
        "BF912",
        f"no uncertain attempt can have sent {batch_id} ({batch.request_count:,} requests)",
        hint="`batchforge status` shows the uncertain ones with their counts.",
    )


def give_up_uncertain(state: StateStore, jobs: list[str]) -> list[AttemptRecord]:
    """Take uncertain attempts of these jobs for lost, on a person's word: their requests are free to be sent again."""
    given_up = [attempt for attempt in _undecided(state) if attempt.job in jobs]
    for attempt in given_up:
        state.move(
            attempt.attempt_id,
            attempt.state,
            AttemptState.ASSUMED_LOST,
            note="by a person, at the risk of paying twice",
        )
    return given_up


def _undecided(state: StateStore) -> Iterator[AttemptRecord]:
    for attempt in state.open_attempts():
        if attempt.state in {AttemptState.UNCERTAIN, AttemptState.AMBIGUOUS}:
            yield attempt


def _may_be(attempt: AttemptRecord, batch: BatchProgress, state: StateStore, backend: BatchBackend) -> bool:
    if not batch.has_ended:
        return True
    names = [result.custom_id for result in islice(backend.results(batch.batch_id), 5)]
    return is_asked_by(attempt, names, state)
