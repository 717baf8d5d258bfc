"""Runs through the Messages API against the emulator: limits, failures, interruptions, and what is paid for."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.clock import ServerClock
from batchforge.emulator.scenario import Fault
from batchforge.errors import ApiError
from batchforge.events import EventName
from batchforge.results import ResultKind
from batchforge.summaries import JobSummary, RunSummary
from tests.builders import ProjectFiles, interrupt
from tests.conftest import StartEmulator

Started = tuple[ProjectFiles, EmulatorServer]


class EmulatedClock:
    """The emulator's own time, so that a minute passes in seconds for both sides."""

    def __init__(self, clock: ServerClock, speed: float) -> None:
        clock.speed = speed
        self._clock, self._speed = clock, speed

    def now(self) -> datetime:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)


class SkippingClock:
    """Waiting takes no time."""

    def __init__(self) -> None:
        self._skipped = timedelta()

    def now(self) -> datetime:
        from batchforge.clock import SystemClock

        return SystemClock().now() + self._skipped

    def sleep(self, seconds: float) -> None:
        self._skipped += timedelta(seconds=seconds)
        time.sleep(0.001)


@pytest.fixture
def start(tmp_path: Any, start_emulator: StartEmulator) -> Any:
    """A project in sync mode and its emulator."""

    def started(rows: int = 3, *, target: dict[str, Any] | None = None, **scenario: Any) -> Started:
        emulator = start_emulator(**scenario)
        project = ProjectFiles(tmp_path / "project", emulator, mode="sync", **(target or {}))
        project.write_rows([f"Text number {n}." for n in range(rows)])
        return project, emulator

    return started


def only(summary: RunSummary) -> JobSummary:
    (job,) = summary.jobs
    return job


def statuses(project: ProjectFiles) -> Counter[str]:
    return Counter(row["_status"] for row in project.rows_of())


def answered_bodies(emulator: EmulatorServer) -> Counter[str]:
    """How often each request was answered, and paid."""
    return Counter(got.body or "" for got in emulator.received("messages") if got.status == 200)


