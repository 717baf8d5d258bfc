"""Prices of a project's own, and what tokens cost by any table, held against arithmetic of this file's own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.claude_models import all_models, price_table
from batchforge.errors import BatchForgeError
from batchforge.ledger.pricing import Pricing, tier_limits
from batchforge.results import RequestResult, ResultKind, Usage
from tests.project_files import PROJECT, load, problems_of, write_project

HAIKU = {"input": "0.1", "output": "0.5", "write_5m": "0.125", "write_1h": "0.2", "read": "0.01"}
HAIKU_LONG = {"input": "0.5", "output": "2.5", "write_5m": "0.625", "write_1h": "1", "read": "0.05"}
OPUS_4_6 = {"input": "5", "output": "25", "write_5m": "6.25", "write_1h": "10", "read": "0.5"}
FABLE_5_1 = {"input": "10", "output": "50", "write_5m": "12.5", "write_1h": "20", "read": "0.25"}
SMALL = st.integers(0, 400_000)


def with_prices(prices: str, target_prices: str = "") -> dict[str, str | bytes]:
    text = PROJECT + f"prices:\n{prices}"
    if target_prices:
        gateway = f"  gateway:\n    type: claude\n    prices:\n{target_prices}"
        text = text.replace("defaults:", gateway + "defaults:")
    return {"batchforge.yml": text}


def rates(root: Path, model: str, target: str = "local") -> tuple[str, ...] | None:
    project, _, problems = load(root)
    assert not problems
    prices = project.price_table(project.target(target)).prices_of(model)
    if prices is None:
        return None
    tier = prices.tiers[0]
    amounts = (tier.input, tier.output, tier.cache_write_5m, tier.cache_write_1h, tier.cache_read)
    return tuple(f"{amount.normalize():f}" for amount in amounts)


def cost(usage: Usage, model: str, *, batch: bool = True, geo: str | None = None, own: Any = None) -> int | None:
    result = RequestResult("bf1_x", ResultKind.ANSWERED, usage, model=model, inference_geo=geo)
    return Pricing(price_table(own)).priced(result, is_batch=batch).cost_pico_usd


def by_hand(usage: Usage, usd_per_million: dict[str, str], factor: Fraction = Fraction(1)) -> Fraction:
    """In 10⁻¹² USD."""
    tokens = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "write_5m": usage.cache_write_5m_tokens,
        "write_1h": usage.cache_write_1h_tokens,
        "read": usage.cache_read_tokens,
    }
    return sum(count * Fraction(usd_per_million[kind]) * 10**6 for kind, count in tokens.items()) * factor


# ---- batchforge.yml


def test_without_prices_of_its_own_a_project_has_those_of_this_version(tmp_path: Path) -> None:
    write_project(tmp_path)
    assert rates(tmp_path, "claude-haiku-5-5") == ("0.1", "0.5", "0.125", "0.2", "0.01")


def test_a_projects_price_overrides_and_what_it_leaves_out_keeps_the_models_ratio(tmp_path: Path) -> None:
    write_project(tmp_path, with_prices("  claude-fable-5-1: {input: 8, output: 30, cache_write_1h: 15}\n"))
    assert rates(tmp_path, "claude-fable-5-1") == ("8", "30", "10", "15", "0.2")
    assert rates(tmp_path, "claude-haiku-5-5") == ("0.1", "0.5", "0.125", "0.2", "0.01")


def test_a_targets_prices_go_before_the_projects_and_hold_only_there(tmp_path: Path) -> None:
    own = "  claude-haiku-5-5: {input: 2, output: 4}\n  house-model: {input: 1, output: 1}\n"
    files = with_prices(own, "      claude-haiku-5-5: {input: 3, output: 6}\n")
    write_project(tmp_path, files)
    assert rates(tmp_path, "claude-haiku-5-5", "gateway") == ("3", "6", "3.75", "6", "0.3")
    assert rates(tmp_path, "claude-haiku-5-5") == ("2", "4", "2.5", "4", "0.2")
    assert rates(tmp_path, "house-model", "gateway") == ("1", "1", "1.25", "2", "0.1")


def test_a_model_can_be_priced_by_the_projects_name_for_it_or_the_apis_alias(tmp_path: Path) -> None:
    files = with_prices("  cheap: {input: 7, output: 7}\n  claude-haiku-4-5: {input: 9, output: 9}\n")
    write_project(tmp_path, files)
    assert rates(tmp_path, "claude-haiku-5-5") == ("7", "7", "8.75", "14", "0.7")
    assert rates(tmp_path, "claude-haiku-4-5-20251001") == ("9", "9", "11.25", "18", "0.9")


def test_a_target_can_price_by_id_what_the_project_priced_by_alias(tmp_path: Path) -> None:
    project = "  claude-haiku-4-5: {input: 9, output: 9}\n"
    target = "      claude-haiku-4-5-20251001: {input: 4, output: 4}\n"
    write_project(tmp_path, with_prices(project, target))
    assert rates(tmp_path, "claude-haiku-4-5", "gateway") == ("4", "4", "5", "8", "0.4")


def test_a_model_that_is_priced_twice_is_named_with_its_line(tmp_path: Path) -> None:
    files = with_prices("  cheap: {input: 7, output: 7}\n  claude-haiku-5-5: {input: 9, output: 9}\n")
    (problem,) = problems_of(tmp_path, files)
    assert problem.startswith("BF440 batchforge.yml:11:3: `cheap` and `claude-haiku-5-5` are the same model")


def test_a_price_too_fine_to_be_summed_exactly_is_named_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, with_prices("  house-model: {input: 0.0000001, output: 1}\n"))
    assert problem.startswith("BF440 batchforge.yml:10:3: prices of house-model: 'input'")


def test_prices_of_a_target_are_checked_too(tmp_path: Path) -> None:
    files = with_prices("  claude-opus-5-5: {input: 1, output: 1}\n", "      m: {input: 1, output: 0.0000001}\n")
    (problem,) = problems_of(tmp_path, files)
    assert problem.startswith("BF440 batchforge.yml:9:7: prices of m: 'output'")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{input: 1}", "output"),
        ("{input: 1, output: cheap}", "a number"),
        ("{input: -1, output: 1}", "0"),
        ("{inptu: 1, input: 1, output: 1}", "inptu"),
    ],
)
def test_what_is_no_price_is_named_with_its_line(tmp_path: Path, entry: str, words: str) -> None:
    (problem,) = problems_of(tmp_path, with_prices(f"  house-model: {entry}\n"))
    assert "batchforge.yml:10:" in problem
    assert words in problem


# ---- arithmetic


@given(st.builds(Usage, *[SMALL] * 5), st.booleans(), st.sampled_from(["us", "global", "not_available", None]))
def test_cost_is_what_arithmetic_by_hand_gives(usage: Usage, batch: bool, geo: str | None) -> None:
    factor = (Fraction(1, 2) if batch else 1) * (Fraction(11, 10) if geo == "us" else 1)
    prompt = usage.prompt_tokens
    haiku = HAIKU if prompt <= 100_000 else HAIKU_LONG
    for model, prices in (("claude-haiku-5-5", haiku), ("claude-opus-4-6", OPUS_4_6), ("claude-fable-5-1", FABLE_5_1)):
        assert cost(usage, model, batch=batch, geo=geo) == by_hand(usage, prices, Fraction(factor))


def test_the_whole_request_is_priced_by_the_tier_of_its_own_prompt() -> None:
    assert cost(Usage(99_999, 1_000, cache_read_tokens=1), "claude-haiku-5-5", batch=False) == 10_499_910_000
    assert cost(Usage(99_999, 1_000, cache_read_tokens=2), "claude-haiku-5-5", batch=False) == 52_499_600_000


def test_output_does_not_count_towards_the_tier() -> None:
    assert cost(Usage(100_000, 64_000), "claude-haiku-5-5") == (100_000 * 100_000 + 64_000 * 500_000) // 2


def test_a_batch_costs_half_and_us_inference_a_tenth_more() -> None:
    usage = Usage(1_000, 1_000)
    single = cost(usage, "claude-opus-5-5", batch=False)
    assert single is not None
    assert cost(usage, "claude-opus-5-5") == single // 2
    assert cost(usage, "claude-opus-5-5", batch=False, geo="us") == single * 11 // 10
    assert cost(usage, "claude-opus-5-5", geo="us") == single * 11 // 20
    assert cost(usage, "claude-opus-5-5", batch=False, geo="global") == single


def test_a_web_search_costs_a_cent_in_batches_too() -> None:
    one, none = Usage(10, 10, web_searches=1), Usage(10, 10)
    for batch in (True, False):
        with_search, without = cost(one, "claude-opus-5-5", batch=batch), cost(none, "claude-opus-5-5", batch=batch)
        assert with_search is not None
        assert without is not None
        assert with_search - without == 10**10


def test_a_model_without_a_price_costs_nobody_knows_what() -> None:
    assert cost(Usage(1_000, 1_000), "house-model") is None
    assert cost(Usage(1_000, 1_000), "house-model", own={"house-model": {"input": 1, "output": 2}}) == 1_500_000_000


def test_a_gateway_without_a_batch_discount_charges_batches_in_full() -> None:
    own = {"house-model": {"input": 1, "output": 2, "batch_multiplier": 1}}
    assert cost(Usage(1_000, 1_000), "house-model", own=own) == 3_000_000_000


@given(
    st.decimals(0, 1_000, places=4),
    st.decimals(0, 1_000, places=4),
    st.booleans(),
    st.booleans(),
    st.builds(Usage, *[SMALL] * 5),
)
def test_own_prices_of_four_digits_give_whole_amounts(a: Any, b: Any, batch: bool, us: bool, usage: Usage) -> None:
    own = {"claude-sonnet-5-5": {"input": a, "output": b}}
    table = price_table(own).prices_of("claude-sonnet-5-5")
    assert table is not None
    (tier,) = table.tiers
    prices = {
        "input": str(a),
        "output": str(b),
        "write_5m": str(tier.cache_write_5m),
        "write_1h": str(tier.cache_write_1h),
        "read": str(tier.cache_read),
    }
    factor = Fraction(1, 2 if batch else 1) * (Fraction(11, 10) if us else 1)
    found = cost(usage, "claude-sonnet-5-5", batch=batch, geo="us" if us else None, own=own)
    assert found == by_hand(usage, prices, factor)


def test_every_price_of_this_version_is_a_whole_number_of_a_token() -> None:
    for model in all_models():
        for tier in model.prices.tiers if model.prices else ():
            for kind in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"):
                for factor in (Fraction(1), Fraction(1, 2), Fraction(11, 10), Fraction(11, 20)):
                    assert (Fraction(getattr(tier, kind)) * 10**6 * factor).denominator == 1, (model.id, kind)


def test_every_tier_limit_is_known() -> None:
    assert tier_limits() == (100_000,)


def test_a_price_too_fine_for_one_mode_is_refused() -> None:
    with pytest.raises(BatchForgeError, match="too fine"):
        price_table({"house-model": {"input": "0.000001", "output": 1}})
