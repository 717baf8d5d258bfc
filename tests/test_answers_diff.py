"""Answers of two revisions beside each other: every row counts, none is compared with itself, chance is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from batchforge.answers import Answer
from batchforge.cli import run_command
from batchforge.emulator import EmulatorServer
from batchforge.review.answer_pairs import AnswerPair
from batchforge.review.answer_values import AnswersDiff, Grid, Transition
from batchforge.review.answers_diff import AnswersComparison, Labels
from batchforge.review.field_differences import similarity
from batchforge.spec import JobSpec
from tests.conftest import StartEmulator
from tests.reviewing import ReviewedProject
from tests.test_artifact_schemas import problems

FIELDS = {"topic": {"one_of": ["bike", "boat", "train"]}, "score": "integer", "note": "text"}
DAY = "2026-01-01T10:00:00Z"


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    project = ReviewedProject(tmp_path)
    project.write_job(max_tokens=None, output={"fields": FIELDS})
    return project.load()[1][0]


def answer(values: Mapping[str, Any] | str) -> Answer:
    """Values, or why there are none."""
    return Answer(values, {}, "") if isinstance(values, str) else Answer("answered", values, "")


def pair(
    number: int,
    before: Mapping[str, Any] | str | None,
    after: Mapping[str, Any] | str | None,
    again: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
    times: tuple[str, str] = (DAY, DAY),
) -> AnswerPair:
    old, new, second = (None if side is None else answer(side) for side in (before, after, again))
    return AnswerPair(str(number), f"data:{number}", row or {}, old, new, second, *times)


def compared(spec: JobSpec, *pairs: AnswerPair, labels: Labels | None = None, cluster: str = "") -> AnswersDiff:
    return AnswersComparison(spec, labels, cluster).add_all(pairs).result()


def test_labels_numbers_and_texts_are_each_compared_in_their_way(spec: JobSpec) -> None:
    before = {"topic": "bike", "score": 2, "note": "a red bicycle"}
    after = {"topic": "boat", "score": 4, "note": "a blue bicycle"}
    changed, kept = ([pair(n, before, side) for n in range(10)] for side in (after, before))
    diff = compared(spec, *changed, *kept)
    topic, score, note = diff.fields
    assert (diff.compared, diff.changed) == (20, 10)
    assert (topic.kind, topic.changed, topic.transitions) == ("label", 10, [Transition("bike", "boat", 10)])
    assert topic.grid == Grid(["bike", "boat"], [[10, 10], [0, 0]])
    assert score.shift is not None
    assert (score.shift.before, score.shift.after, score.shift.verdict) == (2, 3, "higher")
    assert note.similarity == pytest.approx(2 / 3)
    assert 0.18 < topic.interval.low < 0.5 < topic.interval.high < 0.82


def test_a_few_numbers_that_move_alike_are_not_yet_a_shift(spec: JobSpec) -> None:
    before, after = ({"topic": "bike", "score": score, "note": ""} for score in (2, 3))
    shift = compared(spec, *(pair(n, before, after) for n in range(4))).fields[1].shift
    assert shift is not None
    assert (shift.difference, shift.verdict) == (1, "not sure")


def test_labels_beyond_those_of_most_rows_are_one_row_and_one_column_of_the_grid(tmp_path: Path) -> None:
    project = ReviewedProject(tmp_path)
    names = [f"label-{number:02}" for number in range(12)]
    project.write_job(max_tokens=None, output={"fields": {"topic": {"one_of": names}}})
    spec = project.load()[1][0]
    pairs = [pair(n, {"topic": names[n % 12]}, {"topic": names[(n + n % 2) % 12]}) for n in range(240)]
    grid = compared(spec, *pairs).fields[0].grid
    assert grid is not None
    assert (len(grid.labels), grid.further) == (8, 4)
    assert {len(row) for row in grid.cells} == {len(grid.cells)} == {9}
    assert sum(map(sum, grid.cells)) == 240


def test_rows_that_failed_count_as_wrong_and_are_not_dropped(spec: JobSpec) -> None:
    right = {"topic": "bike", "score": 1, "note": ""}
    row = {"expected": "bike"}
    pairs = [pair(n, right, "invalid" if n < 3 else right, row=row) for n in range(10)]
    diff = compared(spec, *pairs, labels=Labels("topic", "expected"))
    assert diff.statuses == [Transition("answered", "invalid", 3)]
    assert (diff.valid.rows, diff.valid.broken) == (10, 3)
    assert diff.accuracy is not None
    assert (diff.accuracy.rows, diff.accuracy.before, diff.accuracy.after, diff.accuracy.broken) == (10, 10, 7, 3)
    assert {telling.kind for telling in diff.telling} == {"invalid"}
    assert diff.telling[0].after["_status"] == "invalid"


def test_rows_without_an_answer_on_one_side_are_counted_apart(spec: JobSpec) -> None:
    values = {"topic": "bike", "score": 1, "note": ""}
    diff = compared(spec, pair(1, values, values), pair(2, None, values), pair(3, values, None), pair(4, None, None))
    assert (diff.compared, diff.missing_before, diff.missing_after) == (1, 2, 2)


def test_broken_and_fixed_rows_come_before_those_that_only_differ(spec: JobSpec) -> None:
    bike, boat = ({"topic": name, "score": 1, "note": ""} for name in ("bike", "boat"))
    pairs = [pair(n, bike, boat) for n in range(10)]
    pairs += [pair(20, bike, boat, row={"label": "boat"}), pair(21, bike, boat, row={"label": "bike"})]
    diff = compared(spec, *pairs, labels=Labels("topic", "label"))
    assert [telling.kind for telling in diff.telling] == ["broken", "fixed", "changed", "changed"]
    assert diff.accuracy is not None
    assert diff.accuracy.rows == 2


def test_rows_of_one_document_are_one_cluster(spec: JobSpec) -> None:
    bike, boat = ({"topic": name, "score": 1, "note": ""} for name in ("bike", "boat"))
    pairs = [pair(n, bike, boat, row={"label": "boat", "document": n // 10}) for n in range(30)]
    alone = compared(spec, *pairs, labels=Labels("topic", "label"))
    together = compared(spec, *pairs, labels=Labels("topic", "label"), cluster="document")
    assert alone.accuracy is not None
    assert together.accuracy is not None
    assert (alone.accuracy.clusters, together.accuracy.clusters) == (30, 3)
    assert (alone.accuracy.verdict, together.accuracy.verdict) == ("better", "not sure")


def test_what_every_row_of_three_documents_shows_is_three_chances_in_every_figure(spec: JobSpec) -> None:
    bike, boat = ({"topic": name, "score": n, "note": ""} for n, name in enumerate(("bike", "boat")))
    pairs = [pair(n, bike, boat, again=bike, row={"document": n // 10}) for n in range(30)]
    alone, together = (compared(spec, *pairs, cluster=cluster).fields for cluster in ("", "document"))
    assert alone[0].noise is not None
    assert together[0].noise is not None
    assert (alone[0].noise.is_above, together[0].noise.is_above) == (True, False)
    assert alone[0].interval.low > 0.85 > 0.5 > together[0].interval.low
    assert alone[1].shift is not None
    assert together[1].shift is not None
    assert (alone[1].shift.verdict, together[1].shift.verdict) == ("higher", "not sure")


def test_what_differs_when_the_same_is_asked_twice_is_chance(spec: JobSpec) -> None:
    bike, boat = ({"topic": name, "score": 1, "note": ""} for name in ("bike", "boat"))
    noisy = [pair(n, bike, boat if n < 10 else bike, again=boat if n >= 90 else bike) for n in range(100)]
    topic = compared(spec, *noisy).fields[0]
    assert topic.noise is not None
    assert (topic.noise.changed_by_edit, topic.noise.changed_by_chance, topic.noise.is_above) == (10, 10, False)
    clear = [pair(n, bike, boat if n < 40 else bike, again=bike) for n in range(100)]
    topic = compared(spec, *clear).fields[0]
    assert topic.noise is not None
    assert topic.noise.is_above


def test_labels_that_are_hit_and_missed_by_chance_are_told_from_those_that_the_edit_fixed(spec: JobSpec) -> None:
    bike, boat = ({"topic": name, "score": 1, "note": ""} for name in ("bike", "boat"))
    row, labels = {"label": "boat"}, Labels("topic", "label")
    noisy = [pair(n, bike, boat if n < 9 else bike, again=boat if n >= 90 else bike, row=row) for n in range(100)]
    noise = compared(spec, *noisy, labels=labels).accuracy_noise
    assert noise is not None
    assert (noise.rows, noise.changed_by_edit, noise.changed_by_chance, noise.is_above) == (100, 9, 10, False)
    clear = [pair(n, bike, boat if n < 40 else bike, again=bike, row=row) for n in range(100)]
    noise = compared(spec, *clear, labels=labels).accuracy_noise
    assert noise is not None
    assert noise.is_above


def test_thinking_beside_an_answer_is_no_field_of_it(spec: JobSpec) -> None:
    before, after = ({"topic": "bike", "_thinking": text} for text in ("so", "or so"))
    diff = compared(spec, pair(1, before, after))
    assert (diff.changed, [field.name for field in diff.fields]) == (0, ["topic"])


def test_old_answers_beside_new_ones_are_told(spec: JobSpec) -> None:
    values = {"topic": "bike", "score": 1, "note": ""}
    diff = compared(spec, pair(1, values, values, again=values, times=(DAY, "2026-03-01T10:00:00Z")))
    assert diff.notes == [
        "answers of the older side came on 2026-01-01, those of the newer on 2026-03-01: whatever else changed between "
        "is in the difference too"
    ]


def test_similarity_counts_words() -> None:
    assert similarity("", "") == 1
    assert similarity("a b", "c d") == 0
    assert similarity("a a b", "A b b") == pytest.approx(2 / 3)


# ---- with answers in state


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ReviewedProject:
    project = ReviewedProject(tmp_path / "project", start_emulator())
    project.write_job(max_tokens=None, output={"fields": FIELDS})
    project.write_rows([{"id": str(n), "text": f"Text {n}.", "expected": "bike"} for n in range(12)])
    project.repo.commit()
    return project


def test_answers_that_state_holds_of_both_sides_are_compared_at_no_cost(project: ReviewedProject) -> None:
    project.run()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    assert project.reviewed(base="HEAD").answers is None
    project.run(limit=5)
    emulator = project.emulator
    assert isinstance(emulator, EmulatorServer)
    diff = project.review(base="HEAD", labels=Labels("topic", "expected"))
    answers = diff.jobs[0].answers
    assert answers is not None
    assert (answers.compared, answers.missing_after) == (5, 7)
    assert answers.accuracy is not None
    assert answers.accuracy.rows == 5
    assert diff.paid_usd == 0


def test_a_sample_asks_both_sides_and_pays_nothing_twice(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    diff = project.review(base="HEAD", sample=4, yes=True)
    answers = diff.jobs[0].answers
    assert answers is not None
    assert (answers.compared, answers.noise_rows) == (4, 0)
    assert diff.paid_usd > 0
    again = project.review(base="HEAD", sample=4, asks_twice=True, yes=True)
    assert again.jobs[0].answers is not None
    assert again.jobs[0].answers.noise_rows == 4
    assert 0 < again.paid_usd < diff.paid_usd
    assert project.review(base="HEAD", sample=4, asks_twice=True, yes=True).paid_usd == 0
    summary = project.run()
    assert summary.jobs[0].actions["reuse"] == 4


def test_a_sample_in_batches_asks_all_sides_at_once_and_nothing_twice(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    emulator = project.emulator
    assert isinstance(emulator, EmulatorServer)
    batched, at_once = (
        project.review(base="HEAD", sample=4, asks_twice=True, mode=mode, yes=True) for mode in ("batch", "batch")
    )
    assert emulator.counters().batches_created == 3
    assert batched.paid_usd > 0 == at_once.paid_usd
    answers = batched.jobs[0].answers
    assert answers is not None
    assert (answers.compared, answers.noise_rows) == (4, 4)
    project.write_rows([{"id": f"x{n}", "text": f"Another {n}.", "expected": "bike"} for n in range(12)])
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Tell", "Report")
    dear = project.review(base="HEAD", sample=4, yes=True)
    assert emulator.counters().batches_created == 3
    assert dear.paid_usd / 8 > 1.5 * batched.paid_usd / 12


def test_rows_with_several_answers_are_asked_by_their_own_keys(project: ReviewedProject) -> None:
    project.write_job(max_tokens=None, output={"fields": FIELDS}, answers=2)
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    answers = project.reviewed(base="HEAD", sample=3, asks_twice=True, yes=True).answers
    assert answers is not None
    assert answers.compared >= 3


def test_sample_rows_are_asked_where_the_data_is_not(project: ReviewedProject) -> None:
    assert project.cli("prompts", "write", "--with-rows", "4").exit_code == 0
    project.write(".gitignore", ".batchforge/\ntarget/\noutputs/\ndata/\n")
    project.repo.git("rm", "-q", "-r", "--cached", "data")
    project.repo.commit()
    project.path("data/rows.jsonl").unlink()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    answers = project.reviewed(base="HEAD", sample=10, yes=True).answers
    assert answers is not None
    assert answers.compared == 4


def test_the_command_asks_only_within_its_budget(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    refused = project.cli("diff", "--base", "HEAD", "--sample", "3", "--max-cost", "0.000001")
    assert refused.exit_code == 5
    assert "BF802" in refused.stderr
    finished = project.cli("diff", "--base", "HEAD", "--sample", "3", "--max-cost", "1", "--output", "json")
    assert finished.exit_code == 0, finished.stderr
    value = finished.json()
    assert problems("diff", value) == []
    assert value["jobs"][0]["answers"]["compared"] == 3


@pytest.mark.parametrize("words", [("--aa",), ("--label", "topic"), ("--mode", "batch")])
def test_options_that_do_not_go_together_are_refused(words: tuple[str, ...]) -> None:
    assert run_command(["diff", *words]) == 2
