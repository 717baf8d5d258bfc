"""A disk that is full, a sync that fails, a state that is damaged: it is named, nothing that was paid is lost, and
nothing is paid again. `BATCHFORGE_LONG_TESTS=1` lets the disk fail at each call instead of at some."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

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
