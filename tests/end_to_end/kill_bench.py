"""A place for trials: an emulator that counts, a launcher that kills, and a project that starts afresh each time."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from tests.builders import OUTPUT, ProjectFiles, child_environment

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")
"""A killed process leaves the same behind in a file system in memory, and its fsyncs cost nothing."""
TEXTS = ("A red bicycle.", "A blue boat.", "A green train.", "A white plane.", "A black car.")
BATCHES = 2
MOST_RERUNS = 6

Script = Callable[[Any, str | None], Any]
"""(params, custom_id) -> what the emulator answers."""
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that was launched. `exit_code` is -9 where it was killed."""

    exit_code: int
    calls: Sequence[str]
    """Those that change a file or send bytes; the last one of a killed run is that at which it was killed."""
    disk_calls: int
    """Those of the kind that disk_shim.c lets fail, where it is there."""


class Launcher:
    """A process that runs the command line in children (kill_launcher.py)."""

    def __init__(self, **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "kill_launcher.py"],
            # The emulator speaks plain HTTP: to read all certificates of the machine takes half as long as a run.
            env=child_environment(SSL_CERT_DIR=str(HERE), **env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def launch(self, folder: Path, words: Sequence[str], **order: Any) -> Ended:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "words": words, **order}) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._answer()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Bench:
    def __init__(self, folder: Path, shims: Sequence[Path], script: Script | None = None) -> None:
        self.folder = folder
        scenario = Scenario(processing_time_s=0, retry_after_s=None)
        answers = ScriptAnswers(script, RuleAnswers()) if script else RuleAnswers()
        self.emulator = EmulatorServer(folder / "emulator.db", scenario=scenario, answers=answers).start()
        self._launcher = Launcher(LD_PRELOAD=":".join(map(str, shims)))

    def close(self) -> None:
        self._launcher.close()
        self.emulator.stop()

    def fresh_project(self) -> ProjectFiles:
        """As if nothing had ever been run."""
        request = urllib.request.Request(f"{self.emulator.base_url}/emulator/reset", data=b"{}", method="POST")
        with urllib.request.urlopen(request) as answer:
            answer.read()
        root = self.folder / "project"
        shutil.rmtree(root, ignore_errors=True)
        project = ProjectFiles(root, self.emulator, timeout_s=1.4, settle_after_s=1.5, poll_interval_s=0.01)
        project.write_rows(TEXTS)
        project.write_job(batch={"max_requests": 3})
        return project

    def launch(self, project: ProjectFiles, *words: str, kill_at: int = 0, moment: int = 0, **order: Any) -> Ended:
        return self._launcher.launch(project.root, words, kill_at=kill_at, moment=moment, **order)

    def run_until_done(self, project: ProjectFiles) -> int:
        """Runs again until a run ends well; returns how many it took."""
        for count in range(1, MOST_RERUNS + 1):
            if self.launch(project, "run").exit_code == 0:
                return count
        said = project.path("said.txt").read_text()
        raise AssertionError(f"not done after {MOST_RERUNS} runs:\n{said[-4000:]}")


def undisturbed(bench: Bench) -> tuple[Ended, bytes]:
    project = bench.fresh_project()
    ended = bench.launch(project, "run")
    assert ended.exit_code == 0, project.path("said.txt").read_text()
    return ended, project.path(OUTPUT).read_bytes()


def check(bench: Bench, project: ProjectFiles, expected: bytes, trial: object) -> None:
    """What the emulator counted, and what the user has."""
    counted = bench.emulator.counters()
    said = project.path("said.txt").read_text()
    found = (
        counted.custom_ids_billed_twice,
        counted.custom_ids_submitted_twice,
        counted.requests_accepted,
        counted.batches_created,
    )
    assert found == (0, 0, len(TEXTS), BATCHES), f"{trial}: {found}\n{said[-4000:]}"
    assert project.path(OUTPUT).read_bytes() == expected, f"{trial}: the output differs\n{said[-4000:]}"
    left = sorted(path.name for path in project.path("outputs").iterdir())
    assert left == ["answers.jsonl"], f"{trial}: left behind: {left}"
    assert list(project.path(".batchforge/spool").iterdir()) == [], f"{trial}: a body was left behind"


def build_shim(folder: Path, name: str = "kill_shim") -> Path:
    shim = folder / f"{name}.so"
    source = HERE / f"{name}.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, source, "-ldl"], check=True)
    return shim


class Benches:
    """Several benches, so that the waits of some trials are filled by others."""

    def __init__(self, benches: Sequence[Bench]) -> None:
        self._count = len(benches)
        self._free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
        for bench in benches:
            self._free.put(bench)

    @contextmanager
    def one(self) -> Iterator[Bench]:
        bench = self._free.get()
        try:
            yield bench
        finally:
            self._free.put(bench)

    def each(self, trials: Iterable[T], play: Callable[[Bench, T], U]) -> list[U]:
        """Plays all trials; the first failure ends it."""
        has_failed = threading.Event()

        def on_a_bench(trial: T) -> list[U]:
            if has_failed.is_set():
                return []
            with self.one() as bench:
                try:
                    return [play(bench, trial)]
                except BaseException:
                    has_failed.set()
                    raise

        with ThreadPoolExecutor(self._count) as pool:
            return [found for result in pool.map(on_a_bench, trials) for found in result]


@contextmanager
def open_benches(count: int, *more_shims: str, script: Script | None = None) -> Iterator[Benches]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)))
        shims = [build_shim(folder, name) for name in ("kill_shim", *more_shims)]
        benches = []
        for number in range(count):
            (folder / str(number)).mkdir()
            bench = Bench(folder / str(number), shims, script)
            stack.callback(bench.close)
            benches.append(bench)
        yield Benches(benches)


def counts_of(values: Iterable[Any]) -> str:
    """`write 12, fsync 3`, for the report."""
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
