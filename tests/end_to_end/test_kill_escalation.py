"""A run of a job with several steps is killed with SIGKILL in the middle of each of them (a rung, a turn that tells
what was wrong, the sample of a guarantee), and then gone on with until it is done: no step pays for a row twice, and
the output is that of a run that nobody disturbed.

    BATCHFORGE_LONG_TESTS=1 python -m pytest tests/end_to_end/test_kill_escalation.py -s
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.builders import OUTPUT, ProjectFiles
from tests.end_to_end.kill_bench import TEXTS, Bench, Benches, counts_of, open_benches
from tests.end_to_end.kill_launcher import BEFORE
from tests.end_to_end.test_kill import telling_calls

IS_LONG = bool(os.environ.get("BATCHFORGE_LONG_TESTS"))
KILLS = 4
"""So many from among all calls, and from among those while a request is out."""
KILLED = -9
CHEAP, STRONG, STRONGEST = "claude-haiku-5-5", "claude-sonnet-5", "claude-opus-5-5"
RUNG_OF = {CHEAP: 1, STRONG: 2, STRONGEST: 3}
GUARANTEE = {"agreement": 0.9, "confidence": 0.9, "score": "confidence", "field": "kind", "sample": 20}


@dataclass(frozen=True, slots=True)
class Case:
    """A job, how many rows each of its steps asks, and how many each rung answers in the end."""

    settings: Mapping[str, Any]
    asked: Sequence[int]
    answered: Mapping[int, int]
    texts: Sequence[str] = TEXTS


CASES = {
    "rungs": Case(
        {"model": [CHEAP, STRONG, {"model": STRONGEST, "effort": "low"}], "escalate_on": ["confidence < 0.5"]},
        asked=(5, 3, 1),
        answered={1: 2, 2: 2, 3: 1},
    ),
    "turns": Case(
        {"model": [CHEAP, STRONG], "escalate_on": ["invalid"]},
        asked=(5, 4, 2, 1, 1),
        answered={1: 4, 2: 1},
    ),
    "sample": Case(
        {"model": [CHEAP, STRONG], "escalate_on": [GUARANTEE]},
        asked=(40, 20, 4),
        answered={1: 16, 2: 24},
        texts=[f"Text {number}." for number in range(40)],
    ),
}


def answer(params: Any, _custom_id: str | None) -> str:
    """The system prompt names the case."""
    case = params["system"][-1]["text"]
    number = CASES[case].texts.index(params["messages"][0]["content"][-1]["text"])
    rung, turn = RUNG_OF[params["model"]], len(params["messages"]) // 2
    if case == "turns":
        fits = turn >= ((0, 1, 1, 2, 9)[number] if rung == 1 else 1)
        return said(f"by {rung} in turn {turn}", 0.9) if fits else "not JSON"
    if case == "sample":
        is_hard = number % 4 == 0
        return said("hard" if is_hard and rung == 2 else "easy", 0.1 if is_hard else 0.9)
    return said(f"by {rung}", 0.9 if rung >= (1, 1, 2, 2, 3)[number] else 0.1)


def said(kind: str, confidence: float) -> str:
    return json.dumps({"kind": kind, "confidence": confidence})


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    with open_benches(2, script=answer) as opened:
        yield opened


def fresh_project(bench: Bench, name: str) -> ProjectFiles:
    project, case = bench.fresh_project(), CASES[name]
    output: dict[str, Any] = {"file": OUTPUT, "fields": {"kind": "text", "confidence": "number"}}
    if name == "turns":
        output["on_invalid"] = {"retry": 2, "with_reason": True}
    project.write_rows(case.texts)
    project.write_job(**case.settings, system=name, output=output, max_tokens=1000)
    return project


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_is_killed_in_any_step_pays_once_and_loses_nothing(benches: Benches, name: str) -> None:
    case = CASES[name]
    with benches.one() as bench:
        project = fresh_project(bench, name)
        whole = bench.launch(project, "run")
        assert whole.exit_code == 0, project.path("said.txt").read_text()
        expected = project.path(OUTPUT).read_bytes()
        assert Counter(row["_rung"] for row in project.rows_of()) == case.answered

    def play(bench: Bench, kill_at: int) -> str:
        project = fresh_project(bench, name)
        killed = bench.launch(project, "run", kill_at=kill_at, moment=BEFORE)
        assert (killed.exit_code, len(killed.calls)) == (KILLED, kill_at)
        if kill_at % 2:
            bench.launch(project, "resume", "--all", "--yes")
        bench.run_until_done(project)
        counted = bench.emulator.counters()
        found = counted.custom_ids_billed_twice, counted.custom_ids_submitted_twice
        accepted = counted.requests_accepted, counted.requests_billed, counted.batches_created
        assert (*found, *accepted) == (0, 0, sum(case.asked), sum(case.asked), len(case.asked)), kill_at
        assert project.path(OUTPUT).read_bytes() == expected
        return killed.calls[-1]

    telling, unknown = telling_calls(whole.calls), after_sending(whole.calls)
    numbers = telling if IS_LONG else sorted({*some(telling), *some(unknown)})
    killed_at = benches.each(numbers, play)
    print(f"{name}: {len(killed_at)} kills at one of {len(whole.calls)} calls: {counts_of(killed_at)}")


def after_sending(calls: Sequence[str]) -> Sequence[int]:
    """The numbers of the calls at which a request is out, and nothing is known yet of what became of it."""
    return [number for number, (sent, following) in enumerate(pairwise(calls), 2) if sent == "send" != following]


def some(numbers: Sequence[int]) -> Sequence[int]:
    return numbers[:: max(1, len(numbers) // KILLS)]
