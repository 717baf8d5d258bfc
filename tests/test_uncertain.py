"""Batches that may have been accepted: what settles them, what a person decides, and how a lost state is recovered."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchforge import pipeline
from batchforge.clock import iso
from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault, RowRule
from batchforge.errors import ApiError, StateError, UsageError
from batchforge.events import EventName
from batchforge.execution import recovery
from batchforge.execution.settling import OnUncertain
from batchforge.state.attempts import LEGAL_MOVES, AttemptState, IllegalMove, check_move
from batchforge.targets import open_target
from tests.builders import CLI, ProjectFiles, child_environment, end_of
from tests.conftest import StartEmulator

CREATE = "batches.create"
SHORT = {"timeout_s": 0.6, "settle_after_s": 0.7}
LOST_REQUEST = Fault(kind="lose_request", on=CREATE)
LOST_ANSWER = Fault(kind="lose_answer", on=CREATE)
DAY_S = 24 * 3600.0
Made = Callable[..., ProjectFiles]


@pytest.fixture
def made(tmp_path: Path, start_emulator: StartEmulator) -> Made:
    """A project, with settings of its target and faults of its emulator."""

    def project(*faults: Fault, scenario: dict[str, Any] | None = None, **target: Any) -> ProjectFiles:
        emulator = start_emulator(faults=faults, **(scenario or {}))
        return ProjectFiles(tmp_path / "project", emulator, **{**SHORT, **target})

    return project


def api(project: ProjectFiles) -> EmulatorServer:
    assert project.emulator is not None
    return project.emulator


def states(project: ProjectFiles) -> list[AttemptState]:
    with project.state() as state:
        return [attempt.state for attempt in state.open_attempts()]


def code_of(refused: pytest.ExceptionInfo[ApiError]) -> str:
    return refused.value.problems[0].code


def all_answered(project: ProjectFiles) -> bool:
    return [row["_status"] for row in project.rows_of()] == ["answered"] * len(project.rows_of())


def warnings_of(project: ProjectFiles) -> str:
    return "\n".join(event.message for event in project.events if event.name is EventName.WARNING)


def others_ask(project: ProjectFiles, method: str, path: str) -> None:
    """Somebody else in the workspace."""
    headers = {"x-api-key": "another", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(f"{api(project).base_url}/v1/messages/batches{path}", None, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        answer.read()


def batch_ids(project: ProjectFiles) -> list[str]:
    with project.state() as state:
        attempts = [each for run in state.runs(20) for each in state.attempts_of_run(run.run_id)]
        return [attempt.batch_id for attempt in attempts if attempt.batch_id]


# ---- the drawing


def test_every_state_is_reached_and_left_only_by_moves_that_are_drawn() -> None:
    reached = {to_state for moves in LEGAL_MOVES.values() for to_state in moves}
    assert reached | {AttemptState.INTENDED} == set(AttemptState)
    for from_state in AttemptState:
        for to_state in AttemptState:
            if to_state in LEGAL_MOVES.get(from_state, ()):
                check_move(1, from_state, to_state)
            else:
                with pytest.raises(IllegalMove):
                    check_move(1, from_state, to_state)


def test_every_move_is_written_down_with_its_reason(made: Made) -> None:
    project = made(LOST_ANSWER)
    project.run()
    with project.state() as state:
        moves = list(state.query("SELECT from_state, to_state, note FROM decisions ORDER BY decision_id"))
    assert [to_state for _, to_state, _ in moves] == ["sending", "uncertain", "adopted", "ended", "stored", "closed"]
    assert moves[2][2].startswith("found as msgbatch_")


# ---- ask or resend


def test_a_batch_that_the_api_does_not_list_is_sent_again(made: Made) -> None:
    project = made(LOST_REQUEST)
    assert project.run().exit_code == 0
    assert api(project).counters().batches_created == 1


@pytest.mark.parametrize("settings", [{"on_uncertain": "ask"}, {"ask_above_usd": 0.0}], ids=["ask", "above the sum"])
def test_a_person_is_asked_before_it_is_sent_again(made: Made, settings: dict[str, Any]) -> None:
    project = made(LOST_REQUEST, **settings)
    summary = project.run()
    assert (summary.status, states(project)) == ("pending", [AttemptState.AMBIGUOUS])
    assert len(api(project).received(CREATE)) == 1
    again = project.run()
    assert again.status == "pending", "a run does not wait for what only a person can decide"
    assert api(project).counters().batches_created == 0


def test_the_sum_decides_who_is_asked() -> None:
    policy = OnUncertain(ask_above_usd=10.0)
    assert policy.may_resend(10 * 10**12)
    assert not policy.may_resend(10 * 10**12 + 1)
    assert not policy.may_resend(None), "no bound is known"
    assert not OnUncertain(asks_always=True).may_resend(0)


def test_a_word_of_the_user_sends_it_again(made: Made) -> None:
    project = made(LOST_REQUEST, on_uncertain="ask")
    project.run()
    assert project.run(resend_uncertain=True).exit_code == 0
    assert "BF618 attempt 1 is taken for lost on your word; it may be paid twice" in warnings_of(project)
    assert api(project).counters().batches_created == 1


def test_another_batch_of_the_same_count_is_not_sent_while_one_is_undecided(made: Made) -> None:
    project = made(LOST_REQUEST, on_uncertain="ask")
    project.run()
    project.write_job("other", system="Say something else.", output={"file": "outputs/other.jsonl"})
    with pytest.raises(ApiError) as refused:
        project.run("other")
    assert code_of(refused) == "BF606"
    assert "batchforge adopt BATCH_ID" in refused.value.problems[0].hint
    assert api(project).counters().batches_created == 0


def test_an_undecided_batch_is_taken_up_if_it_is_listed_after_all(made: Made) -> None:
    project = made(LOST_ANSWER, scenario={"list_delay_s": 5.0}, on_uncertain="ask")
    project.run()
    assert states(project) == [AttemptState.AMBIGUOUS]
    api(project).clock.advance(10)
    assert project.run().exit_code == 0
    assert api(project).counters().batches_created == 1


# ---- adopt


def test_a_batch_is_adopted_on_a_persons_word(made: Made) -> None:
    project = made(LOST_ANSWER, scenario={"list_delay_s": 1000.0}, on_uncertain="ask")
    project.run()
    (created,) = [got for got in api(project).received(CREATE) if got.fault == "lose_answer"]
    assert created.status is None
    api(project).clock.advance(2000)
    (batch_id,) = [b["id"] for b in _listed(project)]
    adopted = project.cli("adopt", batch_id)
    assert adopted.stdout.startswith(f"{batch_id} is taken for attempt 1 of about (3 requests).")
    assert project.collect().exit_code == 0
    assert all_answered(project)
    assert api(project).counters().batches_created == 1


def _listed(project: ProjectFiles) -> list[dict[str, Any]]:
    headers = {"x-api-key": "another", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(f"{api(project).base_url}/v1/messages/batches", None, headers)
    with urllib.request.urlopen(request) as answer:
        listed: list[dict[str, Any]] = json.load(answer)["data"]
    return listed


def test_a_batch_that_holds_something_else_is_not_adopted(made: Made) -> None:
    project = made(LOST_REQUEST, scenario={"other_batches": 3}, on_uncertain="ask")
    project.run()
    (foreign,) = [b["id"] for b in _listed(project) if sum(b["request_counts"].values()) == 3]
    refused = project.cli("adopt", foreign)
    assert (refused.exit_code, "BF912" in refused.stderr) == (2, True)
    assert states(project) == [AttemptState.AMBIGUOUS]


# ---- other people in the workspace


def test_batches_of_others_with_the_same_count_are_not_taken_for_ours(made: Made) -> None:
    project = made(LOST_REQUEST, scenario={"other_batches": 12})
    assert project.run().exit_code == 0
    assert all_answered(project)
    assert api(project).counters().requests_accepted == 3


@pytest.mark.parametrize("hours", [-9, 9])
def test_clocks_that_differ_by_hours_do_not_hide_our_batch(made: Made, hours: int) -> None:
    project = made(LOST_ANSWER, scenario={"other_batches": 6})
    api(project).clock.advance(hours * 3600)
    assert project.run().exit_code == 0
    assert api(project).counters().batches_created == 1


class SuspendedClock:
    """Real time, and the hours that the machine slept while we did."""

    def __init__(self, hours: float) -> None:
        self._span, self._slept = timedelta(hours=hours), timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._slept

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))
        self._slept += self._span


def test_a_machine_that_sleeps_for_hours_goes_on(made: Made) -> None:
    project = made(LOST_ANSWER, scenario={"processing_time_s": 0.3})
    assert project.run(clock=SuspendedClock(hours=8)).exit_code == 0
    assert api(project).counters().batches_created == 1
    assert all_answered(project)


# ---- what the status says


def test_status_says_what_settles_an_uncertain_batch_and_when(made: Made) -> None:
    project = made(Fault(kind="slow", on=CREATE, bytes_per_s=1), timeout_s=20, settle_after_s=900)
    process = project.start("run")
    _wait_until(lambda: api(project).counters().batches_created == 1)
    process.kill()
    end_of(process)
    said = project.cli("status")
    assert said.exit_code == 3
    assert "sending" in said.stdout
    assert "the next run or collect looks for it at the API" in said.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"on_uncertain": "ask"}, "a person decides"), ({}, "its requests are sent again")],
    ids=["ask", "resend"],
)
def test_status_of_an_uncertain_batch_names_the_moment(made: Made, settings: dict[str, Any], words: str) -> None:
    lists = Fault(kind="status", on="batches.list", status=500, times=None, skip=1)
    project = made(LOST_REQUEST, lists, settle_after_s=900, **settings)
    process = project.start("run")
    _wait_until(lambda: len(api(project).received("batches.list")) > 1)
    process.kill()
    end_of(process)
    (entry,) = project.cli("status", "--output", "json").json()["in_flight"]
    assert entry["state"] == "uncertain"
    sent = datetime.fromisoformat(entry["sent_at"])
    assert entry["settled_at"] == iso(sent + timedelta(seconds=900))
    assert words in entry["settled_by"]
    text = project.cli("status").stdout
    assert f"settled by: {entry['settled_by']}" in text


def test_status_of_an_undecided_batch_names_the_two_commands(made: Made) -> None:
    project = made(LOST_REQUEST, on_uncertain="ask")
    project.run()
    said = project.cli("status").stdout
    assert "batchforge adopt BATCH_ID" in said
    assert "batchforge run --resend-and-risk-paying-twice" in said


def _wait_until(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.02)


# ---- a state that was lost


def lose_state(project: ProjectFiles) -> None:
    for path in project.path(".batchforge").glob("state-*"):
        path.unlink()


def test_the_first_run_on_an_empty_state_finds_what_was_paid(made: Made) -> None:
    project = made(scenario={"other_batches": 3})
    project.run()
    lose_state(project)
    again = project.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (0, 0)
    assert "BF616 recovered 3 answers of 1 earlier batches" in warnings_of(project)
    assert api(project).counters().batches_created == 1


def test_a_second_recovery_changes_nothing(made: Made) -> None:
    project = made()
    project.run()
    lose_state(project)
    opened, _, target = project.load()
    first, second = (pipeline.recover_batches(opened, target) for _ in range(2))
    assert (first.batches, first.answers) == (1, 3)
    assert (second.batches, second.answers) == (0, 0)
    with project.state() as state:
        assert state.counts()["results"] == 3


def test_a_recovery_that_breaks_off_is_gone_on_with_by_the_first_run(made: Made) -> None:
    project = made()
    project.write_job(batch={"max_requests": 1})
    project.run()
    lose_state(project)
    api(project).faults.add(Fault(kind="slow", on="batches.results", skip=1, bytes_per_s=1))
    process = project.start("state", "recover")
    _wait_until(lambda: any(got.fault for got in api(project).received("batches.results")))
    process.kill()
    end_of(process)
    with project.state() as state:
        assert state.counts()["results"] == 1
    again = project.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (0, 0)
    assert api(project).counters().batches_created == 3


def test_batches_in_progress_that_an_empty_state_does_not_know_are_warned_of(made: Made) -> None:
    project = made(scenario={"processing_time_s": 3600.0})
    project.run(wait=False)
    lose_state(project)
    project.events.clear()
    opened, _, target = project.load()
    assert pipeline.recover_batches(opened, target).in_progress == 1
    api(project).clock.advance(3700)
    assert pipeline.recover_batches(opened, target).answers == 3
    again = project.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (0, 0)


# ---- limits and refusals


def test_the_rest_waits_its_turn_in_a_queue_that_is_limited(made: Made) -> None:
    project = made(scenario={"processing_time_s": 0.2}, max_in_flight_requests=4)
    project.write_rows([f"Text {n}." for n in range(10)])
    project.write_job(batch={"max_requests": 2})
    assert project.run().exit_code == 0
    most = now = 0
    for event in project.events:
        now += 2 if event.name is EventName.BATCH_SUBMITTED else 0
        now -= 2 if event.data.get("state") == "closed" else 0
        most = max(most, now)
    assert most == 4
    assert api(project).counters().requests_accepted == 10


def test_a_spend_limit_is_said_and_not_tried_again(made: Made) -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    message = "You have reached your organization's monthly spend limit."
    project = made(Fault(kind="status", on=CREATE, status=429, details=details, message=message, times=None))
    with pytest.raises(ApiError) as refused:
        project.run()
    assert code_of(refused) == "BF604"
    assert message in str(refused.value)
    assert len(api(project).received(CREATE)) == 1


def test_a_very_long_retry_after_ends_the_run_and_says_how_long(made: Made) -> None:
    project = made(Fault(kind="status", on=CREATE, status=429, retry_after_s=7200))
    with pytest.raises(ApiError) as refused:
        project.run()
    assert code_of(refused) == "BF607"
    assert "120 minutes" in str(refused.value)
    assert project.run().exit_code == 0


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("endpoint", [CREATE, "batches.retrieve", "batches.results"])
def test_credentials_that_are_refused_midway_lose_nothing(made: Made, endpoint: str, status: int) -> None:
    project = made(Fault(kind="status", on=endpoint, status=status, skip=1))
    project.write_job(batch={"max_requests": 1})
    with pytest.raises(ApiError) as refused:
        project.run()
    assert code_of(refused) == "BF601"
    assert project.run().exit_code == 0
    counted = api(project).counters()
    assert (counted.batches_created, counted.custom_ids_submitted_twice) == (3, 0)


# ---- results that are not as they should be


def test_results_that_come_twice_are_named_and_counted_once(made: Made) -> None:
    project = made(Fault(kind="duplicate_results", on="batches.results"))
    assert project.run().exit_code == 0
    assert "3 results of msgbatch_" in warnings_of(project)
    assert "were given twice" in warnings_of(project)


@pytest.mark.parametrize("what", ["expired", "canceled"])
def test_rows_that_were_not_billed_are_asked_again_by_the_next_run(made: Made, what: Any) -> None:
    project = made(scenario={"rows": (RowRule(outcome=what, share=0.5, submissions=1),)})
    for _ in range(2):
        project.run()
    counted = api(project).counters()
    assert all_answered(project)
    assert (counted.requests_billed, counted.custom_ids_billed_twice) == (3, 0)


def test_a_batch_that_somebody_cancels_is_finished_by_the_next_run(made: Made) -> None:
    project = made(scenario={"processing_time_s": 3600.0})
    project.run(wait=False)
    others_ask(project, "POST", f"/{batch_ids(project)[0]}/cancel")
    _wait_until(lambda: _listed(project)[0]["processing_status"] == "ended")
    assert project.collect().exit_code == 1
    project.run(wait=False)
    api(project).clock.advance(3700)
    assert project.collect().exit_code == 0
    assert api(project).counters().custom_ids_billed_twice == 0


@pytest.mark.parametrize("how", ["deleted", "archived"])
def test_rows_of_a_batch_that_is_gone_get_an_error_and_are_not_asked_again_by_themselves(made: Made, how: str) -> None:
    project = made()
    project.run(wait=False)
    if how == "deleted":
        others_ask(project, "DELETE", f"/{batch_ids(project)[0]}")
    else:
        api(project).clock.advance(29 * DAY_S + 60)
    assert project.collect().exit_code == 1
    assert "BF613" in warnings_of(project)
    assert "is gone before its results were stored" in warnings_of(project)
    again = project.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (1, 0)
    assert {row["_status"] for row in project.rows_of("outputs/answers.candidate.jsonl")} == {"errored"}
    assert api(project).counters().batches_created == 1


# ---- results that nobody fetches


def test_results_that_nobody_fetches_are_warned_of_from_the_seventh_day(made: Made) -> None:
    project = made()
    project.write_job("other", system="Say something else.", output={"file": "outputs/other.jsonl"})
    api(project).clock.advance(-8 * DAY_S)
    project.run("about", wait=False)
    api(project).clock.advance(8 * DAY_S)
    assert "have not been fetched for 8 days; `batchforge collect about` can until" in project.cli("status").stdout
    project.run("other")
    assert "BF609" in warnings_of(project)
    assert "have not been fetched for 8 days" in warnings_of(project)
    project.events.clear()
    assert project.collect("about").exit_code == 0
    assert "have not been fetched" not in warnings_of(project)


# ---- interruptions


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_run_says_what_is_in_flight_and_what_goes_on(made: Made, number: signal.Signals) -> None:
    project = made(scenario={"processing_time_s": 600.0}, timeout_s=10, settle_after_s=11)
    process = project.start("run")
    _wait_until(lambda: api(project).counters().batches_created == 1 and _polls(project) > 0)
    process.send_signal(number)
    ended = end_of(process)
    assert ended.exit_code == 130
    assert "3 requests in 1 batch are in flight" in ended.stderr
    assert "batchforge collect --wait" in ended.stderr
    api(project).clock.advance(700)
    assert project.collect().exit_code == 0
    assert api(project).counters().batches_created == 1


def _polls(project: ProjectFiles) -> int:
    return len(api(project).received("batches.retrieve"))


def test_an_interruption_while_a_batch_is_sent_leaves_it_to_be_looked_for(made: Made) -> None:
    project = made(Fault(kind="slow", on=CREATE, bytes_per_s=1), timeout_s=20, settle_after_s=21)
    process = project.start("run")
    _wait_until(lambda: api(project).counters().batches_created == 1)
    process.send_signal(signal.SIGINT)
    assert end_of(process).exit_code == 130
    assert project.run().exit_code == 0
    assert api(project).counters().batches_created == 1


def test_a_run_whose_output_nobody_reads_any_more_ends_quietly(made: Made) -> None:
    project = made()
    with project.start("run") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert all_answered(project)


def test_a_full_disk_behind_the_output_gives_no_traceback(made: Made) -> None:
    project = made()
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*CLI, "run"],
            cwd=project.root,
            env=child_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 2
    assert "BF504" in ended.stderr


def test_an_attempt_of_a_process_that_lives_on_is_not_waited_for(made: Made) -> None:
    """As in a notebook: the send was interrupted, and the same process runs again."""
    project = made(Fault(kind="slow", on=CREATE, bytes_per_s=1), timeout_s=20, settle_after_s=21)
    interrupter = threading.Thread(target=_interrupt_once_accepted, args=(project,))
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        project.run()
    interrupter.join()
    assert states(project) == [AttemptState.SENDING]
    assert project.run().exit_code == 0
    assert api(project).counters().batches_created == 1


def _interrupt_once_accepted(project: ProjectFiles) -> None:
    _wait_until(lambda: api(project).counters().batches_created == 1)
    signal.raise_signal(signal.SIGINT)


def test_a_state_of_another_origin_is_refused(made: Made) -> None:
    project = made(state="sqlite:///.batchforge/shared.db")
    project.run()
    project.write_project(workspace_id="wrkspc_other")
    with pytest.raises(StateError) as refused:
        project.run()
    assert refused.value.problems[0].code == "BF506"


def test_a_batch_that_no_attempt_can_have_sent_is_not_adopted(made: Made) -> None:
    project = made()
    project.run()
    opened, _, target = project.load()
    with open_target(opened, target) as ready, pytest.raises(UsageError):
        recovery.adopt(ready.state, ready.backend, batch_ids(project)[0])
