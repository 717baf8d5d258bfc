"""Limits hold ceilings; what is said to fit fits; and nobody spends a budget twice."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.errors import BudgetExceeded
from batchforge.planning.approval import PlannedRun
from batchforge.planning.budget import Limits, check_limits
from batchforge.planning.decisions import Resend
from batchforge.planning.further_steps import Outlook
from batchforge.spec import StepSpec
from tests.builders import ProjectFiles, end_of
from tests.conftest import StartEmulator
from tests.planning import planned

TEXTS = [f"Text number {n}: {'a red bicycle in the rain ' * (n % 7)}" for n in range(40)]


def ceiling_usd(project: ProjectFiles, **options: Any) -> float:
    with planned(project, **options) as plans:
        return sum(plan.estimate.ceiling_pico_usd or 0 for plan in plans) / 1e12


def set_project(project: ProjectFiles, **settings: Any) -> None:
    value = json.loads(project.path("batchforge.yml").read_text())
    project.write("batchforge.yml", json.dumps({**value, **settings}))


def refused(project: ProjectFiles, **options: Any) -> BudgetExceeded:
    with pytest.raises(BudgetExceeded) as caught:
        project.run(**options)
    assert caught.value.exit_code == 5
    return caught.value


def test_a_run_over_max_cost_sends_nothing(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.write_rows(TEXTS)
    error = refused(project, max_cost_usd=ceiling_usd(project) / 2)
    assert error.problems[0].code == "BF802"
    assert emulator.counters().requests_accepted == 0


def test_the_limit_that_is_said_to_fit_fits_and_one_more_row_does_not(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    limit_usd = ceiling_usd(project) / 2
    hint = refused(project, max_cost_usd=limit_usd).problems[0].hint
    match = re.search(r"--limit (\d+)", hint)
    assert match is not None
    fits = int(match[1])
    refused(project, max_cost_usd=limit_usd, limit=fits + 1)
    assert project.run(max_cost_usd=limit_usd, limit=fits).jobs[0].requests_sent == fits


def test_where_not_even_a_row_fits_that_is_said(project: ProjectFiles) -> None:
    assert "Not even the first row" in refused(project, max_cost_usd=1e-9).problems[0].hint


def test_a_jobs_own_limit_holds_its_ceiling(project: ProjectFiles) -> None:
    ceiling = ceiling_usd(project)
    project.write_job(max_cost_usd=ceiling * 0.99)
    assert refused(project).problems[0].message.startswith("about: ")
    project.write_job(max_cost_usd=ceiling * 1.01)
    assert project.run().status == "ok"


def test_a_folders_budget_holds_its_jobs_together(project: ProjectFiles, emulator: EmulatorServer) -> None:
    ceiling = ceiling_usd(project)
    project.path("jobs/about.yml").unlink()
    for name in ("one", "two"):
        project.write_job(f"nightly/{name}", system=f"Say {name}.", output={"file": f"outputs/{name}.jsonl"})
    folder = project.path("jobs/nightly/_defaults.yml")
    folder.write_text(json.dumps({"folder_budget": {"max_cost_usd": ceiling * 1.5, "warn_cost_usd": 1e-6}}))
    assert refused(project).problems[0].message.startswith("jobs/nightly/: ")
    assert emulator.counters().requests_accepted == 0
    assert project.run("one").status == "ok"
    assert any("over warn_cost_usd" in event.message and event.job == "jobs/nightly/" for event in project.events)


def test_a_job_that_is_expected_to_cost_more_than_its_warning_says_so_and_runs(project: ProjectFiles) -> None:
    project.write_job(warn_cost_usd=1e-6)
    assert project.run().status == "ok"
    assert any("BF813 expected to cost" in event.message for event in project.events)


def test_a_limit_on_something_without_an_upper_bound_refuses(project: ProjectFiles) -> None:
    project.write_job(model="claude-next")
    error = refused(project, max_cost_usd=100.0, allow_unknown_model=True)
    assert error.problems[0].code == "BF803"


def test_above_the_threshold_a_run_needs_a_yes_or_a_budget(project: ProjectFiles) -> None:
    set_project(project, confirm_above_usd=0)
    assert refused(project).problems[0].code == "BF805"
    with pytest.raises(BudgetExceeded, match="not confirmed"):
        project.run(ask=lambda question: False)
    asked: list[str] = []
    assert project.run(ask=lambda question: not asked.append(question)).status == "ok"  # type: ignore[func-returns-value]
    assert "expected" in asked[0]
    project.write_prompt("Something else.\n")
    assert project.run(max_cost_usd=10.0).status == "ok"


def test_a_months_budget_counts_what_was_billed_before(project: ProjectFiles) -> None:
    first = ceiling_usd(project)
    set_project(project, month_max_cost_usd=first * 1.05)
    billed = project.run().jobs[0].brought.cost_usd
    assert billed < first
    project.write_prompt("Say in one sentence what this text is about.\n")
    assert billed + ceiling_usd(project) > first * 1.05
    error = refused(project)
    assert "spent or reserved" in error.problems[0].message


def test_a_month_counts_what_is_reserved_for_batches_in_flight(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600))
    set_project(project, month_max_cost_usd=ceiling_usd(project) * 1.5)
    project.run(wait=False)
    with project.state() as state:
        assert state.committed_pico_usd("2000-01-01") > 0
    project.write_prompt("Say in one sentence what this text is about.\n")
    refused(project)


def test_two_processes_at_once_cannot_spend_one_months_budget_twice(project: ProjectFiles) -> None:
    project.write_job("one", system="Say one.", output={"file": "outputs/one.jsonl"})
    project.write_job("two", system="Say two.", output={"file": "outputs/two.jsonl"})
    with planned(project, "one") as (plan,):
        ceiling = (plan.estimate.ceiling_pico_usd or 0) / 1e12
    set_project(project, month_max_cost_usd=ceiling * 1.5)
    processes = [project.start("run", name, "--no-wait", "--quiet") for name in ("one", "two")]
    ends = [end_of(process) for process in processes]
    assert sorted(finished.exit_code for finished in ends) in ([3, 5], [0, 5]), [each.stderr for each in ends]
    with project.state() as state:
        assert state.committed_pico_usd("2000-01-01") <= ceiling * 1.5e12


def test_a_refusal_ends_with_5_and_the_run_can_be_resumed_with_more_money(
    project: ProjectFiles, emulator: EmulatorServer
) -> None:
    finished = project.cli("run", "--max-cost", "0.0000001")
    assert finished.exit_code == 5
    assert "BF802" in finished.stderr
    assert project.cli("resume").exit_code == 5, "the limit of the run holds for what goes on with it"
    assert emulator.counters().requests_accepted == 0
    assert project.cli("resume", "--max-cost", "1").exit_code == 0
    assert emulator.counters().requests_accepted == 3


def test_no_bill_exceeds_the_ceiling_of_its_run(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    project.write_prompt("Say what it is about. " * 400)
    for cache in ("off", "auto", {"ttl": "5m", "prime": "off"}):
        project.write_job(cache=cache)
        job = project.run(resend=Resend.ALL).jobs[0]
        assert job.estimate is not None
        assert 0 < job.brought.cost_pico_usd <= (job.estimate.ceiling_pico_usd or 0)


def test_what_a_jobs_earlier_steps_have_cost_counts_against_the_run(project: ProjectFiles) -> None:
    project.write_rows(TEXTS)
    with planned(project) as (plan,):
        most = plan.ceiling_pico_usd or 0
        outlook = Outlook(StepSpec(2, 2, "rung"), 2, spent_pico_usd=most)
        earlier = [replace(plan, outlook=outlook)]
        check_limits([plan], Limits(run_usd=3.01 * most / 1e12), 0, earlier)
        with pytest.raises(BudgetExceeded):
            check_limits([plan], Limits(run_usd=2.99 * most / 1e12), 0, earlier)


def test_a_run_remembers_that_it_is_a_retry_though_a_step_of_it_asks_for_less(project: ProjectFiles) -> None:
    with planned(project) as plans:
        noted = PlannedRun.of("r", plans, "", None, resend=Resend.FAILED)
    assert noted.resend is Resend.FAILED
