"""A disk that is full, a sync that fails, a state that is damaged: it is named, nothing that was paid is lost, and
nothing is paid again. `BATCHFORGE_LONG_TESTS=1` lets the disk fail at each call instead of at some."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from batchforge import pipeline
from batchforge.errors import StateError
from tests.builders import OUTPUT, TREE, ProjectFiles
from tests.conftest import StartEmulator
from tests.end_to_end.kill_bench import Bench, Benches, Ended, check, open_benches, undisturbed

IS_LONG = bool(os.environ.get("BATCHFORGE_LONG_TESTS"))
SOME = 8


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with open_benches(2, "disk_shim") as opened:
        yield opened


def numbers(count: int) -> Sequence[int]:
    """Of the calls at which the disk is to fail."""
    step = 1 if IS_LONG else max(1, count // SOME)
    return range(1, count + 1, step)


def disk_calls(benches: Benches, error: int) -> int:
    with benches.one() as bench:
        project = bench.fresh_project()
        return bench.launch(project, "run", fails_at=0, error=error, is_for_good=False).disk_calls


def assert_named(bench: Bench, ended: Ended, said: str, codes: Sequence[str], trial: str) -> None:
    assert ended.exit_code in {0, 2}, f"{trial}: exit code {ended.exit_code}\n{said}"
    assert ended.exit_code == 0 or any(code in said for code in codes), f"{trial}: not named\n{said}"


@pytest.mark.parametrize("is_for_good", [False, True], ids=["for a moment", "for good"])
def test_a_disk_that_is_full_at_any_write_costs_nothing(benches: Benches, is_for_good: bool) -> None:
    with benches.one() as bench:
        _, expected = undisturbed(bench)

    def play(bench: Bench, fails_at: int) -> int:
        trial = f"full at write {fails_at}"
        project = bench.fresh_project()
        ended = bench.launch(project, "run", fails_at=fails_at, error=errno.ENOSPC, is_for_good=is_for_good)
        assert_named(bench, ended, project.path("said.txt").read_text(), ["BF504", "BF701"], trial)
        bench.run_until_done(project)
        check(bench, project, expected, trial)
        return ended.exit_code

    exit_codes = benches.each(numbers(disk_calls(benches, errno.ENOSPC)), play)
    assert exit_codes.count(2) > len(exit_codes) / 2


@pytest.mark.parametrize("is_for_good", [False, True], ids=["for a moment", "for good"])
def test_a_sync_that_fails_costs_nothing(benches: Benches, is_for_good: bool) -> None:
    with benches.one() as bench:
        _, expected = undisturbed(bench)

    def play(bench: Bench, fails_at: int) -> int:
        trial = f"sync {fails_at} fails"
        project = bench.fresh_project()
        ended = bench.launch(project, "run", fails_at=fails_at, error=errno.EIO, is_for_good=is_for_good)
        assert_named(bench, ended, project.path("said.txt").read_text(), ["BF508", "BF701"], trial)
        bench.run_until_done(project)
        check(bench, project, expected, trial)
        return ended.exit_code

    exit_codes = benches.each(numbers(disk_calls(benches, errno.EIO)), play)
    assert exit_codes.count(2) > len(exit_codes) / 2


FREE_KIB = (0, 100, 180, 220, 260, 300, 400, 600)


@contextmanager
def small_disk(place: Path, size_kib: int) -> Iterator[Path]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def may_mount(test: str) -> bool:
    """Whoever is not root is so in a namespace of their own: the test is played there instead."""
    if os.geteuid() == 0:
        return True
    within = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "pytest", __file__, "-k", test]
    subprocess.run(within, cwd=TREE, check=True)
    return False


@pytest.mark.parametrize("command", ["run", "collect"])
def test_a_small_disk_that_fills_up_loses_nothing_that_was_paid(
    tmp_path: Path, start_emulator: StartEmulator, command: str
) -> None:
    if not may_mount(f"small_disk and {command}"):
        return
    refused = 0
    for free_kib in FREE_KIB:
        emulator = start_emulator()
        with small_disk(tmp_path / f"disk-{free_kib}", 1_800) as disk:
            project = ProjectFiles(disk / "project", emulator)
            if command == "collect":
                project.run(wait=False)
            with filled(disk, free_kib):
                refused += not _ends_well(project, command)
            assert project.run().exit_code == 0
            assert [row["_status"] for row in project.rows_of()] == ["answered"] * 3
        assert_paid_once(project)
    assert 0 < refused < len(FREE_KIB)


def _ends_well(project: ProjectFiles, command: str) -> bool:
    """In a process of its own: what it holds of the state goes with it, where it could not be given back."""
    finished = project.cli(command)
    return finished.exit_code == 0 or not any(code in finished.stderr for code in ("BF504", "BF701"))


@contextmanager
def filled(disk: Path, free_kib: int) -> Iterator[None]:
    """All but so much of it."""
    room, filler = os.statvfs(disk), disk / "filler"
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - free_kib * 1024)))
    try:
        yield
    finally:
        filler.unlink()


# ---- damage


@pytest.fixture
def paid(project: ProjectFiles) -> ProjectFiles:
    """A project whose rows are answered and paid."""
    assert project.run().exit_code == 0
    return project


def state_file(project: ProjectFiles) -> Path:
    (path,) = project.path(".batchforge").glob("state-*.db")
    return path


def assert_paid_once(project: ProjectFiles) -> None:
    assert project.emulator is not None
    counted = project.emulator.counters()
    assert (counted.batches_created, counted.requests_billed, counted.custom_ids_billed_twice) == (1, 3, 0)


PAGE = 4096
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut within a page": lambda data: data[: PAGE * 5 + 100],
    "cut within the header": lambda data: data[:60],
    "noise all over": lambda data: Random(1).randbytes(len(data)),
    "noise in the header": lambda data: Random(2).randbytes(200) + data[200:],
    "noise after the first page": lambda data: data[:PAGE] + Random(3).randbytes(len(data) - PAGE),
    "zeros all over": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_named_and_recovered_from_the_api(
    paid: ProjectFiles, damage: Callable[[bytes], bytes]
) -> None:
    path, output = state_file(paid), paid.path(OUTPUT).read_bytes()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StateError) as refused:
        paid.run()
    (problem,) = refused.value.problems
    assert (problem.code, "state recover" in problem.hint) == ("BF503", True)
    assert_paid_once(paid)
    path.rename(path.with_suffix(".damaged"))
    for log in path.parent.glob(f"{path.name}-*"):
        log.unlink()
    project, _, target = paid.load()
    assert pipeline.recover_batches(project, target).answers == 3
    paid.path(OUTPUT).unlink()
    again = paid.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (0, 0)
    assert paid.path(OUTPUT).read_bytes() == output
    assert_paid_once(paid)


def test_noise_on_any_page_is_named_or_does_no_harm(paid: ProjectFiles) -> None:
    path, output = state_file(paid), paid.path(OUTPUT).read_bytes()
    whole = path.read_bytes()
    named = 0
    for number in range(len(whole) // PAGE):
        start = number * PAGE
        path.write_bytes(whole[:start] + Random(number).randbytes(PAGE) + whole[start + PAGE :])
        paid.path(OUTPUT).unlink(missing_ok=True)
        try:
            assert paid.run().exit_code == 0
        except StateError as exc:
            named += exc.problems[0].code == "BF503"
        else:
            assert paid.path(OUTPUT).read_bytes() == output, f"page {number}"
        assert_paid_once(paid)
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()
    assert named > 10


def test_a_damaged_state_is_rebuilt_from_an_export_once_the_api_has_nothing_left(paid: ProjectFiles) -> None:
    export = paid.cli("state", "export").stdout
    output = paid.path(OUTPUT).read_bytes()
    assert paid.emulator is not None
    paid.emulator.clock.advance(40 * 24 * 3600)
    path = state_file(paid)
    path.write_bytes(Random(4).randbytes(path.stat().st_size))
    path.rename(path.with_suffix(".damaged"))
    paid.write("export.jsonl", export)
    assert paid.cli("state", "import", "export.jsonl").stdout == "Read 3 answers, 3 of them new.\n"
    assert paid.cli("state", "import", "export.jsonl").stdout == "Read 3 answers, 0 of them new.\n"
    paid.path(OUTPUT).unlink()
    again = paid.run()
    assert (again.exit_code, again.jobs[0].requests_sent) == (0, 0)
    assert [row["answer"] for row in paid.rows_of()] == [json.loads(line)["answer"] for line in output.splitlines()]
    assert_paid_once(paid)


def test_a_state_that_may_not_be_written_is_named(tmp_path: Path, start_emulator: StartEmulator) -> None:
    if not may_mount("may_not_be_written"):
        return
    emulator = start_emulator()
    with small_disk(tmp_path / "disk", 4_000) as disk:
        project = ProjectFiles(disk / "project", emulator)
        assert project.run().exit_code == 0
        project.write_rows(["A new text."])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refused = project.cli("run", "-q")
        assert (refused.exit_code, "BF505" in refused.stderr) == (2, True), refused.stderr
        assert project.cli("status").exit_code == 0
        assert project.cli("state", "show").exit_code == 0
    assert_paid_once(project)
