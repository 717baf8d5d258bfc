"""A run is killed with SIGKILL at each of its calls that change a file or send bytes, and then run again until it is
done. The emulator outside of it counts: nothing is billed or submitted twice, no row is lost, and the output is that of
a run that nobody disturbed.

The short form kills before each call, but only at one in a series of writes to the state: they make one transaction.
The long form kills before, halfway and after each of all calls, and plays more random schedules of kills:

    BATCHFORGE_LONG_TESTS=1 python -m pytest tests/end_to_end/test_kill.py -s
    BATCHFORGE_SCHEDULES=10000 BATCHFORGE_SEED=7 python -m pytest tests/end_to_end/test_kill.py -s -k schedules
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from random import Random

import pytest

from tests.end_to_end.kill_bench import Bench, Benches, check, counts_of, open_benches, undisturbed
from tests.end_to_end.kill_launcher import AFTER, BEFORE, HALFWAY

IS_LONG = bool(os.environ.get("BATCHFORGE_LONG_TESTS"))
SCHEDULES = int(os.environ.get("BATCHFORGE_SCHEDULES", "1000" if IS_LONG else "8"))
SEED = int(os.environ.get("BATCHFORGE_SEED", "0"))
MOMENTS = (BEFORE, HALFWAY, AFTER) if IS_LONG else (BEFORE,)
KILLED = -9
SLICES = 2
"""The calls are dealt out to so many tests, which can run at the same time."""


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with open_benches(2) as opened:
        yield opened


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: ("before", "halfway", "after")[moment])
def test_a_run_that_is_killed_at_any_call_pays_once_and_loses_nothing(benches: Benches, moment: int, part: int) -> None:
    with benches.one() as bench:
        whole, expected = undisturbed(bench)

    def play(bench: Bench, kill_at: int) -> str:
        project = bench.fresh_project()
        killed = bench.launch(project, "run", kill_at=kill_at, moment=moment)
        assert (killed.exit_code, len(killed.calls)) == (KILLED, kill_at)
        bench.run_until_done(project)
        check(bench, project, expected, f"killed at call {kill_at} ({killed.calls[-1]}), moment {moment}")
        return killed.calls[-1]

    numbers = range(1, len(whole.calls) + 1) if IS_LONG else telling_calls(whole.calls)
    killed_at = benches.each(numbers[part::SLICES], play)
    print(f"{len(killed_at)} kills at one of {len(whole.calls)} calls: {counts_of(killed_at)}")


def telling_calls(calls: Sequence[str]) -> Sequence[int]:
    """The numbers of all calls, but of each series of writes to the state only one from its middle."""
    numbers: list[int] = []
    for name, group in groupby(enumerate(calls, 1), key=lambda call: call[1]):
        series = [number for number, _ in group]
        numbers += [series[len(series) // 2]] if name.startswith("pwrite") else series
    return numbers


def test_random_schedules_of_kills_pay_once_and_lose_nothing(benches: Benches) -> None:
    """Runs are killed again and again, by chance, until one gets through."""
    with benches.one() as bench:
        whole, expected = undisturbed(bench)

    def play(bench: Bench, seed: int) -> int:
        chance = Random(seed)
        project = bench.fresh_project()
        kills = 0
        while kills < 8:
            kill_at, moment = chance.randint(1, len(whole.calls)), chance.choice((BEFORE, HALFWAY, AFTER))
            if bench.launch(project, "run", kill_at=kill_at, moment=moment).exit_code != KILLED:
                break
            kills += 1
        bench.run_until_done(project)
        check(bench, project, expected, f"schedule {seed}")
        return kills

    kills = benches.each(range(SEED, SEED + SCHEDULES), play)
    print(f"{len(kills)} schedules from seed {SEED}, {sum(kills)} kills: 0 lost, 0 paid twice")
