"""Plays schedules: the real command line in forked processes, an emulator that counts, and a time that costs nothing.

`python -m tests.end_to_end.schedule_bench FOLDER` reads a `kind seed index` a line, and answers in JSON. It is started
with the shims preloaded, so that its emulator and its children share the played time.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.requests.fingerprint import custom_id
from batchforge.state.attempts import AttemptState
from tests.builders import OUTPUT, ProjectFiles
from tests.end_to_end.kill_bench import TEXTS, Ended, Launcher
from tests.end_to_end.proxy import Cut, CuttingProxy, Way
from tests.end_to_end.schedule import RUN, Between, CutAt, Schedule, Step, make_schedule

MOST_RERUNS = 14
KILLED, HUNG = -9, -14


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a schedule, counted at the emulator."""

    name: str
    runs: int
    kills: int
    faults: int
    """Those that the emulator played."""
    cuts: int
    """Connections that the proxy cut."""
    batches: int
    paid: int
    """Requests that were billed."""
    lost: Sequence[str] = ()
    """custom_ids that were billed, and have no answer though nobody took it away; or that nothing is known of."""
    paid_twice: int = 0
    problem: str = ""
    said: str = ""


class ScheduleBench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shim = ctypes.CDLL(None)
        self._launcher = Launcher()
        self._calls = 0
        self._bytes: Mapping[Way, int] = {}

    def close(self) -> None:
        self._launcher.close()

    def play(self, schedule: Schedule) -> Played:
        if not self._calls:
            self._measure()
        with self._emulator(schedule.scenario) as (emulator, proxy):
            return _Play(self, emulator, proxy, schedule).played()

    def _measure(self) -> None:
        """The calls and bytes of a run that nothing happens to."""
        quiet = Schedule("undisturbed", Scenario(processing_time_s=0, retry_after_s=None), {}, 0.0, ())
        with self._emulator(quiet.scenario) as (emulator, proxy):
            play = _Play(self, emulator, proxy, quiet)
            ended = play.launch("run")
            assert ended.exit_code == 0, play.said()
            self._calls, self._bytes = len(ended.calls), proxy.passed

    @contextmanager
    def _emulator(self, scenario: Scenario) -> Iterator[tuple[EmulatorServer, CuttingProxy]]:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with EmulatorServer(self.folder / "emulator.db", scenario=scenario) as emulator:
            proxy = CuttingProxy(int(emulator.base_url.rpartition(":")[2]))
            yield emulator, proxy
            proxy.close()

    def pass_time(self, hours: float) -> None:
        self._shim.clock_shim_advance(ctypes.c_double(hours * 3600))

    def launch(self, project: ProjectFiles, skew_s: float, *words: str, kill_at: int, moment: int) -> Ended:
        return self._launcher.launch(project.root, words, kill_at=kill_at, moment=moment, skew_s=skew_s)

    def call_at(self, share: float) -> int:
        return 1 + int(share * self._calls)

    def cut_at(self, cut: CutAt) -> Cut:
        return Cut(cut.way, int(cut.share * self._bytes[cut.way]), cut.is_reset)


