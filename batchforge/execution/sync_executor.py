"""Do the plan through the Messages API: bounded concurrency, one brake for all, each answer stored as it arrives.

One thread sends, stores and keeps the books; workers only ask. So a signal, which reaches the main thread, never falls
between an answer and its place in state.
"""

from __future__ import annotations

import queue
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from batchforge.backends.base import MessagesBackend, Pace, Reply, ReplyKind
from batchforge.clock import Clock
from batchforge.documents.file_delivery import FileDelivery
from batchforge.errors import ApiError
from batchforge.events import Event, EventName, Listener, ignore, warning
from batchforge.execution.brake import Brake
from batchforge.execution.intention import RunOf, Timing, intention_of
from batchforge.ledger.pricing import Pricing
from batchforge.planning.estimate import Phase
from batchforge.planning.plan_rows import PlannedRow
from batchforge.planning.planner import JobPlan
from batchforge.profiling import stage
from batchforge.requests.fingerprint import custom_id
from batchforge.results import Brought, RequestResult, brought_by
from batchforge.state.attempts import AttemptState
from batchforge.state.holders import let_go
from batchforge.state.records import AttemptMoved, AttemptRecord, IntendedRequest, StateStore

_REQUESTS_PER_ATTEMPT = 500
_BYTES_PER_ATTEMPT = 16_000_000
_FAILED_TRIES = 4
_UNREACHABLE_PULLS = 6
_REFUSED_PULLS = 20
"""How often in a row the brake is pulled before the run gives up."""
_LONGEST_WAIT_S = 900.0
_GRACE_S = 5.0
"""How long an interrupted run waits for the answers that are under way."""
_LOOK_S = 0.05
_GATHER_S = 0.003
"""Answers that come within this time are stored in one transaction."""
_PROGRESS_EVERY_S = 2.0


@dataclass(slots=True)
class _OpenAttempt:
    record: AttemptRecord
    left: int
    """Requests without a result."""
    renewed_at: float
    brought: Brought = field(default_factory=Brought)


@dataclass(slots=True, eq=False)
class _Ask:
    """One request on its way to a result."""

    custom_id: str
    body: bytes
    attempt: _OpenAttempt
    failures: int = 0
    not_before: float = 0.0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class _Arrival:
    ask: _Ask
    reply: Reply | Exception
    took_s: float


@dataclass(slots=True)
class SyncExecutor:
    """One for all jobs of a run, as the limits are."""

    state: StateStore
    backend: MessagesBackend
    clock: Clock
    timing: Timing
    pricing: Pricing
    brake: Brake
    files: FileDelivery
    listen: Listener = ignore
    brought: dict[str, Brought] = field(default_factory=dict)
    """Job -> what the results amount to that this process stored."""
    took_s: dict[str, array[float]] = field(default_factory=dict)
    """Job -> how long each answer took that this process got, from its request on."""

    @stage("ask one by one")
    def submit(self, plan: JobPlan, phase: Phase, run: RunOf) -> int:
        """Send one phase of a plan and store its answers; returns the number of requests.

        Raises:
            ClaimTaken: another runner has begun to ask for one of them; plan again.
            MonthBudgetTaken: other runs have reserved what is left of the month's budget.
            ApiError: the API refuses in a way that waiting does not mend.
            KeyboardInterrupt: after the answers that were under way are stored.
        """
        sending = _Sending(self, plan, phase, run)
        thread = threading.Thread(target=sending.work, name="batchforge-sync", daemon=True)
        thread.start()
        try:
            # Not Thread.join: an interrupted one takes the thread for ended (bpo-45274).
            while not sending.has_ended.wait(_LOOK_S):
                pass
        except BaseException:
            sending.interrupt()
            sending.has_ended.wait(_GRACE_S + 2)
            sending.tell_what_is_left()
            raise
        if sending.error is not None:
            raise sending.error
        return sending.sent


