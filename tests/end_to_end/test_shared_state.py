"""One state, several machines: submitted on one and collected on another, and several at once that are killed.

A machine is a folder with a copy of the project; nothing but the address of the state is shared. The long form plays
more random schedules of kills:

    BATCHFORGE_SCHEDULES=200 BATCHFORGE_SEED=7 python -m pytest tests/end_to_end/test_shared_state.py -s -k killed
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.state.holders import this_holder_in_words
from batchforge.state.stores import Opening, open_state
from tests.builders import OUTPUT, ProjectFiles, end_of
from tests.conftest import StartEmulator
from tests.end_to_end.kill_bench import MEMORY, TEXTS, Launcher, build_shim
from tests.end_to_end.kill_launcher import AFTER, BEFORE, HALFWAY
from tests.s3_server import SECRET

SCHEDULES = int(os.environ.get("BATCHFORGE_SCHEDULES", "1"))
SEED = int(os.environ.get("BATCHFORGE_SEED", "0"))
MOST_ROUNDS = 12
CALLS = 400
"""A run has about so many calls at which it can be killed."""
QUICK_TIMES = {"timeout_s": 1.4, "settle_after_s": 1.5, "poll_interval_s": 0.01}


@pytest.fixture
def shared(state_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address as a project's file may hold it."""
    password = urlsplit(state_url).password
    if not password:
        return state_url
    monkeypatch.setenv("STATE_PASSWORD", password)
    return state_url.replace(f":{password}@", ":{{ env_var('STATE_PASSWORD') }}@")


def copy_of(root: Path, emulator: EmulatorServer, state_url: str) -> ProjectFiles:
    """The project as one machine has it."""
    project = ProjectFiles(root, emulator, state=state_url, **QUICK_TIMES)
    project.write_rows(TEXTS)
    project.write_job(batch={"max_requests": 3})
    return project


