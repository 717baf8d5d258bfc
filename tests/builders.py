"""A small project that runs, against an emulator outside of it or an embedded one; a test names only what matters."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batchforge import pipeline
from batchforge.clock import Clock
from batchforge.config.job_files import load_jobs
from batchforge.emulator import EmulatorServer
from batchforge.errors import ProblemList
from batchforge.events import Event
from batchforge.project import Project, load_project
from batchforge.running.run_options import RunOptions
from batchforge.spec import JobSpec
from batchforge.state.sqlite import SqliteState
from batchforge.summaries import RunSummary
from batchforge.target import Target

TREE = Path(__file__).parents[1]
CLI = (sys.executable, "-c", "from batchforge.cli import main; main()")
QUICK = {"poll_interval_s": 0.02, "timeout_s": 10, "settle_after_s": 11}
"""Seconds of a target that a test need not wait for."""
JOB: Mapping[str, Any] = {
    "description": "One sentence about each text.",
    "input": {"file": "data/rows.jsonl", "key": ["id"]},
    "model": "claude-haiku-5-5",
    "max_tokens": 200,
    "thinking": "disabled",
    "system": {"file": "prompts/about.md.j2"},
    "user": "{{ row.text }}",
    "output": {"file": "outputs/answers.jsonl"},
}
JOB_NAME = "about"
OUTPUT = "outputs/answers.jsonl"


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


class PlayedClock:
    """Time that passes only when somebody sleeps, or when it is moved on."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class ProjectFiles:
    """A project in a folder, with one job, `about`, of three rows. Its targets are `local`, an embedded emulator, and
    where an emulator is given `api`, the default one."""

    def __init__(self, root: Path, emulator: EmulatorServer | None = None, **target: Any) -> None:
        """`target` changes settings of the default target."""
        self.root, self.emulator = root, emulator
        self.targets: dict[str, dict[str, Any]] = {"local": {"type": "emulator", **QUICK}}
        if emulator is not None:
            self.targets["api"] = {"type": "claude", "base_url": emulator.base_url, "api_key": "any-key", **QUICK}
        self.default_target = "local" if emulator is None else "api"
        self.events: list[Event] = []
        self.write_project(**target)
        self.write_prompt("Say in one sentence what the text is about.\n")
        self.write_job()
        self.write_rows(["A red bicycle.", "A blue boat.", "A green train."])

    # ---- files

    def path(self, name: str) -> Path:
        return self.root / name

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def write_project(self, **target: Any) -> None:
        """batchforge.yml, with settings of the default target changed."""
        self.targets[self.default_target] |= target
        project = {"name": "small", "version": 1, "default_target": self.default_target, "targets": self.targets}
        self.write("batchforge.yml", json.dumps(project, indent=2))

    def write_prompt(self, text: str, name: str = "about.md.j2") -> None:
        self.write(f"prompts/{name}", text)

    def write_job(self, name: str = JOB_NAME, **settings: Any) -> None:
        """The job with some settings changed; None leaves one out."""
        job = {key: value for key, value in {**JOB, **settings}.items() if value is not None}
        self.write(f"jobs/{name}.yml", json.dumps(job, indent=2))

    def write_rows(self, texts: Iterable[str | Mapping[str, Any]], name: str = "data/rows.jsonl") -> None:
        """Rows with the keys 0, 1, 2…; a mapping is a row as it is."""
        rows = (text if isinstance(text, Mapping) else {"id": str(n), "text": text} for n, text in enumerate(texts))
        self.write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def rows_of(self, name: str = OUTPUT) -> list[dict[str, Any]]:
        """What a JSONL output holds."""
        return [json.loads(line) for line in self.path(name).read_text().splitlines()]

    def emulated(self, name: str = OUTPUT) -> str:
        """Where an output of the embedded emulator lies."""
        return f"target/local/{name}"

    # ---- in this process

    def load(self, names: Sequence[str] = (), target: str | None = None) -> tuple[Project, list[JobSpec], Target]:
        problems = ProblemList()
        project = load_project(self.root, problems=problems)
        jobs = load_jobs(project, problems)
        problems.raise_if_any()
        chosen = [job for name, job in jobs.items() if job.enabled and (not names or name in names)]
        return project, chosen, project.target(target)

    def run(self, *names: str, target: str | None = None, clock: Clock | None = None, **options: Any) -> RunSummary:
        """`batchforge run`; options are those of `RunOptions`."""
        project, jobs, opened = self.load(names, target)
        return pipeline.run(project, jobs, opened, RunOptions(**options), listen=self.events.append, clock=clock)

    def resume(self, *names: str, **options: Any) -> RunSummary:
        return pipeline.resume(*self.load(names), RunOptions(**options), listen=self.events.append)

    def collect(self, *names: str, wait: bool = True, within_s: float | None = None, **options: Any) -> RunSummary:
        chosen, listen = RunOptions(**options), self.events.append
        return pipeline.collect(*self.load(names), chosen, wait=wait, within_s=within_s, listen=listen)

    def cancel(self, *names: str) -> list[str]:
        return pipeline.cancel(*self.load(names), listen=self.events.append)

    @contextmanager
    def state(self, target: str | None = None) -> Iterator[SqliteState]:
        """What is remembered, for reading."""
        project, _, opened = self.load((), target)
        state = SqliteState(state_path(project, opened), read_only=True)
        try:
            yield state
        finally:
            state.close()

    # ---- as a process

    def cli(self, *words: str, timeout_s: float = 60, **env: str) -> Finished:
        """`batchforge` with these words, in the project's folder."""
        return run_cli(self.root, *words, timeout_s=timeout_s, **env)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return start_cli(self.root, *words, **env)


def run_cli(folder: Path, *words: str, timeout_s: float = 60, **env: str) -> Finished:
    with start_cli(folder, *words, **env) as process:
        return end_of(process, timeout_s)


def start_cli(folder: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CLI, *words],
        cwd=folder,
        env=child_environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(process: subprocess.Popen[str], timeout_s: float = 60) -> Finished:
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return Finished(process.returncode, stdout, stderr)


def interrupt(process: subprocess.Popen[str], timeout_s: float = 30) -> Finished:
    """Ctrl-C, and what the process says to it."""
    process.send_signal(signal.SIGINT)
    return end_of(process, timeout_s)


def child_environment(**changes: str) -> dict[str, str]:
    """For processes that run the command line from this tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHFORGE_", "ANTHROPIC_"))}
    return {**kept, "PYTHONPATH": str(TREE), "PYTHONUNBUFFERED": "1", **changes}


def copy_example(name: str, root: Path) -> Path:
    """A copy of projects/<name>, without what a run leaves."""
    left_by_runs = shutil.ignore_patterns("target", ".batchforge")
    return Path(shutil.copytree(TREE / "projects" / name, root / name, ignore=left_by_runs))


def state_path(project: Project, target: Target) -> Path:
    """The file of a target's SQLite state."""
    return Path(target.state_url(project).removeprefix("sqlite:///"))