class _Sending:
    """One phase of one job on its way."""

    def __init__(self, executor: SyncExecutor, plan: JobPlan, phase: Phase, run: RunOf) -> None:
        self.executor, self.plan, self.phase, self.run = executor, plan, phase, run
        self.state, self.brake, self.clock = executor.state, executor.brake, executor.clock
        self.sent = 0
        phases = list(plan.phases)
        self.stored = sum(each.requests for each in phases[: phases.index(phase)])
        """Of the whole plan: the phases before this one are done."""
        self.has_ended = threading.Event()
        self.error: Exception | None = None
        self._chunks = _chunks(plan.bodies(phase.name, executor.files.for_plan(plan)))
        self._has_rows = True
        self._fresh: deque[_Ask] = deque()
        self._again: deque[_Ask] = deque()
        self._attempts: list[_OpenAttempt] = []
        self._workers = _Workers(executor.backend, plan.compiled.spec.betas, executor.brake.concurrency)
        self._stop_at: float | None = None
        self._failures_in_a_row = 0
        self._told_at = 0.0

    def interrupt(self) -> None:
        """From any thread: send nothing more, and end soon."""
        self._stop_at = self._now() + _GRACE_S

    def tell_what_is_left(self) -> None:
        left, lost = self.plan.requests_to_send - self.stored, self.brake.in_flight
        under_way = f"; {lost:,} of them were under way and may be paid twice" if lost else ""
        stored = f"{self.stored:,} answer{' is' if self.stored == 1 else 's are'} stored"
        message = f"{stored}, {left:,} request{' is' if left == 1 else 's are'} left for the next run{under_way}"
        self._tell(EventName.STOPPED, message, stored=self.stored, left=left, under_way=lost)

    def work(self) -> None:
        try:
            while self._goes_on():
                self._guarded(self._send_what_may_go)
                self._take_in(self._arrivals())
                self._guarded(self._renew_leases)
        except Exception as exc:
            self.error = self.error or exc
        finally:
            self._workers.stop()
            self._end_attempts()
            self.has_ended.set()

    def _goes_on(self) -> bool:
        if self._stop_at is not None and self._now() >= self._stop_at:
            return False
        has_more = self._may_send and (self._has_rows or bool(self._fresh) or bool(self._again))
        return has_more or self._workers.under_way > 0

    @property
    def _may_send(self) -> bool:
        return self.error is None and self._stop_at is None

    def _guarded(self, step: Callable[[], None]) -> None:
        """What goes wrong stops the sending; the answers under way are still waited for and stored."""
        if self._may_send:
            try:
                step()
            except Exception as exc:
                self.error = exc

    # ---- sending

    def _send_what_may_go(self) -> None:
        while self.brake.delay_s(self._now()) == 0:
            ask = self._next()
            if ask is None:
                return
            ask.epoch = self.brake.sent(self._now())
            self._workers.send(ask)

    def _next(self) -> _Ask | None:
        now = self._now()
        for ask in self._again:
            if ask.not_before <= now:
                self._again.remove(ask)
                return ask
        while not self._fresh and self._has_rows:
            self._intend_more()
        if not self._fresh:
            return None
        self.sent += 1
        return self._fresh.popleft()

    def _intend_more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._has_rows = False
            return
        requests = [request for request, _ in chunk]
        intention = intention_of(self.plan, self.phase, self.run, requests)
        record = self.state.attempt(self.state.intend(intention, requests))
        attempt = _OpenAttempt(record, len(chunk), self._now())
        self._attempts.append(attempt)
        self._move(attempt, AttemptState.SENDING)
        # Now that they are ours: what somebody got answered since they were planned is not asked again.
        answered = self._answered([request for request, _ in chunk])
        asks = [_Ask(custom_id(r.request_id, r.ordinal), body, attempt) for r, body in chunk if r not in answered]
        self._fresh.extend(asks)
        self._has_results(attempt, len(answered))

    def _answered(self, requests: Sequence[IntendedRequest]) -> list[IntendedRequest]:
        records = self.state.lookup([request.request_id for request in requests])
        billed = {
            (request_id, answer.ordinal)
            for request_id, record in records.items()
            for answer in record.answers
            if answer.kind.is_billed
        }
        return [request for request in requests if (request.request_id, request.ordinal) in billed]

    # ---- what comes back

    def _arrivals(self) -> list[_Arrival]:
        delay_s = min(_LOOK_S, self._until_next_send()) if self._may_send else _LOOK_S
        if self._workers.under_way == 0:
            if delay_s > 0:
                self.clock.sleep(delay_s)
            return []
        return self._workers.arrivals(delay_s)

    def _until_next_send(self) -> float:
        now = self._now()
        if self._fresh or self._has_rows:
            return self.brake.delay_s(now)
        soonest = min((ask.not_before for ask in self._again), default=now + _LOOK_S)
        return max(self.brake.delay_s(now), soonest - now)

    def _take_in(self, arrivals: Iterable[_Arrival]) -> None:
        results: dict[int, list[RequestResult]] = {}
        attempts: dict[int, _OpenAttempt] = {}
        for arrival in arrivals:
            result = self._result(arrival)
            if result is not None:
                attempt = arrival.ask.attempt
                attempts[attempt.record.attempt_id] = attempt
                results.setdefault(attempt.record.attempt_id, []).append(result)
        for attempt_id, some in results.items():
            self._store(attempts[attempt_id], some)
        if results:
            self._tell_progress()

    def _result(self, arrival: _Arrival) -> RequestResult | None:
        """What is to be stored; None where the request is asked again, or the run stops."""
        ask, reply, now = arrival.ask, arrival.reply, self._now()
        if isinstance(reply, Exception):
            self.brake.failed(now, Pace())
            self.error = self.error or reply
            return None
        if reply.kind is ReplyKind.RESULT:
            self._failures_in_a_row = 0
            self.executor.took_s.setdefault(ask.attempt.record.job, array("d")).append(arrival.took_s)
            is_billed = reply.result.kind.is_billed
            self.brake.answered(ask.epoch, now, reply.pace, reply.result.usage if is_billed else None)
            return reply.result
        if reply.kind is ReplyKind.FAILED:
            return self._failed(ask, reply, now)
        self._refused(ask, reply, now)
        return None

    def _refused(self, ask: _Ask, reply: Reply, now: float) -> None:
        """Everybody waits, then it is asked again."""
        self._again.append(ask)
        is_limit = reply.result.error_type == "rate_limit_error"
        if not self.brake.refused(ask.epoch, now, reply.pace, is_limit=is_limit):
            return
        reason = reply.result.error_message or ""
        pulls = _UNREACHABLE_PULLS if reply.kind is ReplyKind.UNREACHABLE else _REFUSED_PULLS
        if self.brake.refusals >= pulls:
            self.error = self.error or _gives_up(reason, self.brake.refusals)
        seconds = self.brake.held_until - now
        if seconds > _LONGEST_WAIT_S:
            self.error = self.error or _asks_to_wait(reason, seconds)
        if self._may_send:
            self._tell(EventName.WAITING, f"{reason}; going on in {seconds:,.1f} s", seconds=seconds)

    def _failed(self, ask: _Ask, reply: Reply, now: float) -> RequestResult | None:
        self.brake.failed(now, reply.pace)
        ask.failures += 1
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= max(20, 4 * self.brake.concurrency):
            self.error = self.error or _gives_up(reply.result.error_message or "", self._failures_in_a_row)
        if ask.failures >= _FAILED_TRIES:
            return reply.result
        ask.not_before = now + max(reply.pace.retry_after_s or 0.0, 2.0 ** (ask.failures - 1))
        self._again.append(ask)
        return None

    # ---- the books

    def _store(self, attempt: _OpenAttempt, results: Sequence[RequestResult]) -> None:
        priced = [self.executor.pricing.priced(result, is_batch=False) for result in results]
        report = self.state.store_results(attempt.record.attempt_id, priced)
        brought, job = brought_by(report.stored), self.plan.job
        attempt.brought += brought
        self.executor.brought[job] = self.executor.brought.get(job, Brought()) + brought
        self.stored += len(report.stored)
        if report.unasked:
            message = f"{len(report.unasked)} answers came after another process had taken over; they are lost"
            self.executor.listen(warning("BF614", message, self.plan.job))
        self._has_results(attempt, len(results))

    def _has_results(self, attempt: _OpenAttempt, count: int) -> None:
        attempt.left -= count
        if attempt.left == 0:
            self._end(attempt, AttemptState.CLOSED)

    def _end_attempts(self) -> None:
        note = "interrupted" if self.error is None else str(self.error)[:200]
        for attempt in list(self._attempts):
            let_go(self.state.url, attempt.record.attempt_id, attempt.record.created_at)
            with suppress(Exception):  # whatever is not ended here, the next run ends
                is_sent = attempt.record.state is AttemptState.SENDING
                self._end(attempt, AttemptState.INTERRUPTED if is_sent else AttemptState.WITHDRAWN, note)

    def _end(self, attempt: _OpenAttempt, to_state: AttemptState, note: str = "") -> None:
        self._attempts.remove(attempt)
        self.state.record_usage(attempt.record.attempt_id, attempt.brought)
        with suppress(AttemptMoved):
            self._move(attempt, to_state, note)

    def _move(self, attempt: _OpenAttempt, to_state: AttemptState, note: str = "") -> None:
        record = attempt.record
        self.state.move(record.attempt_id, record.state, to_state, note=note)
        attempt.record = self.state.attempt(record.attempt_id)
        message = f"attempt {record.attempt_id}: {to_state}{f' ({note})' if note else ''}"
        self._tell(EventName.ATTEMPT_MOVED, message, attempt_id=record.attempt_id, state=to_state.value)

    def _renew_leases(self) -> None:
        """On another machine an attempt counts as abandoned when nothing has been heard of it for long."""
        now = self._now()
        for attempt in self._attempts:
            if now - attempt.renewed_at > self.executor.timing.timeout_s / 2:
                attempt.renewed_at = now
                self._move(attempt, AttemptState.SENDING)

    def _tell_progress(self) -> None:
        now, total = self._now(), self.plan.requests_to_send
        if now - self._told_at < _PROGRESS_EVERY_S and self.stored < total:
            return
        self._told_at = now
        message = f"{self.stored:,} of {total:,} answered"
        came = self.executor.brought.get(self.plan.job, Brought())
        self._tell(
            EventName.ANSWERS_STORED,
            message,
            stored=self.stored,
            requests=total,
            cost_usd=round(came.cost_usd, 9),
            input_tokens=came.usage.prompt_tokens,
            output_tokens=came.usage.output_tokens,
        )

    def _tell(self, name: EventName, message: str, **data: object) -> None:
        self.executor.listen(Event(name, self.plan.job, message, data))

    def _now(self) -> float:
        return self.clock.now().timestamp()


