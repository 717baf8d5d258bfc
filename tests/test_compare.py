"""Variants of a job on the same rows: which is the cheapest that is not worse, and when that cannot be told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from batchforge.commands.compare import command
from batchforge.emulator import EmulatorServer
from batchforge.evaluation.comparison import Comparison, Measured, Variant, compare_variants, not_worse, rows_to_tell
from batchforge.evaluation.variants import stratified_keys
from batchforge.lookup.tried import TriedRow
from batchforge.results import Usage
from batchforge.row_shapes import InputRow
from batchforge.terminal.comparison_text import html_of_comparison, markdown_of_comparison
from tests.builders import ProjectFiles

StartEmulator = Callable[..., EmulatorServer]
WORDS = (("stone", "other"), ("apple", "fruit"))
ROWS = [{"id": str(n), "text": f"{WORDS[n % 2][0]} {n}", "gold": WORDS[n % 2][1]} for n in range(30)]
JOB: dict[str, Any] = {
    "input": {"file": "data/rows.jsonl", "key": "id"},
    "system": None,
    "user": "{{ row.text }}",
    "output": {"fields": {"kind": {"one_of": ["fruit", "other"]}}},
    "tests": [{"accuracy": {"column": "kind", "label": "gold", "min": 0.5}}, {"not_null": "kind"}],
}


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    project = ProjectFiles(tmp_path / "p", start_emulator())
    project.write_rows(ROWS)
    project.write_job("about", **JOB)
    return project


def compare(project: ProjectFiles, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["about", *words, "--project-dir", str(project.root)])


def compared(project: ProjectFiles, *words: str) -> Any:
    result = compare(project, *words, "--output", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


TWO = ("--models", "claude-haiku-5-5,claude-sonnet-5", "--sample", "20")


def test_equal_answers_make_the_cheaper_model_win(project: ProjectFiles) -> None:
    value = compared(project, *TWO)
    assert (value["rows"], value["input_rows"], value["label"]) == (20, 30, "gold")
    assert value["winner"] == "claude-haiku-5-5"
    assert [result["answered"]["count"] for result in value["results"]] == [20, 20]
    assert value["results"][0]["tests"] == {"not_null_kind": "pass"}


def test_answers_of_the_sample_are_not_paid_for_again(project: ProjectFiles) -> None:
    compared(project, *TWO)
    assert compared(project, *TWO)["paid_usd"] == 0
    assert project.run().jobs[0].requests_sent == 10


def test_variants_that_ask_the_same_have_answers_of_their_own(project: ProjectFiles) -> None:
    value = compared(project, "--modes", "batch,sync", "--sample", "5")
    assert [result["variant"]["mode"] for result in value["results"]] == ["batch", "sync"]
    assert project.emulator is not None
    counters = project.emulator.counters()
    assert (counters.batches_created, counters.messages_answered) == (1, 5)
    assert compared(project, "--modes", "batch,sync", "--sample", "5")["paid_usd"] == 0


def test_each_answer_is_timed_where_it_is_asked_for_by_itself(project: ProjectFiles) -> None:
    batch, sync = compared(project, "--modes", "batch,sync", "--sample", "5")["results"]
    assert batch["seconds"] is not None
    assert batch["median_answer_s"] is None
    assert 0 <= sync["median_answer_s"] <= sync["slow_answer_s"] <= sync["seconds"]
    project.write_rows([{**row, "id": f"x{row['id']}", "text": f"{row['text']}!"} for row in ROWS])
    text = compare(project, "--modes", "batch,sync", "--sample", "4").output
    assert "s, the batch" in text
    assert "s an answer, 19 of 20 within" in text


def test_the_models_of_a_ladder_are_compared_and_their_answers_kept_for_it(project: ProjectFiles) -> None:
    models = ["claude-haiku-5-5", {"model": "claude-opus-5-5", "effort": "low"}]
    project.write_job("about", **{**JOB, "model": models, "thinking": "disabled", "max_tokens": 1000})
    value = compared(project, "--sample", "30")
    assert names_of(value) == ["claude-haiku-5-5", "claude-opus-5-5"]
    assert project.run().jobs[0].requests_sent == 0


def test_the_noise_floor_asks_the_first_variant_twice(project: ProjectFiles) -> None:
    value = compared(project, "--aa", "--field", "kind", "--sample", "6")
    assert value["noise_floor"]["count"] == 6
    assert len(value["results"]) == 1


def names_of(value: Any) -> list[str]:
    return [result["variant"]["name"] for result in value["results"]]


def test_prompts_and_efforts_make_variants(project: ProjectFiles) -> None:
    project.write("prompts/short.j2", "Kind of {{ row.text }}?")
    project.write("prompts/long.j2", "Which kind is {{ row.text }}?")
    names = names_of(compared(project, "--prompts", "prompts/short.j2,prompts/long.j2", "--sample", "2"))
    assert names == ["short.j2", "long.j2"]
    project.write_job("about", **JOB, model="claude-sonnet-5", thinking=None)
    assert names_of(compared(project, "--effort", "low,high", "--sample", "2")) == ["effort low", "effort high"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "BF940"),
        (("--models", "a"), "BF940"),
        (("--prompts", "no.j2,x.j2"), "BF941"),
        ((*TWO, "--label", "knd=gold"), "BF942"),
    ],
)
def test_what_cannot_be_compared_is_said(project: ProjectFiles, words: tuple[str, ...], code: str) -> None:
    error = compare(project, *words).exception
    assert error is not None
    assert code in str(error)


def test_a_budget_that_does_not_hold_all_variants_sends_nothing(project: ProjectFiles) -> None:
    assert "BF802" in str(compare(project, *TWO, "--max-cost", "0.000001").exception)
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 0


def test_a_comparison_that_was_killed_pays_only_for_what_is_missing(project: ProjectFiles) -> None:
    assert project.emulator is not None
    process = project.start("compare", "about", *TWO)
    while project.emulator.counters().batches_created < 1:
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    compared(project, *TWO)
    sent = [
        request["custom_id"]
        for received in project.emulator.received()
        if received.endpoint == "batches.create" and received.status == 200
        for request in received.json()["requests"]
    ]
    assert len(sent) == len(set(sent)) == 40


# ---- what is made of answers


def tried(key: int, answer: str | None, label: str, cost_usd: float = 0.001) -> TriedRow:
    status, fields = ("refused", {}) if answer is None else ("answered", {"kind": answer})
    row = {"gold": label}
    return TriedRow(str(key), "", "bf1_x", row, status, None, fields, "", "m", None, Usage(), cost_usd, is_new=True)


def comparison(answers: Mapping[str, Sequence[str | None]], labels: list[str], *, label: str = "gold") -> Comparison:
    measured = []
    for number, (name, values) in enumerate(answers.items(), 1):
        pairs = enumerate(zip(values, labels, strict=True))
        rows = [tried(n, value, gold, 0.001 * number) for n, (value, gold) in pairs]
        measured.append(Measured(Variant(name, name, "batch"), rows, None, {}))
    return compare_variants(
        measured, job="j", target="t", is_emulated=False, fields=["kind"], decides="kind", label=label,
        reference=next(iter(answers)), margin=0.05, input_rows=len(labels),
    )  # fmt: skip


LABELS = st.lists(st.sampled_from("abc"), min_size=1, max_size=40)


@given(LABELS, st.data())
def test_f1_is_what_scikit_learn_says(labels: list[str], data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.sampled_from("abcd"), min_size=len(labels), max_size=len(labels)))
    result = comparison({"one": [*answers]}, labels).results[0]
    assert result.f1 == pytest.approx(f1_score(labels, answers, average="macro", zero_division=0), abs=1e-5)


def test_rows_without_an_answer_are_wrong_not_left_out() -> None:
    found = comparison({"one": ["a", None, "a", None]}, ["a"] * 4).results[0]
    assert (found.right.count, found.right.rows, found.statuses) == (2, 4, {"answered": 2, "refused": 2})


def test_a_cheap_variant_that_is_surely_as_good_wins_and_a_bad_one_is_called_worse() -> None:
    labels = ["a"] * 400
    good = comparison({"cheap": ["a"] * 398 + ["b"] * 2, "strong": ["a"] * 400}, labels)
    assert good.winner == "cheap"
    bad = comparison({"cheap": ["b"] * 100 + ["a"] * 300, "strong": ["a"] * 400}, labels)
    assert (bad.winner, bad.results[0].is_not_worse) == ("strong", False)


def test_with_few_rows_it_says_how_many_would_tell() -> None:
    few = comparison({"cheap": ["a"] * 20, "strong": ["a"] * 19 + ["b"]}, ["a"] * 20)
    assert few.winner == "cheap"  # the best, whatever the margin
    few = comparison({"cheap": ["a"] * 19 + ["b"], "strong": ["a"] * 20}, ["a"] * 20)
    assert few.results[0].is_not_worse is None
    assert few.results[0].rows_to_tell is None or few.results[0].rows_to_tell > 20
    assert few.winner == "strong"


@pytest.mark.parametrize("truth", [0.80, 0.85])
def test_a_variant_that_is_worse_than_the_margin_is_rarely_taken_for_good(truth: float) -> None:
    """Over 300 draws, with the best at 0.9 and a margin of 5 points: 5 % at most are let pass."""
    random = Random(7)
    passed = 0
    for _ in range(300):
        strong = [random.random() < 0.9 for _ in range(300)]
        cheap = [random.random() < truth - 1e-9 for _ in range(300)]
        passed += not_worse(cheap, strong, 0.05, 1) is True
    assert passed <= 15


def test_the_rows_that_would_tell_do_tell() -> None:
    right, base = [True] * 48 + [False] * 2, [True] * 48 + [False, True]
    wanted = rows_to_tell(right, base, 0.1, 1)
    assert wanted is not None
    times = wanted // 50 + 1
    assert not_worse(right * times, base * times, 0.1, 1) is True


@given(st.lists(st.sampled_from("aab"), min_size=1, max_size=60), st.integers(1, 20))
def test_a_sample_has_of_each_label_as_many_as_its_share(labels: list[str], size: int) -> None:
    rows = [InputRow(n, str(n), {"l": label}, "") for n, label in enumerate(labels)]
    keys, total = stratified_keys(rows, size, "l")
    assert (len(set(keys)), total) == (min(size, len(labels)), len(labels))
    for label in set(labels):
        share = min(size, len(labels)) * labels.count(label) / len(labels)
        assert abs(sum(labels[int(key)] == label for key in keys) - share) < 1
    assert sorted(stratified_keys(rows[::-1], size, "l")[0]) == sorted(keys)


def test_texts_of_rows_cannot_write_into_the_page_or_the_comment() -> None:
    evil = "<script>alert(1)</script> | ``` @everyone"
    shown = comparison({"one": [evil, "a"], "two": ["b", "a"]}, ["a", "a"])
    assert "<script>" not in html_of_comparison(shown)
    for line in markdown_of_comparison(shown).splitlines():
        assert "<script>" not in re.sub(r"(`+).*?\1", "", line)
    assert "default-src 'none'" in html_of_comparison(shown)
