"""A terminal that is closed while a run waits in it, and memory that ends: nothing is lost, nothing paid twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from tests.builders import CLI, ProjectFiles, child_environment, end_of
from tests.conftest import StartEmulator

HOUR_S = 3600.0


@contextmanager
def in_a_terminal(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, whose controlling terminal it is, and the terminal's other end."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*CLI, *words],
        cwd=folder,
        env=child_environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def slow(tmp_path: Path, start_emulator: StartEmulator) -> tuple[ProjectFiles, EmulatorServer]:
    emulator = start_emulator(processing_time_s=HOUR_S)
    return ProjectFiles(tmp_path / "p", emulator), emulator


@pytest.mark.parametrize("command", [("run",), ("run", "-q"), ("run", "--log-format", "json")])
def test_a_terminal_that_is_closed_ends_the_run_and_leaves_its_batch_to_be_collected(
    slow: tuple[ProjectFiles, EmulatorServer], command: tuple[str, ...]
) -> None:
    project, emulator = slow
    with in_a_terminal(project.root, *command) as (process, terminal):
        _wait_until(lambda: len(emulator.received("batches.retrieve")) > 0)
        os.close(terminal)
        assert process.wait(timeout=20) == 130
    with project.state() as state:
        assert [run.status for run in state.runs(1)] == ["interrupted"]
    emulator.clock.advance(HOUR_S + 1)
    assert project.cli("collect").exit_code == 0
    assert emulator.counters().batches_created == 1
    assert [row["_status"] for row in project.rows_of()] == ["answered"] * 3


def test_a_hang_up_is_ignored_where_nohup_says_so(slow: tuple[ProjectFiles, EmulatorServer]) -> None:
    project, emulator = slow
    process = subprocess.Popen(
        ["nohup", *CLI, "run", "-q"],
        cwd=project.root,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(lambda: len(emulator.received("batches.retrieve")) > 0)
    process.send_signal(signal.SIGHUP)
    emulator.clock.advance(HOUR_S + 1)
    ended = end_of(process)
    assert ended.exit_code == 0, ended.stderr


# ---- no memory


LIMITED = """
import resource, sys
from pathlib import Path
from batchforge import Project

def limit(event):
    if event.name.value == sys.argv[2]:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

Project(sys.argv[1]).run(listen=limit)
"""
"""A run that gets no more memory from a certain event on."""


@pytest.mark.parametrize(
    ("event", "spare_bytes"),
    [("job_planned", 0), ("batch_submitted", 0), ("batch_submitted", 1_500_000), ("results_stored", 300_000)],
)
def test_memory_that_ends_at_any_step_costs_nothing_twice(
    tmp_path: Path, start_emulator: StartEmulator, event: str, spare_bytes: int
) -> None:
    emulator = start_emulator()
    project = ProjectFiles(tmp_path / "p", emulator)
    project.write_rows(["word " * 1_000 + str(n) for n in range(200)])
    project.write_job(batch={"max_requests": 100})
    with suppress(subprocess.TimeoutExpired):  # a thread that found no memory to start may be waited for for ever
        subprocess.run(
            [sys.executable, "-c", LIMITED, project.root, event, str(spare_bytes)],
            env=child_environment(),
            capture_output=True,
            check=False,
            timeout=5,
        )
    again = project.cli("run")
    assert again.exit_code == 0, again.stderr
    counted = emulator.counters()
    assert (counted.requests_billed, counted.custom_ids_billed_twice) == (200, 0)
    assert len(project.rows_of()) == 200


def test_a_command_without_memory_says_so(project: ProjectFiles) -> None:
    project.write_rows(["word " * 2_000_000])
    code = (
        "import resource, batchforge.pipeline; from pathlib import Path; from batchforge.cli import main; "
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() + 20_000_000; "
        "resource.setrlimit(resource.RLIMIT_AS, (size, size)); main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "compile"],
        cwd=project.root,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "BF511 there is not enough memory" in ended.stderr
    assert "Traceback" not in ended.stderr
