"""Do the plan: intention -> submit -> poll -> store, and go on after a crash. The only room that writes state.

Every step is durable before the next one begins; the order of steps is drawn in `state/attempts.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from batchforge.backends.base import BatchBackend, BatchGone, BatchProgress, Rejected, Unavailable, Uncertain
from batchforge.clock import Clock, parse_iso
from batchforge.documents.file_delivery import FileDelivery
from batchforge.errors import ApiError, StateError
from batchforge.events import Event, EventName, Listener, ignore, warning
from batchforge.execution.batch_records import record_of
from batchforge.execution.disk_room import release, release_all_but, reserve
from batchforge.execution.intention import RunOf, Timing, intention_of
from batchforge.execution.leases import LeaseKeeper
from batchforge.execution.packing import PackedBatch, pack, remove_left_over_bodies
from batchforge.execution.reading import Reading, stored_facts
from batchforge.execution.settlement import unfetched_words
from batchforge.execution.settling import OnUncertain, is_asked_by_any, settle, undecided
from batchforge.ledger.pricing import Pricing
from batchforge.planning.estimate import Phase
from batchforge.planning.planner import JobPlan
from batchforge.profiling import stage, staged
from batchforge.requests.fingerprint import custom_id
from batchforge.results import Brought, RequestResult, ResultKind, brought_by
from batchforge.state.attempts import UNSETTLED, AttemptState
from batchforge.state.holders import is_alive, let_go, was_let_go
from batchforge.state.records import (
    AttemptMoved,
    AttemptRecord,
    CountTaken,
    Intention,
    StateStore,
)
from batchforge.streams import in_chunks
from batchforge.terminal.text_layout import size_words

_RESULTS_PER_STEP = 2_000
_LEASE_SLACK_S = 60.0
_REJECTED_TRIES = 8
_READING_TRIES = 8
_LONGEST_BACKOFF_S = 60.0
_LONGEST_WAIT_S = 900.0
"""A longer retry-after ends the run with a message instead of keeping a machine waiting."""
_SETTLE_EVERY_S = 5.0
_MOST_LOOKS = 40
"""What is counted of them: by then the wait is as long as it gets."""
_STORED_BY_OTHERS_S = 0.5
"""How long to wait between looks at results that somebody else is storing."""
_COUNT_WAIT_S = 0.25
"""How long to wait between looks at a batch of the same count that somebody else is sending."""
MISSING_RESULT = "missing_result"
"""Error type of a request that its batch gave no result for."""
RESULT_GONE = "result_gone"
"""Error type of a request whose batch was deleted or archived before its results were read."""


@dataclass(slots=True)
class Executor:
    state: StateStore
    backend: BatchBackend
    clock: Clock
    timing: Timing
    pricing: Pricing
    spool_folder: Path
    on_uncertain: OnUncertain
    files: FileDelivery
    leases: LeaseKeeper
    max_in_flight_requests: int | None = None
    """How many requests may be in flight at once; None: as many as there are."""
    listen: Listener = ignore
    lost_jobs: set[str] = field(default_factory=set)
    """Jobs with attempts that turned out not to have been accepted: they are to be planned again."""
    brought: dict[str, Brought] = field(default_factory=dict)
    """Job -> what the results amount to that this process stored."""
    _next_poll: dict[int, float] = field(default_factory=dict)
    _polls: dict[int, int] = field(default_factory=dict)
    _failures: dict[int, int] = field(default_factory=dict)
    _notes: dict[int, str] = field(default_factory=dict)
    _first_looks: dict[int, datetime] = field(default_factory=dict)
    _looks_for_end: dict[int, int] = field(default_factory=dict)
    """Attempt -> how often a batch has been looked at in vain that has to end before it can be told."""

    def submit(self, plan: JobPlan, phase: Phase, run: RunOf) -> int:
        """Send one phase of a plan; returns the number of requests that were accepted.

        Raises:
            ClaimTaken: another runner has begun to ask for one of them; plan again.
            MonthBudgetTaken: other runs have reserved what is left of the month's budget.
            ApiError: the API refuses in a way that waiting does not mend.
        """
        spec = plan.compiled.spec
        sent, bodies = 0, plan.bodies(phase.name, self.files.for_plan(plan))
        for packed in staged("pack batches", pack(bodies, spec.batch, self.spool_folder)):
            try:
                self._send(packed, intention_of(plan, phase, run, packed.requests), spec.betas)
            finally:
                packed.discard()
            sent += len(packed.requests)
            del packed  # its requests are not held while the next ones are packed
        return sent

    def collect(self, jobs: Sequence[str], *, wait: bool, within_s: float | None = None) -> list[AttemptRecord]:
        """Take every open attempt that these jobs await as far as it goes; returns those that are still open.

        Never sends a request that costs. Several processes may collect at the same time. `within_s` is the longest
        that is waited; None: until all have ended.
        """
        until = None if within_s is None else self.clock.now() + timedelta(seconds=within_s)
        self._remove_left_overs()
        self._warn_of_unfetched(jobs)
        while True:
            self._advance_all(jobs)
            moving = self.moving(jobs)
            left_s = None if until is None else (until - self.clock.now()).total_seconds()
            if not moving or not wait or (left_s is not None and left_s <= 0):
                return self.state.awaited_attempts(jobs)
            delay_s = self._until_next_poll(moving)
            with stage("wait"):
                self.clock.sleep(delay_s if left_s is None else min(delay_s, left_s))

    def collect_one(self, jobs: Sequence[str]) -> None:
        """The same, until there is nothing to wait for any more for one of these jobs."""
        while all(self.moving([job]) for job in jobs):
            self._advance_all(jobs)
            moving = self.moving(jobs)
            if moving:
                with stage("wait"):
                    self.clock.sleep(self._until_next_poll(moving))

    def moving(self, jobs: Sequence[str]) -> list[AttemptRecord]:
        """What these jobs await and that will come on by itself, without a person's decision."""
        awaited = self.state.awaited_attempts(jobs)
        return [attempt for attempt in awaited if attempt.state is not AttemptState.AMBIGUOUS]

    def _advance_all(self, jobs: Sequence[str]) -> None:
        for attempt in self.state.awaited_attempts(jobs):
            with suppress(AttemptMoved):
                self._advance(attempt)

    def _remove_left_overs(self) -> None:
        """What killed processes left on the disk: bodies, and room that was set aside."""
        remove_left_over_bodies(self.spool_folder)
        release_all_but(self.spool_folder, {attempt.attempt_id for attempt in self.state.open_attempts()})

    def _warn_of_unfetched(self, jobs: Sequence[str]) -> None:
        """Of batches of other jobs, whose results this run does not fetch."""
        for attempt in self.state.open_attempts():
            batch = self.state.batch(attempt.batch_id) if attempt.batch_id and attempt.job not in jobs else None
            if batch is not None and (words := unfetched_words(batch, attempt.job, self.clock.now())):
                self.listen(warning("BF609", words, attempt.job, batch_id=batch.batch_id))

    # ---- sending

    def _send(self, packed: PackedBatch, intention: Intention, betas: Sequence[str]) -> None:
        """One batch, until it is accepted: rejected ones are tried again, uncertain ones are settled first."""
        for tries in range(_REJECTED_TRIES):
            self._wait_for_room(len(packed.requests))
            attempt = self._intend(packed, intention)
            try:
                if self._is_accepted(attempt, packed, betas):
                    return
            except Rejected as exc:
                self._wait_or_raise(exc, tries, intention.job)
            except BaseException:
                let_go(self.state.url, attempt.attempt_id, attempt.created_at)
                raise
        raise ApiError(
            "BF603",
            f"the API did not accept a batch of {len(packed.requests):,} requests in {_REJECTED_TRIES} tries",
            hint="Nothing of it was paid. Run again later: what was accepted before is kept.",
        )

    def _is_accepted(self, attempt: AttemptRecord, packed: PackedBatch, betas: Sequence[str]) -> bool:
        """False where it may be sent again: it was surely not accepted.

        Raises:
            Rejected: so said the API.
        """
        self._reserve_room(attempt)
        self.leases.cover(self.timing.timeout_s)
        attempt = self._move(attempt, AttemptState.SENDING)
        try:
            with stage("send batches"):
                batch = self.backend.submit(packed.body, betas)
        except Rejected as exc:
            self._move(attempt, AttemptState.REJECTED, note=str(exc))
            raise
        except Uncertain as exc:
            self._move(attempt, AttemptState.UNCERTAIN, note=str(exc))
            return self._settle_until_known(attempt.attempt_id) is not AttemptState.ASSUMED_LOST
        self._accepted(attempt, batch, packed.size_bytes)
        return True

    def _intend(self, packed: PackedBatch, intention: Intention) -> AttemptRecord:
        while True:
            with suppress(CountTaken), stage("claim requests"):
                return self.state.attempt(self.state.intend(intention, packed.requests))
            self._settle_equal_counts(len(packed.requests))

    def _reserve_room(self, attempt: AttemptRecord) -> None:
        try:
            reserve(self.spool_folder, attempt.attempt_id, attempt.request_count)
        except StateError:
            self._move(attempt, AttemptState.WITHDRAWN, note="no room on the disk")
            raise

    def _accepted(self, attempt: AttemptRecord, batch: BatchProgress, size_bytes: int) -> None:
        self._move(attempt, AttemptState.KNOWN, batch_id=batch.batch_id)
        self._save(attempt.attempt_id, batch)
        self._tell(
            EventName.BATCH_SUBMITTED,
            attempt.job,
            f"batch {batch.batch_id}: {_counted(batch.request_count, 'request')}, {size_words(size_bytes)}",
            batch_id=batch.batch_id,
            requests=batch.request_count,
            size_bytes=size_bytes,
        )

    def _wait_or_raise(self, exc: Rejected, tries: int, job: str) -> None:
        if exc.status in {401, 403}:
            raise ApiError(
                "BF601",
                f"the API refused the credentials: {exc}",
                hint="Check the target's `api_key` and workspace. What is in flight can be collected later.",
            ) from exc
        if exc.is_final:
            raise ApiError(
                "BF604",
                f"the API refused the batch: {exc}",
                hint="Nothing of it was paid. Mend what it names and run again.",
            ) from exc
        seconds = exc.retry_after_s if exc.retry_after_s is not None else min(2.0**tries, _LONGEST_BACKOFF_S)
        if seconds > _LONGEST_WAIT_S:
            raise ApiError(
                "BF607",
                f"the API asks to wait {seconds / 60:,.0f} minutes before the next batch ({exc})",
                hint="Nothing of this batch was paid. Run again then; what was accepted before is kept.",
            ) from exc
        self._tell(EventName.WAITING, job, f"not accepted ({exc}); trying again in {seconds:.0f} s", seconds=seconds)
        self._wait(seconds)

    def _settle_equal_counts(self, request_count: int) -> None:
        """Bring on what stands in the way of a batch of this count; it may be somebody who is sending just now."""
        attempts = [
            attempt
            for attempt in self.state.open_attempts()
            if attempt.request_count == request_count and attempt.state in {AttemptState.INTENDED, *UNSETTLED}
        ]
        for attempt in attempts:
            with suppress(AttemptMoved):
                self._advance(attempt)
            if self.state.attempt(attempt.attempt_id).state is AttemptState.AMBIGUOUS:
                raise undecided(attempt)
        self._wait(min(self._until_next_poll(attempts), _COUNT_WAIT_S))

    def _wait_for_room(self, request_count: int) -> None:
        """The account's queue holds so many requests; the rest waits its turn, and what ends meanwhile is stored."""
        while self.max_in_flight_requests is not None:
            attempts = self.state.open_attempts()
            in_flight = sum(attempt.request_count for attempt in attempts)
            if not in_flight or in_flight + request_count <= self.max_in_flight_requests:
                return
            moving = [attempt for attempt in attempts if attempt.state is not AttemptState.AMBIGUOUS]
            if not moving:
                raise undecided(attempts[0])
            for attempt in attempts:
                with suppress(AttemptMoved):
                    self._advance(attempt)
            self._wait(self._until_next_poll(moving))

    # ---- settling

    def _settle_until_known(self, attempt_id: int) -> AttemptState:
        while True:
            with suppress(AttemptMoved):
                self._settle(self.state.attempt(attempt_id))
            state = self.state.attempt(attempt_id).state
            if state is not AttemptState.UNCERTAIN:
                return state
            self._wait(self._until_next_look(attempt_id))

    def _until_next_look(self, attempt_id: int) -> float:
        """Soon, while a batch may yet appear in the list; later and later, while one is waited for that has to end."""
        soon = min(_SETTLE_EVERY_S, self.timing.settle_after_s / 4)
        looks = self._looks_for_end.get(attempt_id, 0)
        return min(soon * 1.5**looks, max(soon, self.timing.poll_interval_s))

    def _settle(self, attempt: AttemptRecord) -> None:
        try:
            verdict = settle(
                attempt,
                self.state,
                self.backend,
                self.clock,
                settle_after_s=self.timing.settle_after_s,
                timeout_s=self.timing.timeout_s,
                may_resend=self.on_uncertain.may_resend(attempt.ceiling_pico_usd),
                first_looks=self._first_looks,
            )
        except Unavailable as exc:
            self._tell_uncertain(attempt, f"its batch cannot be looked for: {exc}")
            return
        looks = min(self._looks_for_end.get(attempt.attempt_id, 0) + 1, _MOST_LOOKS) if verdict.awaits_end else 0
        self._looks_for_end[attempt.attempt_id] = looks
        for batch_id in verdict.foreign_batch_ids:
            self.state.disown_batch(batch_id, f"holds nothing of attempt {attempt.attempt_id}")
        if verdict.to_state is None:
            self._tell_uncertain(attempt, verdict.note)
        else:
            self._move(attempt, verdict.to_state, batch_id=verdict.batch_id, note=verdict.note)

    def _tell_uncertain(self, attempt: AttemptRecord, note: str) -> None:
        """Once, and again when something has changed: it is looked at every few seconds."""
        if self._notes.get(attempt.attempt_id) != note:
            self._notes[attempt.attempt_id] = note
            self._tell(EventName.WAITING, attempt.job, f"attempt {attempt.attempt_id} is uncertain: {note}")

    # ---- collecting

    def _advance(self, attempt: AttemptRecord) -> None:
        match attempt.state:
            case AttemptState.SENDING if attempt.mode == "sync":
                if self._is_abandoned(attempt):
                    self._release(attempt)
            case AttemptState.INTENDED if self._is_abandoned(attempt):
                self._move(attempt, AttemptState.WITHDRAWN, note="its process ended before it was sent")
            case AttemptState.SENDING if self._is_abandoned(attempt):
                self._advance(self._move(attempt, AttemptState.UNCERTAIN, note="its process ended while it was sent"))
            case AttemptState.UNCERTAIN | AttemptState.AMBIGUOUS if self._is_due(attempt.attempt_id):
                self._settle(attempt)
                self._due_in(attempt.attempt_id, self._until_next_look(attempt.attempt_id))
            case AttemptState.KNOWN | AttemptState.ADOPTED if self._is_due(attempt.attempt_id):
                self._poll(attempt)
            case AttemptState.ENDED:
                self._store(attempt)
            case AttemptState.STORED:
                self._move(attempt, AttemptState.CLOSED)
            case _:
                pass

    def _release(self, attempt: AttemptRecord) -> None:
        """A sync attempt of a dead process: its answers are stored, the other requests may be asked again."""
        names = list(self.state.claimed(attempt.attempt_id))
        stored = self.state.stored_results(names).values()
        usage = brought_by([each.result for each in stored if each.attempt_id == attempt.attempt_id])
        self.state.record_usage(attempt.attempt_id, usage)
        self._move(attempt, AttemptState.INTERRUPTED, note="its process ended")

    def _is_abandoned(self, attempt: AttemptRecord) -> bool:
        if was_let_go(self.state.url, attempt.attempt_id, attempt.created_at):
            return True
        since = parse_iso(attempt.sent_at or attempt.created_at)
        lease_s = self.timing.timeout_s + _LEASE_SLACK_S
        return not is_alive(attempt.holder, since, self.clock.now(), lease_s)

    def _poll(self, attempt: AttemptRecord) -> None:
        assert attempt.batch_id is not None
        attempt_id = attempt.attempt_id
        try:
            batch = self.backend.poll(attempt.batch_id)
        except Unavailable as exc:
            self._tell(EventName.WAITING, attempt.job, f"batch {attempt.batch_id} cannot be asked about now: {exc}")
            self._due_in(attempt_id, exc.retry_after_s or self._poll_delay_s(attempt_id))
            return
        except BatchGone as exc:
            self._gone(attempt, str(exc))
            return
        self._save(attempt_id, batch)
        self._tell(
            EventName.BATCH_PROGRESS,
            attempt.job,
            f"batch {batch.batch_id}: {batch.status}, {batch.processing:,} of {batch.request_count:,} to go",
            batch_id=batch.batch_id,
            status=batch.status,
            processing=batch.processing,
            succeeded=batch.succeeded,
            errored=batch.errored,
            canceled=batch.canceled,
            expired=batch.expired,
        )
        if batch.has_ended:
            self._store(self._move(attempt, AttemptState.ENDED))
        else:
            self._due_in(attempt_id, max(batch.retry_after_s or 0.0, self._poll_delay_s(attempt_id)))

    def _store(self, attempt: AttemptRecord) -> None:
        """Read the results into state, chunk by chunk. A second reading changes nothing."""
        assert attempt.batch_id is not None
        if not self._is_due(attempt.attempt_id):
            return
        release(self.spool_folder, attempt.attempt_id)
        with self.leases.held_if_free(f"store {attempt.attempt_id}", f"storing results of {attempt.batch_id}") as free:
            if free:
                self._read(attempt)
            else:
                self._due_in(attempt.attempt_id, _STORED_BY_OTHERS_S)

    def _read(self, attempt: AttemptRecord) -> None:
        assert attempt.batch_id is not None
        if self.state.attempt(attempt.attempt_id).state is not AttemptState.ENDED:
            return  # others have stored them
        reading = Reading(self.state.claimed(attempt.attempt_id))
        try:
            steps = in_chunks(self.backend.results(attempt.batch_id), _RESULTS_PER_STEP)
            for results in staged("read results", steps):
                if not reading.has_begun and not reading.knows_any(results):
                    self._disagrees(attempt, results)
                    return
                self._keep(attempt, reading, results)
        except Unavailable as exc:
            self._broke_off(attempt, exc)
            return
        except BatchGone as exc:
            self._gone(attempt, str(exc))
            return
        self._name_missing(attempt, reading)
        self.state.record_usage(attempt.attempt_id, reading.usage)
        self._move(self._move(attempt, AttemptState.STORED), AttemptState.CLOSED)

    def _broke_off(self, attempt: AttemptRecord, exc: Unavailable) -> None:
        failures = self._failures[attempt.attempt_id] = self._failures.get(attempt.attempt_id, 0) + 1
        if failures >= _READING_TRIES:
            raise ApiError(
                "BF605",
                f"the results of {attempt.batch_id} cannot be read, {failures} times in a row: {exc}",
                hint="What was read is kept. They stay readable for 29 days: run `batchforge collect` later.",
            ) from exc
        self._tell(EventName.WAITING, attempt.job, f"results of {attempt.batch_id} broke off ({exc}); reading again")
        delay_s = exc.retry_after_s or self._poll_delay_s(attempt.attempt_id)
        self._due_in(attempt.attempt_id, delay_s)

    @stage("store results")
    def _keep(self, attempt: AttemptRecord, reading: Reading, results: Sequence[RequestResult]) -> None:
        asked, repeated, unasked = reading.sort(results)
        priced = [self.pricing.priced(result, is_batch=attempt.mode == "batch") for result in asked]
        stored = self.state.store_results(attempt.attempt_id, priced).stored
        new = brought_by(stored)
        self.brought[attempt.job] = self.brought.get(attempt.job, Brought()) + new
        total = new if len(stored) == len(priced) else brought_by(priced)
        reading.usage += total
        for code, what, names in (
            ("BF610", "given twice", repeated),
            ("BF611", "given without having been asked for", unasked),
        ):
            if names:
                message = f"{len(names)} results of {attempt.batch_id} were {what}, first {names[0]}; left out"
                self.listen(warning(code, message, attempt.job, custom_ids=names[:5]))
        self._tell(
            EventName.RESULTS_STORED,
            attempt.job,
            f"batch {attempt.batch_id}: {reading.stored:,} of {attempt.request_count:,} results stored",
            batch_id=attempt.batch_id,
            stored=reading.stored,
            **stored_facts(priced, total),
        )

    def _name_missing(self, attempt: AttemptRecord, reading: Reading) -> None:
        left = reading.left
        if not left:
            return
        first = custom_id(*min(left))
        message = f"{len(left)} requests of {attempt.batch_id} have no result, first {first}"
        self.listen(warning("BF612", message, attempt.job))
        self._store_errors(attempt, left, MISSING_RESULT, f"batch {attempt.batch_id} ended without a result for it")

    def _store_errors(
        self, attempt: AttemptRecord, names: Collection[tuple[bytes, int]], error_type: str, message: str
    ) -> None:
        """Results for requests that have none and may have been paid: a plain run does not ask them again."""
        results = (
            RequestResult(custom_id(*name), ResultKind.ERRORED, error_type=error_type, error_message=message)
            for name in sorted(names)
        )
        for chunk in in_chunks(results, _RESULTS_PER_STEP):
            self.state.store_results(attempt.attempt_id, chunk)

    def _disagrees(self, attempt: AttemptRecord, results: Sequence[RequestResult]) -> None:
        assert attempt.batch_id is not None
        note = f"{attempt.batch_id} holds custom_ids that were not asked for"
        self._move(attempt, AttemptState.UNCERTAIN, note=note)
        if not is_asked_by_any([result.custom_id for result in results], self.state):
            self.state.disown_batch(attempt.batch_id, f"does not belong to attempt {attempt.attempt_id}")

    def _gone(self, attempt: AttemptRecord, reason: str) -> None:
        names = set(self.state.claimed(attempt.attempt_id))
        self._store_errors(attempt, names, RESULT_GONE, f"batch {attempt.batch_id} is gone: {reason}")
        self._move(attempt, AttemptState.GONE, note=reason)
        message = f"batch {attempt.batch_id} is gone before its results were stored: {reason}"
        self.listen(warning("BF613", message, attempt.job))

    # ---- small things

    def _wait(self, seconds: float) -> None:
        """Others may go on meanwhile."""
        with self.leases.given_back(), stage("wait"):
            self.clock.sleep(seconds)

    def _move(
        self, attempt: AttemptRecord, to_state: AttemptState, *, batch_id: str | None = None, note: str = ""
    ) -> AttemptRecord:
        """The attempt as it is then.

        Raises:
            AttemptMoved: another process was faster.
        """
        attempt_id = attempt.attempt_id
        self.state.move(attempt_id, attempt.state, to_state, batch_id=batch_id, note=note)
        if to_state.is_final:
            release(self.spool_folder, attempt_id)
        if to_state in {AttemptState.ASSUMED_LOST, AttemptState.WITHDRAWN, AttemptState.INTERRUPTED}:
            self.lost_jobs.add(attempt.job)
        self._tell(
            EventName.ATTEMPT_MOVED,
            attempt.job,
            f"attempt {attempt_id}: {to_state}{f' ({note})' if note else ''}",
            attempt_id=attempt_id,
            state=to_state.value,
        )
        return self.state.attempt(attempt_id)

    def _save(self, attempt_id: int, batch: BatchProgress) -> None:
        self.state.save_batch(record_of(batch, attempt_id))

    def _tell(self, name: EventName, job: str, message: str, **data: object) -> None:
        self.listen(Event(name, job, message, data))

    def _poll_delay_s(self, attempt_id: int) -> float:
        """Grows from a tenth of the target's interval to the interval, so that short batches are noticed soon."""
        polls = self._polls[attempt_id] = self._polls.get(attempt_id, 0) + 1
        return self.timing.poll_interval_s * min(1.0, 0.1 * 1.5 ** min(polls, 10))

    def _due_in(self, attempt_id: int, seconds: float) -> None:
        self._next_poll[attempt_id] = self.clock.now().timestamp() + seconds

    def _is_due(self, attempt_id: int) -> bool:
        return self.clock.now().timestamp() >= self._next_poll.get(attempt_id, 0.0)

    def _until_next_poll(self, attempts: Sequence[AttemptRecord]) -> float:
        now = self.clock.now().timestamp()
        due = min(self._next_poll.get(a.attempt_id, now + self.timing.poll_interval_s) for a in attempts)
        return max(0.01, due - now)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
