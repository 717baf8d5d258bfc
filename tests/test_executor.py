"""How batches are sent, waited for and read, whatever the API does; with time that passes only when somebody waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault
from batchforge.errors import ApiError, BatchForgeError
from batchforge.events import EventName
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord
from batchforge.summaries import JobSummary
from tests.builders import PlayedClock, ProjectFiles
from tests.conftest import StartEmulator

CREATE, RESULTS = "batches.create", "batches.results"
Made = Callable[..., ProjectFiles]


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


@pytest.fixture
def made(start_emulator: StartEmulator, tmp_path: Path) -> Made:
    """A project against an emulator of these settings, whose target waits as long as one of the real API."""

    def project(*faults: Fault, target: dict[str, Any] | None = None, **scenario: Any) -> ProjectFiles:
        emulator = start_emulator(faults=faults, **scenario)
        slow = {"timeout_s": 20, "settle_after_s": 900, "poll_interval_s": 10}
        return ProjectFiles(tmp_path / "p", emulator, **{**slow, **(target or {})})

    return project


def emulator_of(project: ProjectFiles) -> EmulatorServer:
    assert project.emulator is not None
    return project.emulator


def attempts(project: ProjectFiles) -> list[AttemptRecord]:
    with project.state() as state:
        return [attempt for run in state.runs(10) for attempt in state.attempts_of_run(run.run_id)]


def states(project: ProjectFiles) -> list[str]:
    return sorted(attempt.state.value for attempt in attempts(project))


def said(project: ProjectFiles, name: EventName) -> list[str]:
    return [event.message for event in project.events if event.name is name]


def run(project: ProjectFiles, clock: PlayedClock, **options: Any) -> JobSummary:
    (job,) = project.run(clock=clock, **options).jobs
    return job


def refused(*, status: int = 429, **more: Any) -> Fault:
    return Fault(kind="status", on=CREATE, status=status, **more)


# ---- sending


def test_retry_after_is_kept_to(made: Made, clock: PlayedClock) -> None:
    project = made(refused(retry_after_s=30))
    before = clock.now()
    assert run(project, clock).requests_sent == 3
    assert (clock.now() - before).total_seconds() >= 30
    assert states(project) == ["closed", "rejected"]
    assert any("trying again in 30 s" in message for message in said(project, EventName.WAITING))


def test_without_retry_after_the_waits_grow(made: Made, clock: PlayedClock) -> None:
    project = made(refused(status=529, times=4))
    before = clock.now()
    run(project, clock)
    assert (clock.now() - before).total_seconds() >= 1 + 2 + 4 + 8
    assert emulator_of(project).counters().batches_created == 1


def test_nobody_is_kept_waiting_for_an_hour_without_being_told(made: Made, clock: PlayedClock) -> None:
    project = made(refused(retry_after_s=4000))
    before = clock.now()
    with pytest.raises(ApiError, match="BF607 the API asks to wait 67 minutes"):
        run(project, clock)
    assert (clock.now() - before).total_seconds() < 60
    assert states(project) == ["rejected"]


def test_a_spend_limit_is_told_at_once(made: Made, clock: PlayedClock) -> None:
    fault = refused(error_type="rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}, times=None)
    project = made(fault)
    with pytest.raises(ApiError):
        run(project, clock)
    assert len(emulator_of(project).received(CREATE)) == 1


@pytest.mark.parametrize(("status", "code"), [(400, "BF604"), (401, "BF601"), (403, "BF601"), (413, "BF604")])
def test_what_waiting_does_not_mend_is_not_tried_again(made: Made, clock: PlayedClock, status: int, code: str) -> None:
    project = made(refused(status=status, times=None))
    with pytest.raises(BatchForgeError) as stopped:
        run(project, clock)
    assert stopped.value.problems[0].code == code
    assert len(emulator_of(project).received(CREATE)) == 1
    assert states(project) == ["rejected"]


def test_a_run_gives_up_after_some_tries_and_the_next_one_goes_on(made: Made, clock: PlayedClock) -> None:
    project = made(refused(status=529, times=8))
    with pytest.raises(ApiError, match="BF603"):
        run(project, clock)
    assert run(project, clock).requests_sent == 3
    assert emulator_of(project).counters().custom_ids_submitted_twice == 0


def test_batches_that_were_accepted_before_a_refusal_are_kept(made: Made, clock: PlayedClock) -> None:
    project = made(refused(status=400, skip=1))
    project.write_job(batch={"max_requests": 2})
    with pytest.raises(ApiError):
        run(project, clock)
    again = run(project, clock)
    assert (again.requests_sent, emulator_of(project).counters().requests_accepted) == (1, 3)


def test_a_lost_answer_is_settled_by_looking_before_anything_is_sent(made: Made, clock: PlayedClock) -> None:
    project = made(Fault(kind="lose_answer", on=CREATE))
    run(project, clock)
    order = [received.endpoint for received in emulator_of(project).received()]
    assert order.count(CREATE) == 1
    assert "batches.list" in order[order.index(CREATE) :]


class ClockOfBoth(PlayedClock):
    """Moves the API's clock along."""

    def __init__(self, api: EmulatorServer) -> None:
        super().__init__()
        self._api = api

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._api.clock.advance(seconds)