def refusals_by_minute(emulator: EmulatorServer) -> Counter[int]:
    refused = (got for got in emulator.received("messages") if got.status == 429)
    return Counter(int(got.at.timestamp() // 60) for got in refused)


def took(emulator: EmulatorServer) -> tuple[float, float]:
    """(seconds from the first request to the last, when the first came), by the emulator's clock."""
    times = [got.at.timestamp() for got in emulator.received("messages")]
    return times[-1] - times[0], times[0]


# ---- the same requests, the same state, the same outputs


def test_both_modes_write_the_same_output(project: ProjectFiles, tmp_path: Any, start_emulator: StartEmulator) -> None:
    other = ProjectFiles(tmp_path / "other", start_emulator())
    assert only(project.run(mode="sync")).requests_sent == 3
    other.run(mode="batch")
    assert project.rows_of() == other.rows_of()


def test_what_was_answered_in_one_mode_is_not_asked_in_the_other(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    project.run(mode="sync")
    assert only(project.run(mode="batch")).requests_sent == 0
    assert (emulator.counters().messages_answered, emulator.counters().requests_accepted) == (3, 0)


def test_a_sync_answer_costs_the_full_price(project: ProjectFiles, tmp_path: Any, emulator: EmulatorServer) -> None:
    project.write_job(cache="off")
    sync = only(project.run(mode="sync")).brought.cost_usd
    assert sync == pytest.approx(emulator.counters().billed_usd)
    project.write_prompt("Say in one sentence what the texts is about.\n")
    assert only(project.run(mode="batch")).brought.cost_usd == pytest.approx(sync / 2)


@pytest.mark.parametrize(
    ("target", "job", "command", "is_sync"),
    [
        (None, None, None, False),
        ("sync", None, None, True),
        ("sync", "batch", None, False),
        ("batch", "sync", None, True),
        ("sync", "sync", "batch", False),
        (None, "batch", "sync", True),
    ],
)
def test_the_command_says_the_mode_before_the_job_and_the_job_before_the_target(
    tmp_path: Any, emulator: EmulatorServer, target: str | None, job: str | None, command: Any, is_sync: bool
) -> None:
    project = ProjectFiles(tmp_path / "project", emulator, **({"mode": target} if target else {}))
    project.write_job(mode=job)
    project.run(mode=command)
    assert (emulator.counters().messages_answered > 0) is is_sync


def test_a_message_is_stored_byte_for_byte(start: Any) -> None:
    project, emulator = start(rows=1)
    project.run()
    with project.state() as state:
        stored = [row[0] for row in state.query("SELECT body FROM messages")]
    assert json.loads(stored[0])["type"] == "message"
    assert b'"usage"' in stored[0]
    assert emulator.counters().messages_answered == 1


def test_equal_requests_of_two_jobs_are_paid_once(start: Any) -> None:
    project, emulator = start()
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    assert project.run().status == "ok"
    assert emulator.counters().messages_answered == 3
    assert [row["answer"] for row in project.rows_of("outputs/copy.jsonl")] == [
        row["answer"] for row in project.rows_of()
    ]


def test_a_row_in_flight_in_a_batch_is_waited_for(tmp_path: Any, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(processing_time_s=0.5)
    project = ProjectFiles(tmp_path / "project", emulator)
    assert project.run(wait=False).status == "pending"
    assert project.run(mode="sync").status == "ok"
    assert emulator.counters().messages_answered == 0
    assert statuses(project) == {"answered": 3}


def test_betas_go_along(start: Any) -> None:
    project, emulator = start()
    project.write_job(betas=["context-1m-2025-08-07"])
    project.run()
    assert {got.headers.get("anthropic-beta") for got in emulator.received("messages")} == {"context-1m-2025-08-07"}


# ---- limits


def test_a_minutes_limit_is_used_up_and_not_run_into(start: Any) -> None:
    project, emulator = start(rows=110, requests_per_minute=30)
    project.run(clock=EmulatedClock(emulator.clock, 30))
    took_s, began = took(emulator)
    assert statuses(project) == {"answered": 110}
    assert set(answered_bodies(emulator).values()) == {1}
    by_minute = refusals_by_minute(emulator)
    assert all(count <= 1 for minute, count in by_minute.items() if minute != min(by_minute))
    assert took_s <= 1.2 * (3 * 60 - began % 60)


def test_a_storm_of_refusals_is_sat_out_by_all(start: Any) -> None:
    storm = Fault(kind="status", on="messages", status=429, retry_after_s=10, times=6, skip=5)
    project, emulator = start(rows=40, faults=(storm,))
    project.run(clock=EmulatedClock(emulator.clock, 30))
    took_s, _ = took(emulator)
    assert statuses(project) == {"answered": 40}
    assert set(answered_bodies(emulator).values()) == {1}
    assert took_s <= 1.2 * 60
    pauses = [event for event in project.events if event.name is EventName.WAITING]
    assert 1 <= len(pauses) <= 6


def test_nobody_sends_while_the_server_is_overloaded(start: Any) -> None:
    project, emulator = start(rows=12, faults=(Fault(kind="status", on="messages", status=529, times=1),))
    project.run(clock=EmulatedClock(emulator.clock, 20))
    assert statuses(project) == {"answered": 12}
    assert set(answered_bodies(emulator).values()) == {1}


def test_no_more_than_the_concurrency_is_under_way(start: Any) -> None:
    project, _ = start(rows=12, target={"concurrency": 3}, message_time_s=0.2)
    began = time.monotonic()
    project.run()
    assert time.monotonic() - began >= 12 / 3 * 0.2


# ---- failures


def test_a_row_that_is_refused_is_that_rows_error(start: Any) -> None:
    refusal = Fault(kind="status", on="messages", status=400, message="prompt is too long", times=1)
    project, emulator = start(rows=5, faults=(refusal,))
    project.write_job(min_success=0.5)
    assert project.run().status == "ok"
    assert statuses(project) == {"answered": 4, "errored": 1}
    (failed,) = [row for row in project.rows_of() if row["_status"] == "errored"]
    assert "prompt is too long" in failed["_error"]
    assert only(project.run()).requests_sent == 0
    assert emulator.counters().messages_answered == 4


def test_input_beyond_the_models_window_is_that_rows_error(start: Any) -> None:
    project, _ = start()
    project.write_job(model="claude-haiku-4-5", thinking=None, min_success=0.5)
    project.write_rows(["A red bicycle.", "word " * 400_000, "A green train."])
    project.run(yes=True)
    assert [row["_status"] for row in project.rows_of()] == ["answered", "errored", "answered"]
    assert "prompt is too long" in project.rows_of()[1]["_error"]


def test_a_failure_by_chance_is_tried_again(start: Any) -> None:
    project, emulator = start(rows=5, faults=(Fault(kind="status", on="messages", status=500, times=2),))
    project.run(clock=EmulatedClock(emulator.clock, 20))
    assert statuses(project) == {"answered": 5}
    assert set(answered_bodies(emulator).values()) == {1}


def test_an_answer_that_is_lost_on_the_way_is_asked_for_again(start: Any) -> None:
    project, _ = start(rows=5, faults=(Fault(kind="lose_answer", on="messages", times=1),))
    project.run(clock=SkippingClock())
    assert statuses(project) == {"answered": 5}


def test_a_row_that_keeps_failing_is_asked_again_by_the_next_run(start: Any) -> None:
    project, emulator = start(rows=1, faults=(Fault(kind="status", on="messages", status=500, times=4),))
    assert only(project.run(clock=SkippingClock())).is_failed
    with project.state() as state:
        kinds = list(state.query("SELECT kind, error_type FROM results"))
    assert [tuple(kind) for kind in kinds] == [(ResultKind.ERRORED.value, "api_error")]
    assert project.run().status == "ok"
    assert emulator.counters().messages_answered == 1


def test_refused_credentials_stop_the_run_and_keep_what_was_answered(start: Any) -> None:
    fault = Fault(kind="status", on="messages", status=401, skip=3, times=None)
    project, emulator = start(rows=20, target={"concurrency": 1}, faults=(fault,))
    with pytest.raises(ApiError) as caught:
        project.run()
    assert caught.value.problems[0].code == "BF601"
    with project.state() as state:
        assert state.counts()["results"] == 3
        assert state.open_attempts() == []
    assert len(emulator.received("messages")) == 4


def test_a_spend_limit_stops_the_run(start: Any) -> None:
    message = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
    fault = Fault(kind="status", on="messages", status=400, message=message, times=None)
    project, emulator = start(rows=20, target={"concurrency": 2}, faults=(fault,))
    with pytest.raises(ApiError) as caught:
        project.run()
    assert caught.value.problems[0].code == "BF630"
    assert len(emulator.received("messages")) <= 2


def test_a_server_that_is_not_there_ends_the_run(start: Any) -> None:
    project, emulator = start(rows=20)
    emulator.stop()
    with pytest.raises(ApiError) as caught:
        project.run(clock=SkippingClock())
    assert caught.value.problems[0].code == "BF631"
    with project.state() as state:
        assert state.open_attempts() == []
        assert state.counts()["results"] == 0


def test_a_server_that_only_fails_ends_the_run(start: Any) -> None:
    project, emulator = start(rows=200, faults=(Fault(kind="status", on="messages", status=500, times=None),))
    with pytest.raises(ApiError) as caught:
        project.run(clock=SkippingClock())
    assert caught.value.problems[0].code == "BF631"
    assert len(emulator.received("messages")) < 60


def test_a_long_pause_that_is_asked_for_ends_the_run(start: Any) -> None:
    project, _ = start(faults=(Fault(kind="status", on="messages", status=429, retry_after_s=7200, times=None),))
    with pytest.raises(ApiError) as caught:
        project.run()
    assert caught.value.problems[0].code == "BF607"


# ---- interruptions


def test_after_a_kill_only_what_was_under_way_is_asked_again(start: Any) -> None:
    project, emulator = start(rows=60, target={"concurrency": 4}, message_time_s=0.1)
    process = project.start("run")
    _wait_for(lambda: emulator.counters().messages_answered >= 12)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    stored_before = _stored(project)
    lists_before = len(emulator.received("batches.list"))
    assert project.run().status == "ok"
    assert len(emulator.received("batches.list")) == lists_before
    assert 0 < stored_before < 60
    bodies = answered_bodies(emulator)
    assert sum(bodies.values()) - 60 <= 4
    assert sum(bodies.values()) <= 60 + emulator.counters().messages_answered - 60
    assert statuses(project) == {"answered": 60}
    with project.state() as state:
        assert _stored(project) == 60
        assert {attempt.state.value for attempt in state.open_attempts()} == set()
        assert state.query("SELECT count(*) FROM attempts WHERE state = 'interrupted'").__next__()[0] == 1


def test_ctrl_c_waits_for_the_answers_under_way_and_says_what_is_left(start: Any) -> None:
    project, emulator = start(rows=60, target={"concurrency": 4}, message_time_s=0.3)
    process = project.start("run")
    _wait_for(lambda: emulator.counters().messages_answered >= 6)
    ended = interrupt(process)
    assert ended.exit_code == 130
    answered = emulator.counters().messages_answered
    assert _stored(project) == answered
    assert f"{answered} answers are stored, {60 - answered} requests are left for the next run\n" in ended.stderr
    assert "Nothing is in flight" in ended.stderr
    assert project.run().status == "ok"
    assert set(answered_bodies(emulator).values()) == {1}


def test_resume_asks_for_what_an_interrupted_run_left(start: Any) -> None:
    project, emulator = start(rows=40, target={"concurrency": 4}, message_time_s=0.3)
    process = project.start("run")
    _wait_for(lambda: emulator.counters().messages_answered >= 6)
    interrupt(process)
    assert project.resume().status == "ok"
    assert set(answered_bodies(emulator).values()) == {1}


def test_what_another_process_is_asking_is_waited_for(start: Any) -> None:
    project, emulator = start(rows=20, target={"concurrency": 2}, message_time_s=0.1)
    process = project.start("run")
    _wait_for(lambda: emulator.counters().messages_answered >= 2)
    assert project.run().status == "ok"
    assert process.wait(30) == 0
    process.stdout.close()
    process.stderr.close()
    assert set(answered_bodies(emulator).values()) == {1}
    assert statuses(project) == {"answered": 20}


def test_what_a_killed_run_had_paid_counts_toward_the_months_budget(start: Any) -> None:
    project, emulator = start(rows=60, target={"concurrency": 4}, message_time_s=0.1)
    process = project.start("run")
    _wait_for(lambda: emulator.counters().messages_answered >= 12)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    project.collect(wait=False)
    with project.state() as state:
        spent = state.query("SELECT sum(cost_pico_usd) FROM attempts").__next__()[0]
        results = state.query("SELECT sum(cost_pico_usd) FROM results").__next__()[0]
    assert spent == results > 0


def _stored(project: ProjectFiles) -> int:
    with project.state() as state:
        return state.counts()["results"]


def _wait_for(condition: Any, timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
