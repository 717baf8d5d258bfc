"""Several models: rows whose answer is not good enough go up to the next, in batches, and nothing is paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from batchforge.escalation.rules import number_of
from tests.builders import OUTPUT, ProjectFiles

CHEAP, STRONG, STRONGEST = "claude-haiku-5-5", "claude-sonnet-5", "claude-opus-5-5"
FIELDS: dict[str, Any] = {"kind": {"one_of": ["fruit", "other"]}, "confidence": "number"}
LADDER: dict[str, Any] = {
    "model": [CHEAP, STRONG, {"model": STRONGEST, "effort": "low"}],
    "output": {"file": OUTPUT, "fields": FIELDS},
    "escalate_on": ["invalid", "confidence < 0.7"],
    "min_success": 0,
}


def said(kind: str, confidence: float) -> str:
    return json.dumps({"kind": kind, "confidence": confidence})


SURE, UNSURE, BAD = said("fruit", 0.9), said("other", 0.5), "not JSON"


class Answers:
    """What each model answers to each text, time after time; the last answer is given for ever."""

    def __init__(self, answers: Mapping[str, Mapping[str, list[str]]]) -> None:
        self.left = {model: {text: [*given] for text, given in texts.items()} for model, texts in answers.items()}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []

    def __call__(self, params: Any, _custom_id: str | None) -> Any:
        model, text = params["model"], params["messages"][0]["content"][-1]["text"]
        self.asked.append((model, text))
        self.bodies.append(params)
        given = self.left[model][text]
        return given.pop(0) if len(given) > 1 else given[0]


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Callable[..., ProjectFiles]]:
    servers: list[EmulatorServer] = []

    def project(scripted: Any, texts: Sequence[str] = (), **settings: Any) -> ProjectFiles:
        scenario = Scenario(processing_time_s=0, retry_after_s=None)
        source = ScriptAnswers(scripted, RuleAnswers())
        servers.append(EmulatorServer(tmp_path / "emulator.db", scenario=scenario, answers=source).start())
        files = ProjectFiles(tmp_path / "p", servers[-1])
        files.write_rows(list(texts or dict.fromkeys(text for given in scripted.left.values() for text in given)))
        files.write_job(**{**LADDER, **settings})
        return files

    yield project
    for server in servers:
        server.stop()


def three_rungs() -> Answers:
    return Answers(
        {
            CHEAP: {"a": [SURE], "b": [UNSURE], "c": [BAD], "d": [UNSURE]},
            STRONG: {"b": [SURE], "c": [said("other", 0.8)], "d": [UNSURE]},
            STRONGEST: {"d": [said("other", 0.6)]},
        }
    )


def test_rows_go_up_as_far_as_they_must(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    summary = project.run()
    rows = {row["text"]: (row["kind"], row["_rung"], row["_model"], row["_status"]) for row in project.rows_of()}
    assert rows == {
        "a": ("fruit", 1, CHEAP, "answered"),
        "b": ("fruit", 2, STRONG, "answered"),
        "c": ("other", 2, STRONG, "answered"),
        "d": ("other", 3, STRONGEST, "answered"),
    }
    assert sorted(answers.asked) == sorted(
        [*((CHEAP, text) for text in "abcd"), *((STRONG, text) for text in "bcd"), (STRONGEST, "d")]
    )
    (job,) = summary.jobs
    assert job.ladder is not None
    assert [(rung.rows, rung.kept, dict(rung.went_up)) for rung in job.ladder.rungs] == [
        (4, 1, {"confidence < 0.7": 2, "invalid": 1}),
        (3, 2, {"confidence < 0.7": 1}),
        (1, 1, {}),
    ]
    assert job.requests_sent == 8
    assert summary.status == "ok"


def test_a_second_run_sends_nothing(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    project.run()
    before = project.path(OUTPUT).read_bytes()
    again = project.run()
    assert (again.jobs[0].requests_sent, again.status, len(answers.asked)) == (0, "ok", 8)
    assert project.path(OUTPUT).read_bytes() == before


def test_answers_are_shared_with_a_plain_job_of_each_model(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    project.run()
    project.write_job(**{**LADDER, "model": CHEAP, "escalate_on": None})
    assert project.run().jobs[0].requests_sent == 0
    project.write_rows([{"id": "1", "text": "b"}, {"id": "2", "text": "c"}, {"id": "3", "text": "d"}])
    project.write_job(**{**LADDER, "model": STRONG, "escalate_on": None})
    assert project.run().jobs[0].requests_sent == 0


def test_a_plan_counts_every_rung_and_invents_no_figure(answered: Callable[..., ProjectFiles]) -> None:
    project = answered(three_rungs())
    plan = project.cli("plan", "--output", "json").json()["jobs"]["about"]
    assert plan["models"] == [CHEAP, STRONG, STRONGEST]
    assert [(each["rung"], each["rows_at_most"], each["expected_rows"]) for each in plan["steps"]] == [
        (2, 4, None),
        (3, 4, None),
    ]
    assert plan["expected_pico_usd"] is None
    assert plan["ceiling_pico_usd"] > sum(each["ceiling_pico_usd"] for each in plan["steps"]) > 0
    text = project.cli("plan").stdout
    assert f"then rung 2, {STRONG}: how many rows is not known yet" in text
    assert "unknown cost expected" in text


def test_a_later_plan_learns_how_many_rows_go_up(answered: Callable[..., ProjectFiles]) -> None:
    project = answered(three_rungs())
    project.run()
    project.write_rows([{"id": str(n), "text": f"e{n}"} for n in range(8)])
    plan = project.cli("plan", "--output", "json").json()["jobs"]["about"]
    assert [(each["expected_rows"], each["learnt_from_rows"]) for each in plan["steps"]] == [(6.0, 4), (2.0, 3)]
    assert 0 < plan["expected_pico_usd"] < plan["ceiling_pico_usd"]


def test_a_budget_holds_all_rungs(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    ceiling = project.cli("plan", "--output", "json").json()["jobs"]["about"]["ceiling_pico_usd"] / 1e12
    finished = project.cli("run", "--max-cost", f"{ceiling * 0.9:.6f}")
    assert finished.exit_code == 5
    assert "BF802" in finished.stderr
    assert answers.asked == []
    assert project.cli("run", "--max-cost", f"{ceiling * 1.001:.6f}").exit_code == 0
    assert len(answers.asked) == 8


def test_a_saved_plan_covers_what_goes_up(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    assert project.cli("plan", "--out", "plan.json").exit_code == 0
    finished = project.cli("run", "--plan", "plan.json")
    assert finished.exit_code == 0, finished.stderr
    assert len(answers.asked) == 8


def test_without_waiting_each_resume_takes_one_rung(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    assert project.cli("run", "--no-wait").exit_code == 3
    collected = project.cli("collect")
    assert collected.exit_code == 3
    assert "3 rows have yet to go up" in collected.stdout
    assert len(answers.asked) == 4
    assert not project.path(OUTPUT).exists()
    resumed = project.cli("resume")
    assert resumed.exit_code == 0, resumed.stdout + resumed.stderr
    assert len(answers.asked) == 8
    assert [row["_rung"] for row in project.rows_of()] == [1, 2, 2, 3]
    assert project.cli("status").exit_code == 0


def test_the_last_rung_can_be_collected(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers, model=[CHEAP, STRONG])
    project.run(wait=False)
    project.resume("about", wait=False)
    project.collect()
    assert len(answers.asked) == 7
    assert [row["_rung"] for row in project.rows_of()] == [1, 2, 2, 2]


def test_what_is_looked_up_names_the_rung_that_answered(answered: Callable[..., ProjectFiles]) -> None:
    project = answered(three_rungs())
    project.run()
    shown = project.cli("show", "about", "--key", "1")
    assert shown.exit_code == 0, shown.stderr
    assert STRONG in shown.stdout
    history = project.cli("history", "about", "--key", "1")
    assert CHEAP in history.stdout
    assert STRONG in history.stdout
    for words in (["ls"], ["parse"], ["compile"], ["cost", "--by", "model"], ["status"], ["test"], ["diff", "--help"]):
        assert project.cli(*words).exit_code == 0, words


def test_ls_names_every_model_of_a_ladder(answered: Callable[..., ProjectFiles]) -> None:
    project = answered(three_rungs())
    assert f"({CHEAP}, then {STRONG}, then {STRONGEST})" in project.cli("ls").stdout
    (listed,) = json.loads(project.cli("ls", "--output", "json").stdout)
    assert (listed["model"], listed["models"]) == (CHEAP, [CHEAP, STRONG, STRONGEST])


def test_a_rung_may_ask_again_before_rows_go_up(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [BAD, SURE], "b": [BAD]}, STRONG: {"b": [SURE]}})
    output = {**LADDER["output"], "on_invalid": {"retry": 1}}
    project = answered(answers, model=[CHEAP, STRONG], output=output)
    project.run()
    assert [(row["text"], row["_rung"]) for row in project.rows_of()] == [("a", 1), ("b", 2)]
    assert sorted(answers.asked) == [(CHEAP, "a")] * 2 + [(CHEAP, "b")] * 2 + [(STRONG, "b")]


def test_retry_asks_only_the_last_model_again(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [BAD]}, STRONG: {"a": [BAD, SURE]}})
    project = answered(answers, model=[CHEAP, STRONG])
    project.run()
    assert [row["_status"] for row in project.rows_of()] == ["invalid"]
    retried = project.cli("retry")
    assert retried.exit_code == 0, retried.stderr + retried.stdout
    assert answers.asked == [(CHEAP, "a"), (STRONG, "a"), (STRONG, "a")]
    assert [row["_status"] for row in project.rows_of()] == ["answered"]


def test_a_row_that_fails_a_test_goes_up(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [SURE], "b": [said("other", 2.0)]}, STRONG: {"b": [SURE]}})
    tests = [{"accepted_range": {"column": "confidence", "max": 1}}]
    project = answered(answers, model=[CHEAP, STRONG], escalate_on=["test_failed"], tests=tests)
    (job,) = project.run().jobs
    assert job.ladder is not None
    assert dict(job.ladder.rungs[0].went_up) == {"test_failed": 1}
    assert [row["_rung"] for row in project.rows_of()] == [1, 2]
    assert [path.name for path in project.path("target/api/steps").iterdir()] == []


def test_rows_whose_answers_do_not_agree_go_up(answered: Callable[..., ProjectFiles]) -> None:
    fruit, other = said("fruit", 1), said("other", 1)
    answers = Answers({CHEAP: {"a": [fruit] * 3, "b": [fruit, other, fruit], "c": [other, fruit, fruit]},
                       STRONG: {"b": [other], "c": [fruit]}})  # fmt: skip
    project = answered(answers, model=[CHEAP, STRONG], escalate_on=["votes"], answers=3)
    project.run()
    assert [(row["kind"], row["_rung"], row["_votes"]) for row in project.rows_of()] == [
        ("fruit", 1, 1.0),
        ("other", 2, 1.0),
        ("fruit", 2, 1.0),
    ]
    project.write_job(**{**LADDER, "model": [CHEAP, STRONG], "escalate_on": ["votes < 0.6"], "answers": 3})
    assert project.run().jobs[0].requests_sent == 0
    assert [(row["kind"], row["_rung"], row["_votes"]) for row in project.rows_of()] == [
        ("fruit", 1, 1.0),
        ("fruit", 1, 0.6667),
        ("fruit", 1, 0.6667),
    ]


def test_jobs_that_read_it_see_the_rung(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    project.write_job("after", input={"ref": "about"}, model="claude-haiku-4-5", system=None, output=None,
                      user="{{ row.kind }} by rung {{ row._rung }}")  # fmt: skip
    answers.left["claude-haiku-4-5"] = {
        f"{kind} by rung {rung}": ["yes"] for kind in ("fruit", "other") for rung in "123"
    }
    finished = project.cli("run")
    assert finished.exit_code == 0, finished.stderr
    assert len(project.rows_of("outputs/after.jsonl")) == 4


def test_a_further_turn_says_what_was_wrong_behind_the_same_prefix(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [BAD, said("nut", 1), SURE], "b": [SURE]}})
    output = {**LADDER["output"], "on_invalid": {"retry": 2, "with_reason": True}}
    project = answered(answers, model=CHEAP, escalate_on=None, output=output)
    summary = project.run()
    assert [row["_status"] for row in project.rows_of()] == ["answered", "answered"]
    assert "_rung" not in project.rows_of()[0]
    first, second, third = [body for body in answers.bodies if body["messages"][0]["content"][0]["text"] == "a"]
    assert (first["system"], first["messages"]) == (second["system"], second["messages"][:1])
    assert [turn["role"] for turn in third["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert second["messages"][1]["content"][0]["text"] == BAD
    assert "the answer is not JSON" in second["messages"][2]["content"][0]["text"]
    assert second["messages"] == third["messages"][:3]
    assert summary.jobs[0].requests_sent == 4
    assert project.run().jobs[0].requests_sent == 0


def test_the_share_that_goes_up_is_chosen_so_that_the_models_agree(answered: Callable[..., ProjectFiles]) -> None:
    """The first model is wrong where it is unsure; the strongest answers other there."""
    texts = [f"t{n}" for n in range(200)]
    wrong = {text for n, text in enumerate(texts) if n % 5 == 0}
    cheap = {text: [said("fruit", 0.5 if text in wrong else 0.9)] for text in texts}
    strongest = {text: [said("other" if text in wrong else "fruit", 1)] for text in texts}
    answers = Answers({CHEAP: cheap, STRONG: strongest})
    guarantee = {"agreement": 0.95, "confidence": 0.9, "score": "confidence", "field": "kind"}
    project = answered(answers, model=[CHEAP, STRONG], escalate_on=["invalid", guarantee])
    plan = project.cli("plan", "--output", "json").json()["jobs"]["about"]
    assert [(each["kind"], each["rung"]) for each in plan["steps"]] == [("sample", 2), ("rung", 2)]
    (job,) = project.run().jobs
    rows = project.rows_of()
    agreeing = sum((row["kind"] == "other") == (row["text"] in wrong) for row in rows)
    assert agreeing >= 190
    assert job.ladder is not None
    report = job.ladder.guarantee
    assert report is not None
    assert report.sample == sum(rung.rows for rung in job.ladder.rungs if rung.is_sample)
    assert report.tells_apart
    asked = sum(model == STRONG for model, _ in answers.asked)
    assert 40 < asked < 130
    assert asked == sum(row["_rung"] == 2 for row in rows)
    assert "sampled rows differ in kind" in report.words
    assert project.run().jobs[0].requests_sent == 0


def test_a_score_that_tells_nothing_is_named_and_more_goes_up(answered: Callable[..., ProjectFiles]) -> None:
    texts = [f"t{n}" for n in range(150)]
    cheap = {text: [said("fruit", 0.9)] for text in texts}
    strongest = {text: [said("other" if n % 4 == 0 else "fruit", 1)] for n, text in enumerate(texts)}
    guarantee = {"agreement": 0.95, "confidence": 0.9, "score": "confidence", "field": "kind"}
    project = answered(Answers({CHEAP: cheap, STRONG: strongest}), model=[CHEAP, STRONG], escalate_on=[guarantee])
    finished = project.cli("run")
    assert finished.exit_code == 0, finished.stderr
    assert "confidence does not tell them from the others, so more rows go up" in finished.stdout
    right = sum((row["kind"] == "other") == (n % 4 == 0) for n, row in enumerate(project.rows_of()))
    assert right >= 0.95 * 150


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"escalate_on": ["votes"]}, "BF105"),
        ({"escalate_on": ["test_failed"]}, "BF105"),
        ({"answers": 3}, "BF105"),
        ({"model": CHEAP}, "BF105"),
        ({"escalate_on": ["confidense < 1"]}, "BF159"),
        ({"escalate_on": ["kind < fruit"]}, "BF159"),
        ({"escalate_on": ["refuse"]}, "BF159"),
        ({"escalate_on": [{"agreement": 0.9, "confidence": 0.9, "score": "confidence"}]}, "BF105"),
        ({"model": [CHEAP, {"model": STRONGEST, "effort": "lo"}]}, "BF104"),
        ({"model": [CHEAP, STRONGEST]}, "BF426"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, settings: dict[str, Any], code: str) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write_job(**{**LADDER, **settings})
    finished = project.cli("compile")
    assert finished.exit_code != 0
    assert code in finished.stderr


def test_a_plan_that_follows_a_small_sample_counts_what_fails_a_test(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [said("other", 2)], "b": [SURE]}, STRONG: {"a": [SURE]}})
    tests = [{"accepted_range": {"column": "confidence", "max": 1}}]
    project = answered(answers, model=[CHEAP, STRONG], escalate_on=["test_failed"], tests=tests)
    project.run(limit=1, wait=False)
    project.collect()
    plan = project.cli("plan", "--output", "json")
    assert plan.exit_code == 0, plan.stderr
    assert plan.json()["jobs"]["about"]["steps"][0]["rows_at_most"] == 2


def test_a_saved_plan_covers_further_turns(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [BAD, SURE], "b": [BAD]}, STRONG: {"b": [BAD, SURE]}})
    output = {**LADDER["output"], "on_invalid": {"retry": 1, "with_reason": True}}
    project = answered(answers, model=[CHEAP, STRONG], output=output)
    assert project.cli("plan", "--out", "plan.json").exit_code == 0
    finished = project.cli("run", "--plan", "plan.json")
    assert finished.exit_code == 0, finished.stderr
    assert [(row["text"], row["_rung"]) for row in project.rows_of()] == [("a", 1), ("b", 2)]
    assert len(answers.asked) == 6
    project.write_job(**{**LADDER, "model": [CHEAP, STRONGEST], "output": output, "thinking": None})
    beyond = project.cli("run", "--plan", "plan.json", "--full-refresh")
    assert beyond.exit_code != 0


def test_answers_by_chance_end_where_the_rules_say(answered: Callable[..., ProjectFiles]) -> None:
    chance = Random(7)
    choices = [SURE, UNSURE, BAD, said("other", 0.8)]
    texts = [f"t{n}" for n in range(120)]
    script = {model: {text: [chance.choice(choices)] for text in texts} for model in (CHEAP, STRONG, STRONGEST)}
    answers = Answers(script)
    project = answered(answers)
    project.run()
    for row in project.rows_of():
        given = [script[model][row["text"]][0] for model in (CHEAP, STRONG, STRONGEST)]
        rung = next((n for n, answer in enumerate(given[:2], 1) if answer in (SURE, choices[3])), 3)
        asked = given[:rung]
        fitting = [n for n, answer in enumerate(asked, 1) if answer != BAD]
        assert row["_rung"] == (fitting[-1] if fitting else rung), row
        assert row["_status"] == ("answered" if fitting else "invalid")
        if fitting:
            assert {"kind": row["kind"], "confidence": row["confidence"]} == json.loads(asked[fitting[-1] - 1])
    assert len(set(answers.asked)) == len(answers.asked)
    assert project.run().jobs[0].requests_sent == 0


def test_an_erased_row_is_gone_from_every_rung_and_vote(answered: Callable[..., ProjectFiles]) -> None:
    fruit, other = said("fruit", 1), said("other", 1)
    answers = Answers({CHEAP: {"secret": [fruit, other, fruit], "b": [fruit]}, STRONG: {"secret": [other]}})
    project = answered(answers, model=[CHEAP, STRONG], escalate_on=["votes"], answers=3)
    project.run()
    assert len(answers.asked) == 7
    erased = project.cli("state", "erase", "about", "--key", "0", "--yes")
    assert erased.exit_code == 0, erased.stderr
    assert [row["text"] for row in project.rows_of()] == ["b"]
    with project.state() as state:
        manifests = state.manifests("about")
        keys = {row.key for manifest in manifests for row in state.manifest_rows(manifest.manifest_id)}
        assert keys == {"1", "1#1", "1#2", "1#3"}
    memory = b"".join(path.read_bytes() for path in project.path(".batchforge").rglob("*") if path.is_file())
    assert b"secret" not in memory


def test_a_ladder_is_climbed_in_every_kind_of_state(
    answered: Callable[..., ProjectFiles], state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_URL", state_url)
    answers = Answers(
        {
            CHEAP: {"a": [SURE], "b": [BAD, UNSURE], "c": [UNSURE], "d": [BAD]},
            STRONG: {"b": [SURE], "c": [SURE], "d": [BAD, SURE]},
        }
    )
    output = {**LADDER["output"], "on_invalid": {"retry": 1, "with_reason": True}}
    project = answered(answers, model=[CHEAP, STRONG], output=output)
    project.write_project(state="{{ env_var('STATE_URL') }}")
    project.run(wait=False)
    project.resume("about")
    assert [(row["text"], row["_rung"]) for row in project.rows_of()] == [("a", 1), ("b", 2), ("c", 2), ("d", 2)]
    assert len(answers.asked) == 4 + 2 + 3 + 1
    assert project.run().jobs[0].requests_sent == 0


def test_each_rung_can_be_left_and_gone_on_with(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    sent = [project.run(wait=False).jobs[0].requests_sent]
    sent += [project.resume("about", wait=False).jobs[0].requests_sent for _ in range(2)]
    assert sent == [4, 3, 1]
    assert project.resume("about").status == "ok"
    assert [row["_rung"] for row in project.rows_of()] == [1, 2, 2, 3]


def test_a_run_that_was_left_asks_no_other_model_than_it_had_planned(answered: Callable[..., ProjectFiles]) -> None:
    answers = three_rungs()
    project = answered(answers)
    project.run(wait=False)
    project.write_job(**{**LADDER, "model": [CHEAP, "claude-opus-4-8", STRONG]})
    resumed = project.cli("resume")
    assert resumed.exit_code != 0
    assert "BF911" in resumed.stderr
    assert len(answers.asked) == 4


def test_a_row_that_changes_before_a_further_model_is_asked_is_not_written_with_its_old_answer(
    answered: Callable[..., ProjectFiles],
) -> None:
    answers = Answers({CHEAP: {"a": [SURE], "b": [UNSURE], "new": [SURE]}, STRONG: {"b": [SURE]}})
    rows = [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]

    def edits(params: Any, custom_id: str | None) -> Any:
        if params["model"] == CHEAP:
            project.write_rows([{"id": "1", "text": "new"}, rows[1]])
        return answers(params, custom_id)

    project = answered(edits, texts=("a", "b"), model=[CHEAP, STRONG])
    project.write_rows(rows)
    project.run()
    assert not project.path(OUTPUT).exists()
    assert project.run().jobs[0].requests_sent == 1
    assert [row["text"] for row in project.rows_of()] == ["new", "b"]


def test_nothing_is_said_of_an_empty_input_where_no_row_goes_up(answered: Callable[..., ProjectFiles]) -> None:
    project = answered(Answers({CHEAP: {"a": [SURE]}}), model=[CHEAP, STRONG])
    said = project.cli("run")
    assert said.exit_code == 0
    assert "BF228" not in said.stderr


def test_half_a_character_in_an_answer_stops_no_ladder(answered: Callable[..., ProjectFiles]) -> None:
    answer = '{"kind": "fruit", "confidence": 0.9, "note": "\\ud83d"}'
    output = {"file": OUTPUT, "fields": {**FIELDS, "note": "text"}}
    tests = [{"accepted_range": {"column": "confidence", "max": 1}}]
    answers = Answers({CHEAP: {"a": [answer]}})
    project = answered(answers, model=[CHEAP, STRONG], output=output, escalate_on=["test_failed"], tests=tests)
    assert project.run().status == "ok"
    assert [row["_rung"] for row in project.rows_of()] == [1]


def test_a_ladder_that_became_one_model_is_collected_as_such(answered: Callable[..., ProjectFiles]) -> None:
    answers = Answers({CHEAP: {"a": [SURE], "b": [UNSURE, SURE]}, STRONG: {"b": [SURE], "a": [SURE]}})
    project = answered(answers, model=[CHEAP, STRONG])
    project.run()
    project.write_job(**{**LADDER, "model": STRONG, "escalate_on": None, "system": "Other words."})
    project.run(wait=False)
    said = project.cli("collect", "--output", "json")
    assert said.exit_code == 0, said.stderr
    (job,) = said.json()["jobs"]
    assert job["output"]["is_published"]
    assert not list(project.path(OUTPUT).parent.glob("*.sample*"))


@pytest.mark.parametrize(
    ("value", "number"),
    [(0.5, 0.5), (" 1 ", 1.0), (float("inf"), None), ("nan", None), ("1e999", None), (10**400, None), (True, None)],
)
def test_only_finite_numbers_are_scores(value: Any, number: float | None) -> None:
    assert number_of(value) == number
