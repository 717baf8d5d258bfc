"""Warnings that are told while something runs: each has a code, and `batchforge explain` knows it."""

from __future__ import annotations

import ast
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchforge import pipeline
from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault, FaultKind
from batchforge.error_codes import ERROR_CODES
from batchforge.errors import BudgetExceeded
from batchforge.events import EventName
from batchforge.state.attempts import AttemptState
from batchforge.state.sqlite import SqliteState
from tests.builders import TREE, ProjectFiles, state_path
from tests.conftest import StartEmulator

RESULTS = "batches.results"
HOUR_S = 3600.0


def warnings_of(project: ProjectFiles) -> dict[str, str]:
    """Code -> message."""
    told = [event for event in project.events if event.name is EventName.WARNING]
    assert all(event.message.startswith(f"{event.data['code']} ") for event in told)
    return {str(event.data["code"]): event.message for event in told}


def test_a_warning_is_told_only_with_a_code() -> None:
    for path in (TREE / "batchforge").rglob("*.py"):
        names = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        allowed = {"events.py", "plain_progress.py"}
        assert "EventName.WARNING" not in names or path.name in allowed, path


# ---- results that are not as they should be


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("duplicate_results", "BF610", "3 results of"),
        ("unasked_results", "BF611", "1 results of"),
        ("omit_results", "BF612", "1 requests of"),
    ],
)
def test_results_that_are_double_unasked_or_missing_are_named(
    project: ProjectFiles, emulator: EmulatorServer, kind: FaultKind, code: str, words: str
) -> None:
    emulator.faults.add(Fault(kind=kind, on=RESULTS))
    project.run()
    warnings = warnings_of(project)
    assert list(warnings) == [code]
    assert words in warnings[code]
    assert code in ERROR_CODES


