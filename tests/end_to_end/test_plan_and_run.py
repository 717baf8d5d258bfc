"""Plan, then run: what was planned is what the emulator receives and bills, phase by phase."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import RowRule
from batchforge.errors import BudgetExceeded, UsageError
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_rows import Action
from batchforge.requests.fingerprint import custom_id
from tests.builders import JOB_NAME, OUTPUT, TREE, ProjectFiles, copy_example, run_cli
from tests.conftest import StartEmulator
from tests.planning import planned

LONG = "Say in one sentence what the text is about, and be exact about colours, vehicles and the weather. " * 30
TEXTS = [f"Text number {n} about a red bicycle." for n in range(16)]
REFUSED = RowRule(outcome="errored", error_type="invalid_request_error", message="effort: this model does not take it")


def received(emulator: EmulatorServer) -> list[list[dict[str, Any]]]:
    """The requests of each batch, in the order in which the batches came."""
    return [json.loads(each.body or "")["requests"] for each in emulator.received("batches.create")]


def job_results(project: ProjectFiles, name: str = "about") -> dict[str, Any]:
    value = json.loads(project.path("target/run_results.json").read_text())
    (job,) = [job for job in value["jobs"] if job["job"] == name]
    return job  # type: ignore[no-any-return]


# ---- plan and run agree


@pytest.mark.parametrize(
    "change",
    [
        lambda p: None,
        lambda p: p.write_rows([*TEXTS[:10], "Another.", *TEXTS[12:], "One more.", TEXTS[0]]),
        lambda p: p.write_prompt("Say it in two sentences.\n"),
        lambda p: p.write_job(max_tokens=300, cache="off"),
        lambda p: p.write_job(system=LONG),
    ],
    ids=["nothing", "rows", "prompt", "delivery", "long prompt"],
)
def test_what_the_plan_said_is_what_is_sent_row_for_row(
    project: ProjectFiles, emulator: EmulatorServer, change: Any
) -> None:
    project.write_rows(TEXTS)
    project.run(limit=10)
    change(project)
    with planned(project) as (plan,):
        promised = [
            [(custom_id(row.row.request_id or b"", row.row.ordinal), json.loads(body)) for row, body in bodies]
            for bodies in (plan.bodies(phase.name) for phase in plan.phases)
        ]
        submitted = sum(planned_row.action is Action.SUBMIT for planned_row in plan.rows())
        assert submitted == plan.counts.get(Action.SUBMIT, 0)
    before = len(received(emulator))
    summary = project.run()
    sent = [[(request["custom_id"], request["params"]) for request in batch] for batch in received(emulator)[before:]]
    assert sent == promised
    assert summary.jobs[0].requests_sent == sum(map(len, promised))


# ---- priming


def test_the_rows_behind_a_priming_row_read_what_it_wrote(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_prompt(LONG)
    project.write_job(cache={"prime": "batch"})
    job = project.run().jobs[0]
    assert list(map(len, received(emulator))) == [1, 15]
    assert (job.brought.cache_hits, job.brought.billed) == (15, 16)
    usage = job.brought.usage
    assert usage.cache_write_1h_tokens * 15 == usage.cache_read_tokens
    results = job_results(project)
    assert results["cache_hit_rate"] == pytest.approx(15 / 16)
    ways = results["four_ways_usd"]
    assert ways["batch_cached"] == pytest.approx(results["cost_usd"])
    assert ways["batch_cached"] < ways["batch"] < ways["standard"]
    assert ways["standard_cached"] == pytest.approx(2 * ways["batch_cached"])


def test_without_waiting_all_go_at_once_and_unmarked(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_prompt(LONG)
    project.run(wait=False)
    assert list(map(len, received(emulator))) == [16]
    assert "cache_control" not in json.dumps(received(emulator))


def test_each_group_is_primed_and_its_other_rows_read_its_document(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    document = "The parties agree on what is written here about {}. " * 80
    rows = [
        {"id": f"{name}{n}", "name": name, "document": document.replace("{}", name), "question": f"Question {n}?"}
        for n in range(5)
        for name in ("a", "b", "c")
    ]
    project.write_rows(rows)
    blocks = [{"type": "text", "text": "{{ row.document }}"}, {"type": "text", "text": "{{ row.question }}"}]
    project.write_job(user=blocks, cache={"per": "name", "prime": "batch"}, output={"file": OUTPUT, "columns": ["id"]})
    job = project.run().jobs[0]
    assert list(map(len, received(emulator))) == [3, 12]
    assert job.brought.cache_hits == 12
    assert job.brought.usage.cache_read_tokens == 4 * job.brought.usage.cache_write_1h_tokens
    assert [row["id"] for row in project.rows_of()] == [row["id"] for row in rows]


def test_rows_of_groups_that_are_not_worth_a_write_teach_nothing_about_hits(project: ProjectFiles) -> None:
    document = "The parties agree on what is written here. " * 80
    rows = [{"id": f"long{n}", "name": "long", "document": document, "question": f"Question {n}?"} for n in range(4)]
    rows += [{"id": f"s{n}", "name": f"s{n}", "document": f"Short {n}.", "question": "Which?"} for n in range(9)]
    project.write_rows(rows)
    blocks = [{"type": "text", "text": "{{ row.document }}"}, {"type": "text", "text": "{{ row.question }}"}]
    project.write_job(user=blocks, cache={"per": "name", "prime": "batch"})
    assert project.run().jobs[0].brought.cache_hits == 3
    with project.state() as state:
        assert state.learnt("about", "claude-haiku-5-5", "batch").primed_hit_rate is None


def test_a_priming_row_may_go_through_the_messages_api(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_job(system=LONG, cache={"prime": "sync"})
    job = project.run(wait=False).jobs[0]
    assert (len(emulator.received("messages")), list(map(len, received(emulator)))) == (1, [15])
    job = project.collect().jobs[0]
    assert job.brought.cache_hits == 15


class SlowDays:
    """A clock by which every wait takes two hours."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += timedelta(hours=2)
        time.sleep(min(seconds, 0.05))