class _Workers:
    """Threads that ask. Daemons, so that an interrupted program does not wait for the slowest answer."""

    def __init__(self, backend: MessagesBackend, betas: Sequence[str], count: int) -> None:
        self._backend, self._betas, self._count = backend, betas, count
        self._threads: list[threading.Thread] = []
        self._to_send: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._arrived: deque[_Arrival] = deque()
        self._has_arrived = threading.Event()
        self.under_way = 0
        """Sent and not yet taken in."""

    def send(self, ask: _Ask) -> None:
        self.under_way += 1
        if len(self._threads) < min(self.under_way, self._count):
            thread = threading.Thread(target=self._work, name="batchforge-ask", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._to_send.put(ask)

    def arrivals(self, timeout_s: float) -> list[_Arrival]:
        """What has arrived; waits for the first."""
        if self._has_arrived.wait(timeout_s) and self.under_way > 1:
            time.sleep(_GATHER_S)
        self._has_arrived.clear()
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]
        self.under_way -= len(arrived)
        return arrived

    def stop(self) -> None:
        for _ in self._threads:
            self._to_send.put(None)

    def _work(self) -> None:
        while (ask := self._to_send.get()) is not None:
            began = time.monotonic()
            reply = self._ask(ask)
            self._arrived.append(_Arrival(ask, reply, time.monotonic() - began))
            self._has_arrived.set()

    def _ask(self, ask: _Ask) -> Reply | Exception:
        try:
            return self._backend.ask(ask.custom_id, ask.body, self._betas)
        except Exception as exc:
            return exc


def _chunks(rows: Iterable[tuple[PlannedRow, bytes]]) -> Iterator[list[tuple[IntendedRequest, bytes]]]:
    """Requests for one attempt, few enough to be held in memory."""
    chunk: list[tuple[IntendedRequest, bytes]] = []
    size = 0
    for planned, body in rows:
        row, pieces = planned.row, planned.pieces
        assert row.request_id is not None
        assert pieces is not None
        chunk.append((IntendedRequest(row.request_id, row.ordinal, pieces), body))
        size += len(body)
        if len(chunk) >= _REQUESTS_PER_ATTEMPT or size >= _BYTES_PER_ATTEMPT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _asks_to_wait(reason: str, seconds: float) -> ApiError:
    return ApiError(
        "BF607",
        f"the API asks to wait {seconds / 60:,.0f} minutes before the next request ({reason})",
        hint="What was answered is stored. Run again then.",
    )


def _gives_up(reason: str, times: int) -> ApiError:
    return ApiError(
        "BF631",
        f"the server answers nothing, {times} times in a row: {reason}",
        hint="What was answered is stored. Check the target's address and the server's load, and run again later.",
    )
