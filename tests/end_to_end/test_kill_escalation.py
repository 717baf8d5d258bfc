"""A run with several models is killed with SIGKILL in the middle of each rung, and then run again until it is done: no
rung pays for a row twice, and the output is that of a run that nobody disturbed.

    BATCHFORGE_LONG_TESTS=1 python -m pytest tests/end_to_end/test_kill_escalation.py -s
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import OUTPUT, ProjectFiles
from tests.end_to_end.kill_bench import TEXTS, Bench, Benches, counts_of, open_benches
from tests.end_to_end.kill_launcher import BEFORE
from tests.end_to_end.test_kill import telling_calls

IS_LONG = bool(os.environ.get("BATCHFORGE_LONG_TESTS"))
KILLS = 12
KILLED = -9
MODELS = ["claude-haiku-5-5", "claude-sonnet-5", {"model": "claude-opus-5-5", "effort": "low"}]
REQUESTS, BATCHES = 5 + 3 + 1, 3


def answer(params: Any, _custom_id: str | None) -> str:
    """The first model is sure of two texts, the second of two more."""
    text = params["messages"][-1]["content"][-1]["text"]
    sure_from = (1, 1, 2, 2, 3)[TEXTS.index(text)]
    rung = 1 + [str(m["model"] if isinstance(m, dict) else m) for m in MODELS].index(params["model"])
    return json.dumps({"kind": f"by {rung}", "confidence": 0.9 if rung >= sure_from else 0.1})


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with open_benches(2, script=answer) as opened:
        yield opened


def fresh_project(bench: Bench) -> ProjectFiles:
    project = bench.fresh_project()
    fields = {"kind": "text", "confidence": "number"}
    project.write_job(
        model=MODELS, escalate_on=["confidence < 0.5"], output={"file": OUTPUT, "fields": fields}, max_tokens=1000
    )
    return project


def test_a_run_that_is_killed_in_any_rung_pays_once_and_loses_nothing(benches: Benches) -> None:
    with benches.one() as bench:
        project = fresh_project(bench)
        whole = bench.launch(project, "run")
        assert whole.exit_code == 0, project.path("said.txt").read_text()
        expected = project.path(OUTPUT).read_bytes()
        assert [row["_rung"] for row in project.rows_of()] == [1, 1, 2, 2, 3]

    def play(bench: Bench, kill_at: int) -> str:
        project = fresh_project(bench)
        killed = bench.launch(project, "run", kill_at=kill_at, moment=BEFORE)
        assert (killed.exit_code, len(killed.calls)) == (KILLED, kill_at)
        bench.run_until_done(project)
        counted = bench.emulator.counters()
        found = counted.custom_ids_billed_twice, counted.custom_ids_submitted_twice
        assert (*found, counted.requests_accepted, counted.batches_created) == (0, 0, REQUESTS, BATCHES), kill_at
        assert project.path(OUTPUT).read_bytes() == expected
        return killed.calls[-1]

    numbers = telling_calls(whole.calls)
    if not IS_LONG:
        numbers = numbers[:: max(1, len(numbers) // KILLS)]
    killed_at = benches.each(numbers, play)
    print(f"{len(killed_at)} kills at one of {len(whole.calls)} calls: {counts_of(killed_at)}")
