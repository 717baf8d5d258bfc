"""Decides rows of batches when their time has come: each once, billed once, stored once, in whatever process.

The lock on a batch's results file belongs to whoever decides; the kernel frees it when a process is killed. Lines are
written first and count from the commit that says how many bytes of the file are valid.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from typing import Any, Literal

import msgspec

from batchforge.emulator.answering import Answered, Answering, Moment, Sender
from batchforge.emulator.api_fault import ApiFault, invalid_request
from batchforge.emulator.batch_life import BatchFacts, how_it_stops, processing_order, rows_done_by, rows_due_by, slot
from batchforge.emulator.batch_store import BatchGone, BatchStore
from batchforge.emulator.cache_store import StoredCacheEntries
from batchforge.emulator.clock import ServerClock
from batchforge.emulator.http_messages import NOT_JSON
from batchforge.emulator.ids import derived_id
from batchforge.emulator.outcomes import Outcome, save_outcomes
from batchforge.emulator.row_rules import RowRules, row_fault, spoiled
from batchforge.emulator.store import Store

CHUNK_ROWS = 500
CHUNK_S = 0.25
LOCK_WAIT_S = 0.005
IDLE_S = 1.0
BUSY_S = 0.01


@dataclass(frozen=True, slots=True)
class _Row:
    line: bytes
    outcome: Outcome


def _answered_row(custom_id: str, answered: Answered) -> _Row:
    line = _line(custom_id, {"type": "succeeded", "message": answered.message})
    return _Row(line, Outcome.of_answer("succeeded", answered, custom_id))


def _errored_row(custom_id: str, fault: ApiFault) -> _Row:
    return _Row(_line(custom_id, fault.errored_result()), Outcome("errored", custom_id))


def _unanswered_row(custom_id: str, kind: Literal["canceled", "expired"]) -> _Row:
    return _Row(_line(custom_id, {"type": kind}), Outcome(kind, custom_id))


def _line(custom_id: str, result: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"custom_id": custom_id, "result": result}) + b"\n"


def _while_time_lasts(rows: Iterator[_Row]) -> list[_Row]:
    """At least one row, so that slow answers are stored one by one."""
    give_up = time.monotonic() + CHUNK_S
    done = [next(rows)]
    for row in rows:
        done.append(row)
        if time.monotonic() > give_up:
            break
    return done


class Deciding:
    def __init__(
        self, store: Store, batches: BatchStore, clock: ServerClock, answering: Answering, rules: RowRules
    ) -> None:
        self._store = store
        self._batches = batches
        self._clock = clock
        self._answering = answering
        self._rules = rules

    def bring_up_to_date(self, batch_id: str, patience_s: float) -> BatchFacts:
        """Decides what is due by now, at least one piece of it; stops after `patience_s` real seconds."""
        give_up = time.monotonic() + patience_s
        facts = self._batches.get(batch_id)
        while facts.decided < rows_due_by(facts, self._clock.now_s()):
            self._decide_chunk(batch_id, give_up)
            facts = self._batches.get(batch_id)
            if time.monotonic() > give_up:
                break
        return facts

    def _decide_chunk(self, batch_id: str, give_up: float) -> None:
        with self._exclusively(batch_id, give_up) as results:
            if results is None:
                return
            facts = self._batches.get(batch_id)
            due = min(rows_due_by(facts, self._clock.now_s()), facts.decided + CHUNK_ROWS)
            if due > facts.decided:
                self._decide(facts, due, results)

    def _decide(self, facts: BatchFacts, due: int, results: BufferedRandom) -> None:
        entries = StoredCacheEntries(self._store)
        rows = _while_time_lasts(self._rows(facts, due, entries))
        results.seek(facts.results_bytes)
        results.truncate()
        results.writelines(row.line for row in rows)
        results.flush()
        with self._store.transaction():
            if not facts.is_others:
                save_outcomes(self._store, facts.no, [row.outcome for row in rows])
            entries.save(facts.created_s)
            self._count(facts, rows)
        if facts.decided + len(rows) == facts.requests:
            self._batches.body_file(facts.id).unlink(missing_ok=True)

    def _count(self, facts: BatchFacts, rows: list[_Row]) -> None:
        kinds = Counter(row.outcome.kind for row in rows)
        self._store.execute(
            "UPDATE batches SET decided = ?, results_bytes = results_bytes + ?, succeeded = succeeded + ?, "
            "errored = errored + ?, canceled = canceled + ?, expired = expired + ? WHERE no = ?",
            facts.decided + len(rows),
            sum(len(row.line) for row in rows),
            kinds["succeeded"],
            kinds["errored"],
            kinds["canceled"],
            kinds["expired"],
            facts.no,
        )

    def _rows(self, facts: BatchFacts, due: int, entries: StoredCacheEntries) -> Iterator[_Row]:
        positions = processing_order(facts)[facts.decided : due]
        answered = rows_done_by(facts, self._clock.now_s())
        requests = self._batches.requests_at(facts.no, positions)
        with self._body(facts) as body:
            for rank, (custom_id, first_byte, size_bytes) in enumerate(requests, facts.decided):
                if rank >= answered:
                    yield _unanswered_row(custom_id, how_it_stops(facts))
                    continue
                params = os.pread(body.fileno(), size_bytes, first_byte)
                yield self._row(facts, rank, custom_id, params, entries)

    def _body(self, facts: BatchFacts) -> BufferedReader:
        try:
            return self._batches.body_file(facts.id).open("rb")
        except FileNotFoundError as error:
            raise BatchGone(facts.id) from error

    def _row(
        self, facts: BatchFacts, rank: int, custom_id: str, params_bytes: bytes, entries: StoredCacheEntries
    ) -> _Row:
        rule = self._rules.find(custom_id, facts.no)
        if rule is not None and rule.outcome in ("expired", "canceled"):
            return _unanswered_row(custom_id, rule.outcome)
        if rule is not None and (fault := row_fault(rule)) is not None:
            return _errored_row(custom_id, fault)
        try:
            params = msgspec.json.decode(params_bytes)
        except NOT_JSON:
            return _errored_row(custom_id, invalid_request("The request's params are not valid JSON."))
        answered = self._answer(facts, rank, custom_id, params, entries)
        if isinstance(answered, ApiFault):
            return _errored_row(custom_id, answered)
        if rule is not None:
            answered = answered.with_message(spoiled(answered.message, rule, params["max_tokens"]))
        return _answered_row(custom_id, answered)

    def _answer(
        self, facts: BatchFacts, rank: int, custom_id: str, params: dict[str, Any], entries: StoredCacheEntries
    ) -> Answered | ApiFault:
        traits, when = facts.traits, slot(facts, rank)
        sender = Sender(facts.workspace, traits.api_version, frozenset(traits.betas), "batch")
        checked = self._answering.prepare(params, sender, custom_id)
        if isinstance(checked, ApiFault):
            return checked
        moment = Moment(when.started_s, when.answer_begins_s, when.worker)
        message_id = derived_id("msg", facts.id, custom_id)
        return self._answering.finish(checked, moment, entries, message_id=message_id)

    @contextmanager
    def _exclusively(self, batch_id: str, give_up: float) -> Iterator[BufferedRandom | None]:
        handle = os.open(self._batches.results_file(batch_id), os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b") as results:
            while not _locked(handle):
                if time.monotonic() > give_up:
                    yield None
                    return
                time.sleep(LOCK_WAIT_S)
            yield results


class DecidingThread:
    """Decides in the background, so that a poll rarely has to."""

    def __init__(
        self, deciding: Deciding, batches: BatchStore, clock: ServerClock, report: Callable[[Exception], None]
    ) -> None:
        self._deciding, self._batches, self._clock, self._report = deciding, batches, clock, report
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="emulator-deciding", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._wake.wait(self._work_or_report())

    def _work_or_report(self) -> float:
        try:
            return self._work()
        except BatchGone:
            return BUSY_S
        except Exception as error:
            self._report(error)
            return IDLE_S

    def _work(self) -> float:
        """One piece of every batch that has something due; how long nothing more will be due."""
        wait_s = IDLE_S
        for facts in self._batches.unfinished():
            now_s = self._clock.now_s()
            if facts.decided < rows_due_by(facts, now_s):
                self._deciding.bring_up_to_date(facts.id, patience_s=0.0)
                wait_s = 0.0
            wait_s = min(wait_s, max(BUSY_S, self._clock.real_seconds_until(facts.ends_s)))
        return wait_s


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
