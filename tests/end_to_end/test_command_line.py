"""What a person at a terminal, or a program behind it, gets from the commands that run jobs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from tests.builders import CLI, OUTPUT, Finished, ProjectFiles, child_environment, end_of, interrupt
from tests.conftest import StartEmulator

Slow = tuple[ProjectFiles, EmulatorServer]


@pytest.fixture
def slow(start_emulator: StartEmulator, tmp_path: Path) -> Slow:
    emulator = start_emulator(processing_time_s=3600)
    return ProjectFiles(tmp_path / "p", emulator), emulator


def wait_until(is_so: Callable[[], bool], timeout_s: float = 30) -> None:
    give_up = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.02)


def start_and_stop(slow: Slow, number: signal.Signals) -> Finished:
    project, emulator = slow
    process = project.start("run")
    wait_until(lambda: bool(emulator.received("batches.retrieve")))
    process.send_signal(number)
    return end_of(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interruption_says_what_is_in_flight_and_what_goes_on(slow: Slow, number: signal.Signals) -> None:
    project, emulator = slow
    stopped = start_and_stop(slow, number)
    assert stopped.exit_code == 130
    assert "3 requests in 1 batch are in flight; nothing was canceled" in stopped.stderr
    assert "batchforge collect --wait" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert emulator.received("batches.cancel") == []
    emulator.clock.advance(3600)
    assert project.cli("resume").exit_code == 0
    assert len(project.rows_of()) == 3
    assert emulator.counters().batches_created == 1


def test_an_interruption_before_anything_was_sent_says_so(start_emulator: StartEmulator, tmp_path: Path) -> None:
    from batchforge.emulator.scenario import Fault

    emulator = start_emulator(
        faults=(Fault(kind="status", on="batches.create", status=429, retry_after_s=60, times=None),)
    )
    project = ProjectFiles(tmp_path / "p", emulator)
    process = project.start("run")
    wait_until(lambda: bool(emulator.received("batches.create")))
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stopped = end_of(process)
    assert (stopped.exit_code, emulator.counters().batches_created) == (130, 0)
    assert "Nothing is in flight." in stopped.stderr


def test_pending_batches_end_with_exit_code_3(slow: Slow) -> None:
    project, _ = slow
    finished = project.cli("run", "--no-wait", "--output", "json")
    assert (finished.exit_code, finished.json()["status"], finished.json()["exit_code"]) == (3, "pending", 3)


def test_json_output_is_one_value_on_stdout_and_nothing_else(project: ProjectFiles) -> None:
    finished = project.cli("run", "--output", "json")
    summary = finished.json()
    assert (finished.exit_code, summary["exit_code"], summary["status"]) == (0, 0, "ok")
    (job,) = summary["jobs"]
    assert (job["job"], job["rows"], job["requests_sent"], job["output"]["path"]) == ("about", 3, 3, OUTPUT)
    assert job["output"]["statuses"] == {"answered": 3}
    assert "about: 3 rows: 3 to submit (3 new)" in finished.stderr


def test_quiet_says_nothing_but_the_result(project: ProjectFiles) -> None:
    finished = project.cli("run", "--quiet")
    assert finished.stderr == ""
    assert finished.stdout.startswith("about: 3 rows, 3 requests sent (3 new)\n")


def test_nothing_but_plain_lines_where_nobody_watches(project: ProjectFiles) -> None:
    finished = project.cli("run")
    assert "\x1b" not in finished.stdout + finished.stderr
    assert "\r" not in finished.stdout + finished.stderr


def test_control_characters_of_rows_never_reach_the_terminal(project: ProjectFiles) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202edlrow\x9b31m"
    project.write_rows([{"id": evil, "text": "One."}, {"id": "b", "text": ""}, {"id": f"{evil}{evil}", "text": ""}])
    for words in (("run",), ("run", "--sample", "2"), ("render", "about")):
        finished = project.cli(*words)
        shown = finished.stdout + finished.stderr
        assert not set(shown) & set("\x1b\x07\x9b\u202e"), words
    assert project.rows_of("outputs/answers.candidate.jsonl")[0]["id"] == evil


def test_control_characters_of_an_answer_to_our_post_never_reach_the_terminal(
    start_emulator: StartEmulator, tmp_path: Path
) -> None:
    from batchforge.emulator.scenario import Fault

    fault = Fault(kind="status", on="batches.create", status=400, message="\x1b[2Jno\x07")
    finished = ProjectFiles(tmp_path / "p", start_emulator(faults=(fault,))).cli("run")
    assert finished.exit_code == 2
    assert "BF604" in finished.stderr
    assert not set(finished.stdout + finished.stderr) & set("\x1b\x07")


def test_no_color_is_heeded_on_a_terminal(project: ProjectFiles) -> None:
    project.write_job(model="claude-haikku")
    with_color, without = (on_a_terminal(project, **env) for env in ({}, {"NO_COLOR": "1"}))
    assert "\x1b[" in with_color
    assert "\x1b[" not in without
    assert "claude-haikku" in without


def on_a_terminal(project: ProjectFiles, **env: str) -> str:
    """What `batchforge run` writes to a terminal."""
    outer, inner = pty.openpty()
    environment = {**child_environment(**env), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*CLI, "run"], cwd=project.root, env=environment, stdin=inner, stdout=inner, stderr=inner
    ) as process:
        os.close(inner)
        written = b""
        while select.select([outer], [], [], 30)[0]:
            try:
                piece = os.read(outer, 65536)
            except OSError:
                break
            written += piece
        process.wait(30)
    os.close(outer)
    return written.decode()


def test_a_refused_key_ends_with_what_to_check(tmp_path: Path) -> None:
    with EmulatorServer(tmp_path / "emulator.db", api_keys=frozenset({"another-key"})) as emulator:
        finished = ProjectFiles(tmp_path / "p", emulator).cli("run")
    assert finished.exit_code == 2
    assert "any-key" not in finished.stdout + finished.stderr
    assert "api_key" in finished.stderr


def test_a_server_that_cannot_be_reached_is_told_from_a_bug(project: ProjectFiles, emulator: EmulatorServer) -> None:
    emulator.stop()
    process = project.start("run")
    assert process.stderr is not None
    said = ""
    while "cannot connect" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    finished = interrupt(process)
    assert (finished.exit_code, finished.stdout) == (130, "")
    assert "Nothing is in flight." in finished.stderr


def test_two_runs_at_once_send_every_request_once(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows([f"Text number {n}." for n in range(200)])
    project.write_job(batch={"max_requests": 50})
    processes = [project.start("run") for _ in range(3)]
    ends = [end_of(process) for process in processes]
    assert [finished.exit_code for finished in ends] == [0, 0, 0], [finished.stderr for finished in ends]
    counted = emulator.counters()
    assert (counted.requests_billed, counted.custom_ids_billed_twice) == (200, 0)
    assert len(project.rows_of()) == 200


def test_runs_that_write_the_same_output_at_once_all_end_well(project: ProjectFiles) -> None:
    project.write_rows([f"Text number {n}." for n in range(400)])
    assert project.cli("run").exit_code == 0
    whole = (project.root / OUTPUT).read_bytes()
    for _ in range(3):
        (project.root / OUTPUT).unlink()
        ends = [end_of(process) for process in [project.start("run") for _ in range(4)]]
        assert [finished.exit_code for finished in ends] == [0] * 4, [finished.stderr for finished in ends]
        assert (project.root / OUTPUT).read_bytes() == whole