def test_a_lost_request_is_sent_again_only_after_its_time(made: Made) -> None:
    project = made(Fault(kind="lose_request", on=CREATE))
    clock = ClockOfBoth(emulator_of(project))
    before, began_s = clock.now(), time.monotonic()
    run(project, clock)
    really_s = time.monotonic() - began_s  # passes for the API too, though not by our played clock
    assert (clock.now() - before).total_seconds() + really_s >= 900
    uncertain = [text for text in said(project, EventName.WAITING) if "is uncertain" in text]
    assert len(uncertain) == 1, "told once, though it is looked at every few seconds"
    assert states(project) == ["assumed_lost", "closed"]


def test_the_queue_is_not_filled_beyond_what_it_holds(made: Made, clock: PlayedClock) -> None:
    project = made(target={"max_in_flight_requests": 4}, queued_requests=4)
    project.write_rows([f"Text number {n}." for n in range(10)])
    project.write_job(batch={"max_requests": 2})
    assert run(project, clock).requests_sent == 10
    assert "rejected" not in states(project)


# ---- waiting and reading


def test_waits_between_polls_grow_up_to_the_interval(made: Made, clock: PlayedClock) -> None:
    project = made(processing_time_s=1000)
    emulator_of(project).clock.speed = 200
    before = clock.now()
    run(project, clock)
    polls = len(emulator_of(project).received("batches.retrieve"))
    waited_s = (clock.now() - before).total_seconds()
    assert waited_s <= polls * 10
    assert waited_s > (polls - 8) * 10


def test_results_that_break_off_are_read_again_and_counted_once(made: Made, clock: PlayedClock) -> None:
    project = made(Fault(kind="cut_answer", on=RESULTS, at_byte=900, times=3))
    job = run(project, clock)
    assert job.brought.results == 3
    assert project.run().to_json()["cost_usd"] == 0
    assert len(emulator_of(project).received(RESULTS)) == 4


def test_results_that_cannot_be_read_at_all_end_the_run_and_are_collected_later(made: Made, clock: PlayedClock) -> None:
    project = made(Fault(kind="truncate_results", on=RESULTS, times=8))
    with pytest.raises(ApiError, match="BF605"):
        run(project, clock)
    assert project.collect().status == "ok"
    assert emulator_of(project).counters().batches_created == 1


def test_results_that_come_twice_are_named_and_kept_once(made: Made, clock: PlayedClock) -> None:
    project = made(Fault(kind="duplicate_results", on=RESULTS))
    assert run(project, clock).brought.results == 3
    assert any("were given twice" in message for message in said(project, EventName.WARNING))


def test_a_batch_that_somebody_deleted_is_named(made: Made, clock: PlayedClock) -> None:
    project = made()
    run(project, clock, wait=False)
    _delete(project)
    project.collect()
    assert states(project) == ["gone"]
    assert any("is gone before its results were stored" in message for message in said(project, EventName.WARNING))


def test_a_batch_that_somebody_canceled_is_read_like_any_other(made: Made, clock: PlayedClock) -> None:
    project = made(processing_time_s=3600, cancel_time_s=0)
    run(project, clock, wait=False)
    _send(project, "POST", "/cancel")
    job = project.collect().jobs[0]
    assert job.output is not None
    assert job.output.statuses == {"canceled": 3}
    assert states(project) == ["closed"]


def test_results_past_their_29_days_are_gone_and_the_rows_are_free(made: Made, clock: PlayedClock) -> None:
    project = made()
    run(project, clock, wait=False)
    emulator_of(project).clock.advance(30 * 86400)
    project.collect()
    assert states(project) == [AttemptState.GONE.value]


def _batch_ids(project: ProjectFiles) -> Sequence[str]:
    return [attempt.batch_id for attempt in attempts(project) if attempt.batch_id]


def _send(project: ProjectFiles, method: str, path: str) -> None:
    from tests.emulator.wire import BATCHES, Wire

    wire = Wire(emulator_of(project).base_url)
    for batch_id in _batch_ids(project):
        if method == "DELETE":
            wire.ended(batch_id)
        response = wire.send(method, f"{BATCHES}/{batch_id}{path}")
        assert response.status_code == 200, response.text
    wire.close()


def _delete(project: ProjectFiles) -> None:
    _send(project, "DELETE", "")
