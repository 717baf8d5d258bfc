"""Answers that break their schema: asked again within the run and within its ceiling, or rejected, or kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from batchforge.errors import BudgetExceeded
from batchforge.planning.decisions import Resend, decide
from batchforge.planning.plan_rows import Action
from batchforge.results import ResultKind
from batchforge.state.records import RequestRecord, StoredAnswer
from tests.builders import OUTPUT, ProjectFiles

GOOD, BAD = '{"score": 3}', '{"score": 30}'
OUTPUTS: dict[str, Any] = {"file": OUTPUT, "fields": {"score": {"type": "integer", "max": 9}}}


class Answers:
    """What each text is answered, time after time; the last answer is given for ever."""

    def __init__(self, **answers: list[str]) -> None:
        self.left = answers
        self.asked: list[str] = []

    def __call__(self, params: Any, _custom_id: str | None) -> Any:
        text = params["messages"][-1]["content"][-1]["text"]
        self.asked.append(text)
        return self.left[text].pop(0) if len(self.left[text]) > 1 else self.left[text][0]


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Any]:
    servers: list[EmulatorServer] = []

    def project(answers: Answers, **output: Any) -> ProjectFiles:
        scenario = Scenario(processing_time_s=0, retry_after_s=None)
        source = ScriptAnswers(answers, RuleAnswers())
        servers.append(EmulatorServer(tmp_path / "emulator.db", scenario=scenario, answers=source).start())
        files = ProjectFiles(tmp_path / "p", servers[-1])
        files.write_rows(list(answers.left))
        files.write_job(output={**OUTPUTS, **output}, min_success=0)
        return files

    yield project
    for server in servers:
        server.stop()


def scores(project: ProjectFiles) -> list[Any]:
    return [(row["_status"], row["score"]) for row in project.rows_of()]


def test_an_invalid_answer_is_asked_again_within_the_run(answered: Any) -> None:
    answers = Answers(a=[GOOD], b=[BAD, GOOD], c=[BAD, BAD, GOOD], d=[BAD])
    project = answered(answers, on_invalid={"retry": 2})
    summary = project.run()
    assert scores(project) == [("answered", 3), ("answered", 3), ("answered", 3), ("invalid", None)]
    assert sorted(answers.asked) == ["a", "b", "b", "c", "c", "c", "d", "d", "d"]
    assert summary.jobs[0].requests_sent == 9


def test_what_was_asked_often_enough_is_not_asked_again(answered: Any) -> None:
    answers = Answers(a=[BAD])
    project = answered(answers, on_invalid={"retry": 1})
    project.run()
    assert project.run().jobs[0].requests_sent == 0
    project.write_job(output={**OUTPUTS, "on_invalid": {"retry": 3}}, min_success=0)
    assert project.run().jobs[0].requests_sent == 2
    assert len(answers.asked) == 4


def test_an_answer_that_fits_stays_though_later_ones_do_not(answered: Any) -> None:
    project = answered(Answers(a=[BAD, GOOD, BAD]), on_invalid={"retry": 2})
    project.run()
    assert scores(project) == [("answered", 3)]
    assert project.run().jobs[0].requests_sent == 0


def test_without_retry_an_invalid_answer_is_rejected(answered: Any) -> None:
    answers = Answers(a=[BAD, GOOD])
    project = answered(answers)
    project.run()
    assert (scores(project), len(answers.asked)) == ([("invalid", None)], 1)


def test_an_invalid_answer_can_be_kept(answered: Any) -> None:
    project = answered(Answers(a=[BAD]), on_invalid="keep")
    project.run()
    (row,) = project.rows_of()
    assert (row["_status"], row["score"]) == ("answered", 30)
    assert "the answer breaks the schema at score" in row["_error"]


def test_the_ceiling_counts_every_time_that_may_be_paid(answered: Any) -> None:
    project = answered(Answers(a=[BAD]))
    once = project.cli("plan", "--output", "json").json()["jobs"]["about"]["ceiling_pico_usd"]
    project.write_job(output={**OUTPUTS, "on_invalid": {"retry": 2}}, min_success=0)
    assert project.cli("plan", "--output", "json").json()["jobs"]["about"]["ceiling_pico_usd"] == 3 * once
    with pytest.raises(BudgetExceeded):
        project.run(max_cost_usd=2.5 * once / 1e12)
    assert project.run(max_cost_usd=3 * once / 1e12).jobs[0].requests_sent == 3


def test_a_saved_plan_covers_what_is_asked_again(answered: Any) -> None:
    answers = Answers(a=[BAD, GOOD])
    project = answered(answers, on_invalid={"retry": 1})
    assert project.cli("plan", "--out", "plan.json").exit_code == 0
    finished = project.cli("run", "--plan", "plan.json")
    assert finished.exit_code == 0, finished.stderr
    assert len(answers.asked) == 2


def test_collected_answers_are_asked_again_by_the_next_run(answered: Any) -> None:
    answers = Answers(a=[BAD, GOOD])
    project = answered(answers, on_invalid={"retry": 1})
    project.run(wait=False)
    project.collect()
    assert len(answers.asked) == 1
    project.run()
    assert (scores(project), len(answers.asked)) == ([("answered", 3)], 2)


def test_a_run_that_was_left_is_resumed_with_what_was_approved(answered: Any) -> None:
    answers = Answers(a=[BAD, GOOD])
    project = answered(answers, on_invalid={"retry": 1})
    project.run(wait=False)
    assert project.resume("about").exit_code == 0
    assert (scores(project), len(answers.asked)) == ([("answered", 3)], 2)


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_each_way_of_delivery_asks_again(answered: Any, mode: str) -> None:
    project = answered(Answers(a=[BAD, GOOD], b=[GOOD]), on_invalid={"retry": 1})
    project.run(mode=mode)
    assert scores(project) == [("answered", 3), ("answered", 3)]


def answer(ordinal: int, kind: ResultKind = ResultKind.ANSWERED) -> StoredAnswer:
    return StoredAnswer(ordinal, kind, None, 100, 10, ordinal + 1)


@pytest.mark.parametrize(
    ("ordinals", "invalid", "retries", "expected"),
    [
        ([0], [0], 0, (Action.REUSE, 0)),
        ([0], [0], 1, (Action.SUBMIT, 1)),
        ([0, 1], [0, 1], 1, (Action.REUSE, 1)),
        ([0, 1], [0, 1], 2, (Action.SUBMIT, 2)),
        ([0, 1], [1], 5, (Action.REUSE, 0)),
        ([0], [], 5, (Action.REUSE, 0)),
    ],
)
def test_how_often_is_counted_by_ordinals(
    ordinals: list[int], invalid: list[int], retries: int, expected: tuple[Action, int]
) -> None:
    record = RequestRecord(tuple(answer(ordinal) for ordinal in ordinals))
    decision = decide(record, 100, Resend.NOTHING_PAID, None, invalid, None, retries)
    assert (decision.action, decision.ordinal) == expected


def test_fields_inside_of_prose_end_up_in_the_output(answered: Any) -> None:
    text = f"I say ```json\n{json.dumps({'score': 4})}\n```"
    project = answered(Answers(a=[text]), **{"from": "json"})
    project.run()
    assert scores(project) == [("answered", 4)]
