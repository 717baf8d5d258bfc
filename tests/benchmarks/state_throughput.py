"""How many results a second each store takes and looks up, the memory it needs, and how long opening takes after many
runs. Each step is a process of its own; the S3 server is moto on this machine, so its seconds are mostly the server's.

python tests/benchmarks/state_throughput.py [--results 1000000] [--runs 10000] [--store file --store s3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from batchforge.profiling import peak_memory_bytes
from batchforge.requests.fingerprint import custom_id
from batchforge.results import RequestResult, ResultKind, Usage
from batchforge.state.attempts import AttemptState
from batchforge.state.records import IntendedRequest, Intention, RunRecord
from batchforge.state.sql_state import SqlState
from batchforge.state.stores import Opening, open_state
from tests.builders import child_environment
from tests.postgres_server import postgres_server
from tests.s3_server import BUCKET, s3_server

PER_BATCH = 10_000
PER_STEP = 1_000
PER_LOOKUP = 500
STORES = ("sqlite", "file", "s3", "postgresql")
LIFE = (AttemptState.INTENDED, AttemptState.SENDING, AttemptState.KNOWN, AttemptState.ENDED, AttemptState.STORED)
MESSAGE = (
    '{{"id":"msg_{0}","type":"message","role":"assistant","content":[{{"type":"text","text":"{{\\"category\\":'
    '\\"billing\\",\\"reason\\":\\"The customer asks about invoice {0}.\\"}}"}}],"stop_reason":"end_turn"}}'
)


# ---- one step, in a process of its own


def name_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def result_of(number: int) -> RequestResult:
    text = MESSAGE.format(number).encode()
    name = custom_id(name_of(number), 0)
    return RequestResult(name, ResultKind.ANSWERED, Usage(900, 80), text, f"msg_{number}", "claude-haiku-5-5")


def send(state: SqlState, first: int, count: int, run_id: str) -> int:
    """An attempt that claims so many requests, as far as its results."""
    intention = Intention(run_id, "triage", "prod", "batch", "m", 400, b"s" * 16, b"{}", "host:1:1")
    asked = [IntendedRequest(name_of(number), 0, (b'"ticket %d"' % number,)) for number in range(first, first + count)]
    attempt_id = state.intend(intention, asked)
    move(state, attempt_id, LIFE[:4])
    return attempt_id


def move(state: SqlState, attempt_id: int, life: Sequence[AttemptState]) -> None:
    for before, after in pairwise(life):
        batch_id = f"msgbatch_{attempt_id}" if after is AttemptState.KNOWN else None
        state.move(attempt_id, before, after, batch_id=batch_id)


def store(state: SqlState, results: int) -> None:
    for first in range(0, results, PER_BATCH):
        count = min(PER_BATCH, results - first)
        attempt_id = send(state, first, count, "run-1")
        for start in range(first, first + count, PER_STEP):
            state.store_results(attempt_id, [result_of(n) for n in range(start, min(start + PER_STEP, first + count))])
        move(state, attempt_id, LIFE[3:])
        move(state, attempt_id, (AttemptState.STORED, AttemptState.CLOSED))


def look_up(state: SqlState, results: int) -> None:
    found = 0
    for first in range(0, results, PER_LOOKUP):
        found += len(state.lookup([name_of(n) for n in range(first, min(first + PER_LOOKUP, results))]))
    assert found == results


def run_often(state: SqlState, runs: int) -> None:
    """Small runs: a batch of three rows each."""
    for number in range(runs):
        run_id = f"run-{number}"
        state.begin_run(RunRecord(run_id, "2026-11-24T09:00:00Z", "run", "prod", ("triage",)))
        first = 10**9 + 3 * number
        attempt_id = send(state, first, 3, run_id)
        state.store_results(attempt_id, [result_of(n) for n in range(first, first + 3)])
        move(state, attempt_id, LIFE[3:])
        move(state, attempt_id, (AttemptState.STORED, AttemptState.CLOSED))
        state.end_run(run_id, "ok", {"rows": 3})


def look_at(state: SqlState, _count: int) -> None:
    assert state.last_attempt_id() > 0


STEPS = {"store": store, "look up": look_up, "runs": run_often, "open": look_at}


def do_step(step: str, url: str, folder: str, count: int) -> None:
    start = time.perf_counter()
    with closing(open_state(url, Opening(folder=Path(folder)))) as state:
        STEPS[step](state, count)
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_bytes": peak_memory_bytes()}))


# ---- all of them


@contextmanager
def place_of(store_name: str, folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """An empty place in a store, and the environment in which it can be used."""
    if store_name == "s3":
        with s3_server() as server:
            yield f"s3://{BUCKET}/benchmark", server.environment
    elif store_name == "postgresql":
        with postgres_server() as postgres:
            yield postgres.state_url("benchmark"), {}
    else:
        yield (f"sqlite:///{folder}/state.db" if store_name == "sqlite" else f"file://{folder}/state"), {}


def measured(step: str, url: str, folder: Path, count: int, env: Mapping[str, str]) -> tuple[float, float]:
    """Seconds, and MB at most."""
    command = [sys.executable, __file__, "--step", step, url, str(folder), str(count)]
    done = subprocess.run(command, env=child_environment(**env), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout)
    return found["seconds"], found["peak_bytes"] / 1e6


def measure(store_name: str, results: int, runs: int) -> str:
    with tempfile.TemporaryDirectory() as name, place_of(store_name, Path(name)) as (url, env):
        here, elsewhere = Path(name) / "here", Path(name) / "elsewhere"
        stored_s, stored_mb = measured("store", url, here, results, env)
        found_s, found_mb = measured("look up", url, here, results, env)
        runs_s, _ = measured("runs", url, here, runs, env)
        open_s, _ = measured("open", url, here, 0, env)
        fresh_s, fresh_mb = measured("open", url, elsewhere, 0, env)
    return (
        f"{store_name:<11}{results / stored_s:>12,.0f}{stored_mb:>9.0f}{results / found_s:>13,.0f}{found_mb:>9.0f}"
        f"{runs / runs_s:>9.1f}{open_s:>9.2f}{fresh_s:>9.2f}{fresh_mb:>9.0f}"
    )


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        step, url, folder, count = sys.argv[2:]
        do_step(step, url, folder, int(count))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--store", action="append", choices=STORES)
    options = parser.parse_args()
    print(f"{options.results:,} results, {options.runs:,} small runs, {os.cpu_count()} cores")
    print("             stored/s      MB  looked up/s      MB   runs/s   open s  fresh s      MB")
    for store_name in options.store or STORES:
        print(measure(store_name, options.results, options.runs), flush=True)


if __name__ == "__main__":
    main()