def test_where_the_priming_row_took_too_long_the_others_are_not_marked(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator(processing_time_s=0.3)
    project = ProjectFiles(tmp_path / "p", emulator)
    project.write_rows(TEXTS)
    project.write_prompt(LONG)
    project.write_job(cache={"prime": "batch"})
    project.run(clock=SlowDays())
    first, rest = received(emulator)
    assert "cache_control" in json.dumps(first)
    assert "cache_control" not in json.dumps(rest)
    assert any(event.data.get("code") == "BF812" for event in project.events)


@pytest.mark.parametrize("failure", [{"outcome": "expired"}, {"outcome": "errored", "error_type": "overloaded_error"}])
def test_a_priming_row_that_fails_for_a_time_only_lets_the_others_go_unmarked(
    project: ProjectFiles, start_emulator: StartEmulator, failure: dict[str, Any]
) -> None:
    project.write_rows(TEXTS)
    project.write_prompt(LONG)
    project.write_job(cache={"prime": "batch"}, min_success=0.9)
    with planned(project) as (plan,):
        request_id = next(plan.rows()).row.request_id
    assert request_id is not None
    emulator = start_emulator(rows=(RowRule(custom_id=custom_id(request_id), submissions=1, **failure),))
    project.write_project(base_url=emulator.base_url)
    project.run()
    assert any(event.data.get("code") == "BF814" for event in project.events)
    first, rest = received(emulator)
    assert (len(first), len(rest)) == (1, 15)
    assert "cache_control" not in json.dumps(rest)
    assert project.run().jobs[0].requests_sent == 1
    assert emulator.counters().requests_billed == 16


def test_a_priming_row_that_the_api_refuses_stops_the_run(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "p", start_emulator(rows=(REFUSED,)))
    project.write_rows(TEXTS)
    project.write_prompt(LONG)
    project.write_job(cache={"prime": "batch"})
    with pytest.raises(BudgetExceeded, match="the row that went first was not answered"):
        project.run()


# ---- canaries


def test_a_canary_that_fails_stops_the_run_and_what_it_learnt_is_told(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator(rows=(REFUSED,))
    project = ProjectFiles(tmp_path / "p", emulator)
    project.write_rows([f"Text number {n}." for n in range(1_500)])
    with pytest.raises(BudgetExceeded, match=r"20 of the 20 rows that went first failed, so the other 1,480 were not"):
        project.run()
    assert emulator.counters().requests_accepted == 20
    assert not project.path(OUTPUT).exists()


def test_a_canary_that_is_answered_lets_the_others_go(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_job(canary=5)
    assert project.run().status == "ok"
    assert list(map(len, received(emulator))) == [5, 11]


def test_a_form_of_request_that_was_answered_before_needs_no_canary(project: ProjectFiles) -> None:
    project.run()
    project.write_rows([f"Text number {n}." for n in range(1_100)])
    with planned(project) as (plan,):
        assert [phase.name for phase in plan.phases] == ["rest"]
    project.write_job(stop_sequences=["END"])
    with planned(project) as (plan,):
        assert [(phase.name, phase.requests) for phase in plan.phases] == [("canary", 20), ("rest", 1_080)]
    project.write_job(stop_sequences=["END"], canary="off")
    with planned(project) as (plan,):
        assert [phase.name for phase in plan.phases] == ["rest"]


def test_a_canary_without_waiting_is_gone_on_with_by_resume(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_job(canary=5)
    first = project.cli("run", "--no-wait")
    assert "BF811 5 of 16 requests went first (canary)" in first.stderr
    assert list(map(len, received(emulator))) == [5]
    project.cli("collect", "--wait")
    resumed = project.cli("resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert sum(map(len, received(emulator))) == 16
    assert len(project.rows_of()) == 16


# ---- resume


def test_resume_refuses_what_became_dearer_since(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    project.write_job(canary=5)
    project.run(wait=False)
    project.collect()
    project.write_job(canary=5, max_tokens=2_000)
    with pytest.raises(UsageError, match="may cost more now"):
        project.resume()


def test_resume_asks_for_the_rows_that_the_run_was_limited_to(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    project.write_job(canary=5)
    project.run(wait=False, limit=12)
    project.collect()
    project.resume()
    assert emulator.counters().requests_accepted == 12


def test_a_full_refresh_asks_once_though_a_part_of_it_went_first(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    project.write_rows(TEXTS)
    project.run()
    project.write_job(canary=5)
    assert project.run(resend=Resend.ALL).jobs[0].requests_sent == 16
    assert emulator.counters().requests_accepted == 32


def test_a_full_refresh_that_was_interrupted_is_gone_on_with_and_uses_no_old_answer(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    project.write_rows(TEXTS)
    project.run()
    project.write_job(canary=5)
    project.run(resend=Resend.ALL, wait=False)
    project.collect(wait=True)
    resumed = project.resume()
    assert (resumed.status, resumed.jobs[0].requests_sent) == ("ok", 11)
    assert emulator.counters().requests_accepted == 32
    with project.state() as state:
        manifest = state.manifest("api", JOB_NAME)
        assert manifest is not None
        assert {row.ordinal for row in state.manifest_rows(manifest.manifest_id)} == {1}
    assert project.run().jobs[0].requests_sent == 0


def test_a_full_refresh_whose_rows_expired_is_finished_by_resume(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(rows=(RowRule(outcome="expired", share=1.0, submissions=1),))
    project = ProjectFiles(tmp_path / "p", emulator)
    project.run()
    assert project.run().status == "ok"
    assert project.run(resend=Resend.ALL).status == "failed"
    assert project.resume().jobs[0].requests_sent == 3
    assert emulator.counters().requests_billed == 6


# ---- the estimate and the bill


def test_the_estimate_is_held_against_the_bill_on_screen_and_in_the_results(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    finished = project.cli("run")
    assert "billed" in finished.stdout
    assert "at most" in finished.stdout
    job = job_results(project)
    assert job["cost_over_estimate"] == pytest.approx(job["cost_usd"] / job["estimated_usd"], rel=1e-3)
    assert job["cost_usd"] <= job["ceiling_usd"]
    assert 0.5 < job["estimated_input_tokens"] / prompt_tokens(job["usage"]) < 1.5


def test_what_is_collected_later_is_held_against_the_estimate_too(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    project.run(wait=False)
    project.collect()
    assert job_results(project)["cost_over_estimate"] > 0


@pytest.mark.parametrize(("name", "rows"), [("tickets", 30), ("reviews", 100)])
def test_input_tokens_of_the_examples_are_within_10_percent_once_learnt(tmp_path: Path, name: str, rows: int) -> None:
    root = copy_example(name, tmp_path)
    assert run_cli(root, "run", "--limit", str(rows), "--quiet").exit_code == 0
    plan = run_cli(root, "plan", "--output", "json").json()
    (estimate,) = plan["jobs"].values()
    assert estimate["learnt_from_results"] == rows
    (job,) = run_cli(root, "run", "--quiet", "--output", "json").json()["jobs"]
    assert estimate["input_tokens"] == pytest.approx(prompt_tokens(job["usage"]), rel=0.1)


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-5-5"])
def test_input_tokens_of_long_documents_are_within_10_percent_once_learnt(project: ProjectFiles, model: str) -> None:
    """Parts of a real lease, of 8 to 56 kB; counted by the emulator, since nobody has published real counts of it."""
    lease = (TREE / "projects/leases/data/leases/potrero-avenue.txt").read_text("utf-8")
    parts = [lease[start : start + 8_000 * size] for size in range(1, 8) for start in (0, 400, 900)]
    project.write_rows(parts[::2] + parts[1::2])
    project.write_job(model=model, thinking=None)
    project.run(limit=6)
    with planned(project) as (plan,):
        assert plan.estimate.learnt_from == 6
        expected = plan.estimate.input_tokens
    usage = project.run().jobs[0].brought.usage
    assert usage.prompt_tokens > 100_000
    assert expected == pytest.approx(usage.prompt_tokens, rel=0.1)


def test_exact_counts_a_sample_through_the_api(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    finished = project.cli("plan", "--exact", "--output", "json")
    counted = finished.json()["jobs"]["about"]["input_tokens"]
    assert emulator.received("count_tokens")
    assert emulator.counters().requests_accepted == 0
    project.run()
    assert counted == pytest.approx(prompt_tokens(job_results(project)["usage"]), rel=0.05)


def prompt_tokens(usage: Mapping[str, int]) -> int:
    names = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    return sum(usage[name] for name in names)