def test_what_was_submitted_here_is_collected_there(shared: str, tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator()
    undisturbed = copy_of(tmp_path / "alone", start_emulator(), f"sqlite:///{tmp_path}/alone.db")
    assert undisturbed.cli("run").exit_code == 0

    here, there = (copy_of(tmp_path / name, emulator, shared) for name in ("here", "there"))
    submitted = here.cli("run", "--no-wait")
    assert submitted.exit_code in (0, 3), submitted.stderr
    shutil.rmtree(here.root)
    collected = there.cli("collect", "--wait")
    assert collected.exit_code == 0, collected.stderr
    assert there.path(OUTPUT).read_bytes() == undisturbed.path(OUTPUT).read_bytes()
    again = there.cli("run")
    assert again.exit_code == 0, again.stderr
    assert emulator.counters().requests_accepted == len(TEXTS)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in submitted.stderr + collected.stderr + again.stderr


def test_a_batch_of_a_day_is_collected_by_the_job_of_the_next_morning(
    shared: str, tmp_path: Path, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator(processing_time_s=23.5 * 3600)
    evening, night, morning = (copy_of(tmp_path / name, emulator, shared) for name in ("evening", "night", "morning"))
    assert evening.cli("run", "--no-wait").exit_code == 3
    emulator.clock.advance(5 * 3600)
    waiting = night.cli("collect", "--output", "json")
    assert (waiting.exit_code, waiting.json()["status"]) == (3, "pending")
    emulator.clock.advance(19 * 3600)
    assert morning.cli("collect").exit_code == 0
    assert len(morning.rows_of()) == len(TEXTS)
    assert emulator.counters().requests_accepted == len(TEXTS)


def test_who_comes_second_waits_or_ends_with_4_and_changes_nothing(
    shared: str, state_url: str, tmp_path: Path, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator()
    second = copy_of(tmp_path / "second", emulator, shared)
    with closing(open_state(state_url, Opening(folder=tmp_path / "first"))) as state:
        lease = state.take_lease("submit", "submitting about", this_holder_in_words(), 60.0)
        said = second.cli("run", "--lock-timeout", "0s")
        assert (said.exit_code, "BF513" in said.stderr) == (4, True)
        assert emulator.counters().batches_created == 0
        waiting = second.start("run", "--lock-timeout", "60s")
        time.sleep(1.5)
        assert waiting.poll() is None
        state.give_back(lease)
    assert end_of(waiting).exit_code == 0
    assert emulator.counters().requests_accepted == len(TEXTS)


class Machines:
    """Several machines at once on a state, and an emulator that counts what they pay."""

    def __init__(self, folder: Path, emulator: EmulatorServer, launchers: Sequence[Launcher]) -> None:
        self._folder, self._emulator, self._launchers = folder, emulator, launchers

    def play(self, state_url: str, seed: int) -> int:
        """A schedule of kills, until each machine has got through; returns how many were killed."""
        chance = Random(seed)
        projects = [
            copy_of(self._folder / f"{seed}-{number}", self._emulator, state_url)
            for number in range(len(self._launchers))
        ]
        kills, left = 0, set(range(len(projects)))
        for round_number in range(MOST_ROUNDS):
            orders = {
                number: (chance.randint(1, CALLS) if round_number < 4 else 0, chance.choice((BEFORE, HALFWAY, AFTER)))
                for number in sorted(left)
            }
            for number, code in self._launch_all(projects, orders):
                kills += code == -9
                left -= {number} if code == 0 else set()
            if not left:
                break
        said = "".join(project.path("said.txt").read_text()[-3000:] for project in projects)
        assert not left, f"schedule {seed} is not done after {MOST_ROUNDS} rounds:\n{said}"
        self._check(projects, seed, said)
        return kills

    def _launch_all(
        self, projects: Sequence[ProjectFiles], orders: Mapping[int, tuple[int, int]]
    ) -> Iterator[tuple[int, int]]:
        """At once; the number of each machine, and how its run ended."""

        def launch(number: int) -> int:
            kill_at, moment = orders[number]
            return (
                self._launchers[number].launch(projects[number].root, ["run"], kill_at=kill_at, moment=moment).exit_code
            )

        with ThreadPoolExecutor(len(projects)) as pool:
            yield from zip(orders, pool.map(launch, orders), strict=True)

    def _check(self, projects: Sequence[ProjectFiles], seed: int, said: str) -> None:
        counted = self._emulator.counters()
        found = (
            counted.custom_ids_billed_twice,
            counted.custom_ids_submitted_twice,
            counted.requests_accepted,
        )
        assert found == (0, 0, len(TEXTS)), f"schedule {seed}: {found}\n{said}"
        outputs = {project.path(OUTPUT).read_bytes() for project in projects}
        assert len(outputs) == 1, f"schedule {seed}: the outputs differ\n{said}"
        assert len(outputs.pop().splitlines()) == len(TEXTS)


@contextmanager
def machines(count: int) -> Iterator[Callable[[], Machines]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)))
        shim = build_shim(folder)
        launchers = [Launcher(LD_PRELOAD=str(shim)) for _ in range(count)]
        for launcher in launchers:
            stack.callback(launcher.close)

        def afresh() -> Machines:
            scenario = Scenario(processing_time_s=0, retry_after_s=None)
            emulator = stack.enter_context(EmulatorServer(folder / f"{uuid4().hex}.db", scenario=scenario))
            return Machines(folder, emulator, launchers)

        yield afresh


@pytest.mark.parametrize("count", [2, 4])
def test_machines_that_are_killed_at_once_pay_once_and_lose_nothing(shared: str, count: int) -> None:
    with machines(count) as afresh:
        kills = [afresh().play(f"{shared}_{seed}", seed) for seed in range(SEED, SEED + SCHEDULES)]
    print(f"{len(kills)} schedules from seed {SEED} on {count} machines, {sum(kills)} kills: 0 lost, 0 paid twice")