def test_a_result_that_is_missing_becomes_an_error_of_its_row_and_is_not_paid_again_by_itself(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    emulator.faults.add(Fault(kind="omit_results", on=RESULTS))
    assert project.run().status == "failed"
    rows = project.rows_of("outputs/answers.candidate.jsonl")
    assert sorted(row["_status"] for row in rows) == ["answered", "answered", "errored"]
    assert project.run().jobs[0].requests_sent == 0
    assert emulator.counters().requests_accepted == 3


def test_a_result_that_nobody_asked_for_is_left_out(project: ProjectFiles, emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(kind="unasked_results", on=RESULTS))
    summary = project.run()
    assert summary.status == "ok"
    assert summary.jobs[0].brought.results == 3
    with project.state() as state:
        assert state.counts()["results"] == 3


def test_results_that_come_twice_are_stored_and_counted_once(project: ProjectFiles, emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(kind="duplicate_results", on=RESULTS))
    summary = project.run()
    assert summary.jobs[0].brought.results == 3
    assert summary.to_json()["cost_usd"] == pytest.approx(emulator.counters().billed_usd)


# ---- what could not be done at the API


def test_a_batch_that_is_not_canceled_is_named(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(processing_time_s=HOUR_S, faults=(Fault(kind="status", on="batches.cancel", times=None),))
    project = ProjectFiles(tmp_path / "p", emulator)
    project.run(wait=False)
    assert project.cancel() == []
    assert "was not canceled" in warnings_of(project)["BF621"]


def test_a_first_run_that_cannot_look_for_lost_answers_says_so(project: ProjectFiles, emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(kind="status", on="batches.list", times=None))
    assert project.run().status == "ok"
    assert "cannot be listed" in warnings_of(project)["BF615"]


# ---- a state that was lost while a batch was in progress


@pytest.fixture
def lost(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """A project whose batch is in progress and whose state is gone."""
    project = ProjectFiles(tmp_path / "p", start_emulator(processing_time_s=HOUR_S))
    project.run(wait=False)
    for path in project.path(".batchforge").glob("state-*"):
        path.unlink()
    return project


def accepted(project: ProjectFiles) -> int:
    assert project.emulator is not None
    return project.emulator.counters().requests_accepted


def test_without_a_person_it_is_refused_and_nothing_is_paid_twice(lost: ProjectFiles) -> None:
    said = lost.cli("run", "--no-wait")
    assert said.exit_code == 5
    assert "BF617 a batch is in progress in the workspace that this state does not know" in said.stderr
    assert "batchforge state recover" in said.stderr
    assert accepted(lost) == 3


def test_it_stays_refused_until_the_batch_has_ended_and_then_costs_nothing(lost: ProjectFiles) -> None:
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            lost.run(wait=False)
    assert lost.emulator is not None
    lost.emulator.clock.advance(HOUR_S + 1)
    assert lost.run().jobs[0].requests_sent == 0
    assert accepted(lost) == 3


@pytest.mark.parametrize("option", ["--yes", "--resend-and-risk-paying-twice"])
def test_a_persons_word_sends_it_all_the_same(lost: ProjectFiles, option: str) -> None:
    said = lost.cli("run", "--no-wait", option)
    assert said.exit_code == 3, said.stderr
    assert "warning: BF617" in said.stderr
    assert accepted(lost) == 6


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_a_person_is_asked(lost: ProjectFiles, answer: bool) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    if answer:
        lost.run(wait=False, ask=ask)
    else:
        with pytest.raises(BudgetExceeded, match="BF806"):
            lost.run(wait=False, ask=ask)
    assert asked == ["Send all the same?"]
    assert accepted(lost) == (6 if answer else 3)


# ---- answers of a run that another process has taken for dead


def test_answers_that_come_after_another_process_took_over_are_named(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    slow = Fault(kind="slow", on="messages", bytes_per_s=700, times=None)
    project = ProjectFiles(tmp_path / "p", start_emulator(faults=(slow,)), mode="sync")
    runner = threading.Thread(target=project.run)
    runner.start()
    opened, _, target = project.load()
    _wait_until(state_path(opened, target).exists)
    state = SqliteState(state_path(opened, target))
    _wait_until(lambda: any(each.state is AttemptState.SENDING for each in state.open_attempts()))
    (attempt,) = state.open_attempts()
    state.move(attempt.attempt_id, AttemptState.SENDING, AttemptState.INTERRUPTED)
    state.close()
    runner.join()
    assert "after another process had taken over" in warnings_of(project)["BF614"]


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- what was approved


def test_what_moved_since_a_plan_was_saved_is_named(project: ProjectFiles) -> None:
    said = project.cli("plan", "--out", "plan.json")
    assert said.exit_code == 0, said.stderr
    project.run(limit=1)
    assert "warning: BF810" in project.cli("run", "--plan", "plan.json").stderr


def test_compile_warns_of_what_hardly_fits_into_the_context_window(project: ProjectFiles) -> None:
    project.write_job(model="claude-haiku-4-5", thinking=None)
    project.write_rows(["word " * 185_000, "short"])
    said = project.cli("compile")
    assert said.exit_code == 0
    assert "BF435 warning: the largest request has about" in said.stderr
    project.write_rows(["short", "word " * 600_000])
    assert "BF436 warning: 1 row surely exceeds the 200,000 tokens" in project.cli("compile").stderr


def test_a_recovery_on_request_is_not_refused(lost: ProjectFiles) -> None:
    opened, _, target = lost.load()
    assert pipeline.recover_batches(opened, target).in_progress == 1


def test_an_input_without_rows_is_told_of_and_a_test_keeps_the_old_output(project: ProjectFiles) -> None:
    project.run()
    project.write_job(tests=[{"row_count": {"min": 1}}])
    project.write_rows([])
    finished = project.cli("run")
    assert "BF228 the input has no rows" in finished.stderr
    assert finished.exit_code == 1
    assert len(project.rows_of()) == 3
    assert "BF228" not in project.cli("run", "--empty").stderr