class _Play:
    """One schedule, from an empty state to a run that has nothing left to do."""

    def __init__(self, bench: ScheduleBench, emulator: EmulatorServer, proxy: CuttingProxy, schedule: Schedule) -> None:
        self.bench, self.emulator, self.proxy, self.schedule = bench, emulator, proxy, schedule
        target = {**schedule.target, "base_url": proxy.base_url}
        self.project = ProjectFiles(bench.folder / "project", emulator, **target)
        self.project.write_rows(TEXTS)
        self.project.write_job(batch={"max_requests": 3})
        self.exit_codes: list[int] = []
        self.taken_away: set[str] = set()
        """Batches that somebody deleted."""

    def played(self) -> Played:
        problem = ""
        try:
            for step in self.schedule.steps:
                self._step(step)
            self._finish()
        except AssertionError as exc:
            problem = str(exc)
        return self._counted(problem)

    # ---- playing

    def launch(self, *words: str, kill_at: int = 0, moment: int = 0) -> Ended:
        ended = self.bench.launch(self.project, self.schedule.skew_s, *words, kill_at=kill_at, moment=moment)
        self.exit_codes.append(ended.exit_code)
        assert ended.exit_code != HUNG, f"{words} did not end"
        assert ended.exit_code != 70, f"{words} ended with a bug"
        return ended

    def _step(self, step: Step) -> None:
        for fault in step.faults:
            self.emulator.faults.add(fault)
        self.proxy.arm(None if step.cut is None else self.bench.cut_at(step.cut))
        kill = step.kill
        if kill is None:
            self.launch(*step.words)
        else:
            self.launch(*step.words, kill_at=self.bench.call_at(kill.share), moment=kill.moment)
        if step.then is not None:
            self._happens(step.then)

    def _happens(self, between: Between) -> None:
        self.bench.pass_time(between.hours)
        for batch_id in sorted(self._known_batches()) if between.what in {"cancel", "delete"} else ():
            path, method = (f"/{batch_id}/cancel", "POST") if between.what == "cancel" else (f"/{batch_id}", "DELETE")
            if self._others_ask(path, method) and between.what == "delete":
                self.taken_away.add(batch_id)
                return

    def _others_ask(self, path: str, method: str) -> bool:
        address = f"{self.emulator.base_url}/v1/messages/batches{path}"
        headers = {"x-api-key": "another-key", "anthropic-version": "2023-06-01"}
        self.emulator.faults.clear()
        with suppress(HTTPError):
            urllib.request.urlopen(urllib.request.Request(address, method=method, headers=headers)).read()
            return True
        return False

    def _finish(self) -> None:
        """Runs again, as a user would, until a run has nothing left to do."""
        self.emulator.faults.clear()
        self.proxy.arm(None)
        for _ in range(MOST_RERUNS):
            sent_before = self.emulator.counters().requests_accepted
            words = ["--resend-and-risk-paying-twice"] if self._is_undecided() else []
            exit_code = self.launch(*RUN, *words).exit_code
            has_sent = self.emulator.counters().requests_accepted > sent_before
            if exit_code == 0 or (exit_code == 1 and not has_sent and not self._open_states()):
                return
        raise AssertionError(f"not done after {MOST_RERUNS} further runs: {self.exit_codes}")

    def _is_undecided(self) -> bool:
        """A person has looked at the workspace and has not found the batch."""
        return AttemptState.AMBIGUOUS in self._open_states()

    # ---- looking

    def _open_states(self) -> list[str]:
        final = {state.value for state in AttemptState if state.is_final}
        return [state for (state,) in self._of_state("SELECT state FROM attempts") if state not in final]

    def _known_batches(self) -> set[str]:
        return {name for (name,) in self._of_state("SELECT batch_id FROM attempts WHERE batch_id IS NOT NULL")}

    def _of_state(self, sql: str) -> list[tuple[Any, ...]]:
        paths = list(self.project.path(".batchforge").glob("state-*.db"))
        with suppress(sqlite3.OperationalError):
            if paths:
                with closing(sqlite3.connect(paths[0])) as db:
                    return db.execute(sql).fetchall()
        return []

    def _counted(self, problem: str) -> Played:
        counted = self.emulator.counters()
        billed = self._billed()
        lost = self._lost(billed) if not problem else []
        problem = problem or self._wrong_output()
        is_wrong = problem or lost or counted.custom_ids_billed_twice
        return Played(
            name=self.schedule.name,
            runs=len(self.exit_codes),
            kills=self.exit_codes.count(KILLED),
            faults=sum(received.fault is not None for received in self.emulator.received()),
            cuts=self.proxy.cuts,
            batches=counted.batches_created,
            paid=len(billed),
            lost=lost,
            paid_twice=counted.custom_ids_billed_twice,
            problem=problem,
            said=self.said()[-8000:] if is_wrong else "",
        )

    def _billed(self) -> Mapping[str, str]:
        """custom_id -> batch, by what the emulator wrote down."""
        with closing(sqlite3.connect(self.emulator.database)) as db:
            return dict(
                db.execute(
                    "SELECT o.custom_id, b.id FROM outcomes o JOIN batches b ON b.no = o.batch "
                    "WHERE o.billed = 1 AND b.others = 0"
                )
            )

    def _lost(self, billed: Mapping[str, str]) -> list[str]:
        results: dict[str, list[tuple[bool, str]]] = {}
        for request_id, ordinal, message, error in self._of_state(
            "SELECT request_id, ordinal, message_rowid IS NOT NULL, coalesce(error_type, '') FROM results"
        ):
            results.setdefault(custom_id(request_id, ordinal), []).append((bool(message), error))
        taken = {name for name, batch in billed.items() if self._is_taken_away(batch)}
        unanswered = [name for name in billed if not any(has for has, _ in results.get(name, ()))]
        unnamed = [name for name in taken if name not in results]
        missing = len(TEXTS) - len(results)
        return [*(name for name in unanswered if name not in taken), *unnamed, *["a row without a result"] * missing]

    def _is_taken_away(self, batch_id: str) -> bool:
        with closing(sqlite3.connect(self.emulator.database)) as db:
            (created_s,) = db.execute("SELECT created_at FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return batch_id in self.taken_away or self.emulator.clock.now_s() > created_s + 29 * 24 * 3600

    def _wrong_output(self) -> str:
        (answered,) = self._of_state("SELECT count(DISTINCT request_id) FROM results WHERE message_rowid IS NOT NULL")[
            0
        ]
        path = self.project.path(OUTPUT)
        if answered < len(TEXTS):
            return "an output was written without all rows" if path.exists() else ""
        statuses = [row["_status"] for row in self.project.rows_of()] if path.exists() else []
        left = [entry.name for entry in self.project.path(".batchforge/spool").iterdir()]
        if statuses != ["answered"] * len(TEXTS):
            return f"the output holds {statuses}"
        return f"left behind: {left}" if left else ""

    def said(self) -> str:
        path = self.project.path("said.txt")
        return path.read_text() if path.exists() else ""


def main() -> None:
    bench = ScheduleBench(Path(sys.argv[1]))
    for line in sys.stdin:
        kind, seed, index = line.split()
        began = time.monotonic()
        played = bench.play(make_schedule(kind, int(seed), int(index)))
        print(json.dumps({**asdict(played), "seconds": time.monotonic() - began}), flush=True)
    bench.close()


if __name__ == "__main__":
    main()
