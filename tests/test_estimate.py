"""Sizes of requests -> ceilings that no bill exceeds, and estimates that learn."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchforge.claude_models import price_table
from batchforge.emulator import models as emulated
from batchforge.emulator.billing import bill_usd
from batchforge.planning.estimate import make_phases
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job
from tests.builders import ProjectFiles
from tests.planning import planned

PRICED = ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-4-8", "claude-haiku-4-5"]


def test_phases_hold_every_request_once() -> None:
    phases = make_phases(5_000, is_primed=True, canary=20)
    assert [(phase.name, phase.requests) for phase in phases] == [("prime", 1), ("canary", 20), ("rest", 4_979)]
    assert [phase.name for phase in make_phases(1, is_primed=True, canary=20)] == ["rest"]
    assert make_phases(0, is_primed=True, canary=20) == ()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(min_size=1, max_size=400).filter(lambda text: text.strip()), min_size=1, max_size=4),
    model=st.sampled_from(PRICED),
    cache=st.sampled_from(["off", "auto", "on", {"ttl": "5m"}]),
    has_schema=st.booleans(),
    is_batch=st.booleans(),
)
def test_the_ceiling_holds_whatever_a_request_says(
    tmp_path: Path, texts: list[str], model: str, cache: Any, has_schema: bool, is_batch: bool
) -> None:
    """Held against the dearest bill that the emulator could write: every token written to the cache, a full answer."""
    project = ProjectFiles(tmp_path / "p")
    output = {"file": "outputs/a.jsonl", **({"fields": {"topic": "text"}} if has_schema else {})}
    project.write_job(model=model, cache=cache, output=output, thinking=None, mode="batch" if is_batch else "sync")
    project.write_rows(texts)
    with planned(project) as (plan,):
        ceiling = plan.estimate.ceiling_pico_usd
        dearest = sum(dearest_bill_usd(plan, params, is_batch) for params in sent_params(plan))
    assert ceiling is not None
    assert dearest <= ceiling / 1e12


def sent_params(plan: JobPlan) -> list[dict[str, Any]]:
    import msgspec

    return [msgspec.json.decode(body) for phase in plan.phases for _, body in plan.bodies(phase.name)]


def dearest_bill_usd(plan: JobPlan, params: Mapping[str, Any], is_batch: bool) -> float:
    from batchforge.emulator.prompt import read_prompt

    model = emulated.find_model(str(params["model"]))
    assert model is not None
    tokens = read_prompt(params, model).input_tokens
    life = plan.caching.longest_life
    usage: dict[str, Any] = {
        "input_tokens": 0 if life else tokens,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": tokens if life else 0,
        "cache_creation": {"ephemeral_1h_input_tokens": tokens if life == "1h" else 0},
        "output_tokens": params["max_tokens"],
        "service_tier": "batch" if is_batch else "standard",
    }
    return bill_usd(model, usage)


@pytest.mark.parametrize(("words", "tier"), [(40_000, 0), (140_000, 1)])
def test_a_prompt_above_a_price_boundary_is_estimated_at_the_dearer_price(
    tmp_path: Path, words: int, tier: int
) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write_job(model="claude-haiku-5-5", cache="off")
    project.write_rows(["word " * words])
    prices = price_table().prices_of("claude-haiku-5-5")
    assert prices is not None
    with planned(project) as (plan,):
        estimate = plan.estimate
        assert estimate.expected_pico_usd is not None
        input_usd = estimate.expected_pico_usd / 1e12 - 200 * float(prices.tiers[tier].output) * 0.5 / 1e6
        assert input_usd == pytest.approx(estimate.input_tokens * float(prices.tiers[tier].input) * 0.5 / 1e6, rel=0.01)


def test_the_ceiling_counts_the_dearer_price_where_a_prompt_may_pass_the_boundary(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write_job(model="claude-haiku-5-5", cache="off")
    project.write_rows(["x" * 99_000, "x" * 101_000])
    prices = price_table().prices_of("claude-haiku-5-5")
    assert prices is not None
    with planned(project) as (plan,):
        small, large = (plan.sizes_of([request])[0] or 0 for request in intended(plan))
        low, high = (tier.input for tier in prices.tiers)
    assert small < large
    assert Decimal(large) / Decimal(small) > high / low


def intended(plan: JobPlan) -> list[Any]:
    from batchforge.state.records import IntendedRequest

    return [IntendedRequest(row.row.request_id or b"", 0, row.pieces or ()) for row in plan.to_send()]


def test_the_ceilings_of_single_requests_add_up_to_that_of_the_plan(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write_rows([f"{'word ' * n} {n}" for n in range(30)])
    with planned(project) as (plan,):
        requests = intended(plan)
        total = plan.estimate.ceiling_pico_usd
        assert sum(plan.sizes_of([request])[0] or 0 for request in requests) == total
        assert plan.rows_that_fit(float(total or 0)) == 30
        assert plan.rows_that_fit(float(plan.sizes_of(requests[:7])[0] or 0)) == 7


def test_marks_that_stand_in_the_jobs_own_blocks_raise_the_ceiling(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    block = {"type": "text", "text": "Answer in one word."}
    ceilings = []
    for marks in ({}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}):
        project.write_job(cache="off", system=[{**block, **marks}])
        with planned(project) as (plan,):
            ceilings.append(plan.estimate.ceiling_pico_usd or 0)
    assert ceilings[1] > ceilings[0]


def test_without_a_known_price_there_is_neither_a_cost_nor_a_ceiling(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write_job(model="claude-next")
    with planned(project, allow_unknown_model=True) as (plan,):
        assert (plan.estimate.expected_pico_usd, plan.estimate.ceiling_pico_usd) == (None, None)


def test_input_and_output_tokens_are_learnt_from_results(project: ProjectFiles) -> None:
    project.write_rows([f"Text number {n} about a red bicycle in the rain." for n in range(40)])
    project.run(limit=10)
    _, jobs, target = project.load()
    with project.state() as state, planned(project) as (plan,):
        assert plan.estimate.learnt_from == 10
        assert state.learnt(jobs[0].name, jobs[0].model, "batch").results == 10
        expected = plan.estimate.input_tokens, plan.estimate.output_tokens
    project.run()
    with project.state() as state:
        attempts = state.query("SELECT sum(prompt_tokens), sum(output_tokens) FROM attempts WHERE attempt_id > 1")
        (billed,) = attempts
    assert expected[0] == pytest.approx(billed[0], rel=0.1)
    assert expected[1] == pytest.approx(billed[1], rel=0.3)
    assert target.name == "api"


def test_a_plan_of_nothing_costs_nothing(project: ProjectFiles) -> None:
    project.run()
    with planned(project) as (plan,):
        assert (plan.estimate.expected_pico_usd, plan.estimate.ceiling_pico_usd) == (0, 0)


def test_a_plan_needs_no_state(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    with planned(project) as (plan,), plan_job(plan.compiled, None, "other", PlanSettings()) as same:
        assert same.digest == plan.digest
