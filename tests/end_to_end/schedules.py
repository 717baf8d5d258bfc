"""Random schedules of everything that can go wrong, played with the real command line until runs have nothing to do.

    python -m tests.end_to_end.schedules --count 10000 --seed 1
    python -m tests.end_to_end.schedules --seed 1 --index 4711
    python -m tests.end_to_end.schedules --only cuts --count 5000 --seed 1

Each schedule is drawn from its seed and index: kills, faults on the wire, what others do in the workspace, days that
pass. The emulator counts what was billed. Prints the counts, and each failure with what replays it; ends with 1 if a
request was lost or paid twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from tests.builders import TREE, child_environment
from tests.end_to_end.kill_bench import MEMORY, build_shim


class Player:
    """A process that plays schedules, one after the other."""

    def __init__(self, folder: Path, shims: Sequence[Path]) -> None:
        folder.mkdir()
        clock = folder / "clock"
        clock.write_bytes(bytes(8))
        env = child_environment(LD_PRELOAD=":".join(map(str, shims)), CLOCK_SHIM_FILE=str(clock))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.schedule_bench", folder / "bench"],
            cwd=TREE,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, kind: str, seed: int, index: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind} {seed} {index}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the player of --seed {seed} --index {index} ended"
        played: dict[str, Any] = json.loads(line)
        return played

    def close(self) -> None:
        self._process.communicate(timeout=30)


@contextmanager
def open_players(count: int) -> Iterator[list[Player]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)))
        shims = [build_shim(folder, name) for name in ("kill_shim", "clock_shim")]
        players = [Player(folder / str(number), shims) for number in range(count)]
        for player in players:
            stack.callback(player.close)
        yield players


def play_all(players: Sequence[Player], kind: str, seed: int, indexes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """In the order of the indexes."""
    free: SimpleQueue[Player] = SimpleQueue()
    for player in players:
        free.put(player)
    is_over = threading.Event()

    def play(index: int) -> dict[str, Any] | None:
        if is_over.is_set():
            return None
        player = free.get()
        try:
            return player.play(kind, seed, index)
        finally:
            free.put(player)

    with ThreadPoolExecutor(len(players)) as pool:
        try:
            yield from (played for played in pool.map(play, indexes) if played is not None)
        finally:
            is_over.set()


def has_failed(played: dict[str, Any]) -> bool:
    return bool(played["lost"] or played["paid_twice"] or played["problem"])


def describe(played: dict[str, Any]) -> str:
    """A failure, and what replays it."""
    what = f"lost: {played['lost']}, paid twice: {played['paid_twice']}, {played['problem']}"
    return f"{played['name']}: {what}\n{played['said']}"


class Totals:
    def __init__(self) -> None:
        self.sums = dict.fromkeys(("runs", "kills", "faults", "cuts", "batches", "paid", "paid_twice"), 0)
        self.count = self.lost = self.problems = 0

    def add(self, played: dict[str, Any]) -> None:
        self.count += 1
        self.lost += len(played["lost"])
        self.problems += bool(played["problem"])
        for name in self.sums:
            self.sums[name] += played[name]

    def __str__(self) -> str:
        sums = self.sums
        return (
            f"{self.count:,} schedules: {sums['runs']:,} runs, {sums['kills']:,} kills, {sums['faults']:,} faults of "
            f"the server, {sums['cuts']:,} connections cut; {sums['batches']:,} batches, {sums['paid']:,} requests "
            f"paid; {self.lost} lost, {sums['paid_twice']} paid twice, {self.problems} other problems"
        )


def play_some(players: Sequence[Player], kind: str, seed: int, count: int) -> tuple[Totals, list[str]]:
    """The counts, and what failed."""
    totals, failures = Totals(), []
    for played in play_all(players, kind, seed, range(count)):
        totals.add(played)
        failures += [describe(played)] if has_failed(played) else []
    print(totals)
    return totals, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", dest="kind", choices=["cuts"], default="all", help="only connections that are cut")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="the index to begin with")
    parser.add_argument("--index", type=int, help="only this one, with all that was said")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    indexes = range(given.first, given.first + given.count) if given.index is None else [given.index]
    totals, failed, began = Totals(), 0, time.monotonic()
    with open_players(min(given.workers, len(indexes))) as players:
        for played in play_all(players, given.kind, given.seed, indexes):
            totals.add(played)
            failed += has_failed(played)
            if has_failed(played) or given.index is not None:
                print(describe(played), flush=True)
            if totals.count % 100 == 0:
                print(f"seed {given.seed}, {time.monotonic() - began:,.0f} s: {totals}", flush=True)
    print(f"seed {given.seed}, {time.monotonic() - began:,.0f} s: {totals}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
