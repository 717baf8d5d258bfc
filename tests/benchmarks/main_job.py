"""The main job beside the loop that it replaces, and beside the least that it can take.

    python tests/benchmarks/main_job.py [--rows 100000] [--prompt 12k|short] [--rounds 3] [--of-ours run again]

All send the same rows to the same server on this machine, each as a process of its own, in turns:

    floor    the ready-made bytes out by sendfile, the results in as they are
    run      `batchforge run` from CSV to JSONL on an empty state
    naive    a loop around the official SDK: everything in one list, batches cut by hand
    again    `batchforge run` when nothing has changed
    plan     `batchforge plan` when nothing has changed
    rewritten  the same rows, written anew
    one row  `batchforge run` when one row has changed
    collect  `batchforge collect` of what `batchforge run --no-wait` had submitted

Seconds are those of this machine and of what else it does; the ratios are what travels.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = (sys.executable, "-c", "from batchforge.cli import main; main()")
OF_OURS = ("again", "plan", "rewritten", "one row", "collect")
PROJECT = """\
name: measured
version: 1
default_target: canned
targets:
  canned: {{type: claude, base_url: "http://127.0.0.1:{port}", api_key: none}}
"""
JOB = """\
model: claude-haiku-5-5
max_tokens: 400
input: {{file: rows.{ending}, key: id{types}}}
system: {{file: prompts/system.md}}
user: {{file: prompts/message.md.j2}}
output: {{columns: [id], file: outputs/answers.{output}}}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took, children that it waited for included."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class Bench:
    folder: Path
    rows: int
    port: int
    output: str
    ending: str
    of_ours: Sequence[str] = OF_OURS
    """What is measured of ours besides a run on an empty state."""
    state_mb: float = 0.0
    """Size of the state after that run."""
    batches: int = 0
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def measure(self, name: str, *command: str, exit_code: int = 0) -> None:
        started = time.perf_counter()
        log = self.folder / "log.txt"
        with log.open("wb") as sink:
            process = subprocess.Popen(command, cwd=self._cwd(command), stdout=sink, stderr=sink, env=_environment())
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            raise SystemExit(f"{name} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        cost = Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        self.costs.setdefault(name, []).append(cost)

    def _cwd(self, command: Sequence[str]) -> Path:
        return self.project if command[:3] == OURS else ROOT

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def input(self) -> Path:
        return self.project / f"rows.{self.ending}"

    def prepare(self, prompt: str) -> None:
        (self.project / "prompts").mkdir(parents=True)
        (self.project / "jobs").mkdir()
        _module("sample_rows", "prompt", str(self.project / "prompts/system.md"), prompt)
        shutil.copy(Path(__file__).with_name("prompt.md.j2"), self.project / "prompts/message.md.j2")
        (self.project / "batchforge.yml").write_text(PROJECT.format(port=self.port))
        self._write_job()
        _module("sample_rows", "rows", str(self.folder / "rows.csv"), str(self.rows))

    def prepare_floor(self) -> None:
        (self.folder / "bodies").mkdir()
        system = str(self.project / "prompts/system.md")
        _module("floor", "prepare", str(self.folder / "rows.csv"), system, str(self.folder / "bodies"))

    def floor(self) -> None:
        module = (sys.executable, "-m", "tests.benchmarks.floor", "run")
        self.measure("floor", *module, str(self.port), str(self.folder / "bodies"))

    def naive(self) -> None:
        module = (sys.executable, "-m", "tests.benchmarks.naive_loop")
        system, out = self.project / "prompts/system.md", self.folder / "naive.jsonl"
        self.measure("naive", *module, str(self.folder / "rows.csv"), str(system), str(self.port), str(out))
        out.unlink()

    def ours(self) -> None:
        run = (*OURS, "run", "--yes", "--quiet")
        self._empty()
        self.measure("run", *run)
        # Not read: a process inherits the peak of the one that starts it.
        assert (self.project / f"outputs/answers.{self.output}").stat().st_size > self.rows
        self._look_at_state()
        if "again" in self.of_ours:
            self.measure("again", *run)
        if "plan" in self.of_ours:
            self.measure("plan", *OURS, "plan")
        if "rewritten" in self.of_ours:
            self._write_rows()
            self.measure("rewritten", *run)
        if "one row" in self.of_ours:
            self._write_rows(changed_row=self.rows // 2)
            self.measure("one row", *run)
        if "collect" in self.of_ours:
            self._empty()
            # With an answer there already, no canary is sent ahead of the others.
            self.measure("first row", *run, "--limit", "1")
            self.measure("submit", *run, "--no-wait", exit_code=3)
            self.measure("collect", *OURS, "collect", "--quiet")

    def _look_at_state(self) -> None:
        file = next(self.project.glob(".batchforge/*.db"))
        self.state_mb = file.stat().st_size / 1e6
        with closing(sqlite3.connect(file)) as state:
            self.batches = state.execute("SELECT count(*) FROM batches").fetchone()[0]

    def _write_job(self) -> None:
        types = ", types: {rating: integer}" if self.ending == "csv" else ""
        job = JOB.format(ending=self.ending, types=types, output=self.output)
        (self.project / "jobs/sort_messages.yml").write_text(job)

    def _empty(self) -> None:
        for name in (".batchforge", "target", "outputs"):
            shutil.rmtree(self.project / name, ignore_errors=True)
        self._write_rows()

    def _write_rows(self, changed_row: int = -1) -> None:
        _module("sample_rows", "rows", str(self.input), str(self.rows), str(changed_row))


def _module(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *arguments], check=True, cwd=ROOT)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@contextmanager
def _server() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.benchmarks.canned_server"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def report(bench: Bench, prompt: str) -> None:
    size_mb = sum(path.stat().st_size for path in (bench.folder / "bodies").glob("body-*")) / 1e6
    of_requests = f": {size_mb:,.0f} MB of requests" if size_mb else ""
    print(f"{bench.rows:,} rows, {prompt} system prompt{of_requests}; {bench.ending} to {bench.output}")
    versions = [f"{name} {version(name)}" for name in ("anthropic", "msgspec", "jinja2")]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    print(", ".join([machine, f"Python {platform.python_version()}", *versions]))
    if bench.state_mb:
        print(f"{bench.batches} batches, {bench.state_mb:,.0f} MB of state after a run")
    medians = {name: _median(costs) for name, costs in bench.costs.items()}
    base = medians.get("floor")
    print(
        f"{'':12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'wall/floor':>12}{'wall: naive/it':>16}{'CPU: naive/it':>15}"
    )
    naive = medians.get("naive")
    for name, cost in medians.items():
        over = f"{cost.wall_s / base.wall_s:.2f}" if base else ""
        wall, cpu = (f"{naive.wall_s / cost.wall_s:.2f}", f"{naive.cpu_s / cost.cpu_s:.2f}") if naive else ("", "")
        print(f"{name:12}{cost.wall_s:9.2f}{cost.cpu_s:9.2f}{cost.peak_mb:9.0f}{over:>12}{wall:>16}{cpu:>15}")


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--prompt", choices=("12k", "short"), default="12k")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--input", choices=("csv", "jsonl"), default="csv")
    parser.add_argument("--output", choices=("jsonl", "csv", "parquet"), default="jsonl")
    parser.add_argument("--only", nargs="*", choices=("floor", "ours", "naive"), default=("floor", "ours", "naive"))
    parser.add_argument("--of-ours", nargs="*", choices=("run", *OF_OURS), default=OF_OURS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with _server() as port:
            bench = Bench(Path(folder), given.rows, port, given.output, given.input, given.of_ours)
            bench.prepare(given.prompt)
            if "floor" in given.only:
                bench.prepare_floor()
        for _ in range(given.rounds):
            for name in given.only:
                # A server forgets nothing while it lives, so each gets a fresh one.
                with _server() as bench.port:
                    (bench.project / "batchforge.yml").write_text(PROJECT.format(port=bench.port))
                    getattr(bench, name)()
        report(bench, given.prompt)


if __name__ == "__main__":
    main()
