"""The facts of each model, typed by hand from its documentation, and prices recomputed without the code under test."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.claude_models import (
    CostParts,
    ModelPrices,
    all_models,
    ceiling_usd,
    context_limit_tokens,
    cost_parts,
    cost_usd,
    find_model,
    nearest_models,
    price_table,
    retired_on,
    successor,
)
from batchforge.errors import BatchForgeError
from batchforge.results import Usage

TODAY = date(2026, 11, 24)
ALL_EFFORTS = "low medium high xhigh max"
OLD_EFFORTS = "low medium high max"

# id: window, longest answer (and with the batch beta), cache minimum, tokenizer, default thinking, thinking, efforts
LIMITS = {
    "claude-fable-5-2": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-mythos-5-2": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-fable-5-1": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-mythos-5-1": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-opus-5-5": (1_000_000, 128_000, 300_000, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-sonnet-5-5": (1_000_000, 128_000, 300_000, 512, "v2", "on", "adaptive between_tools", ALL_EFFORTS),
    "claude-haiku-5-5": (1_000_000, 128_000, 300_000, 512, "v2", "on", "adaptive disabled", ALL_EFFORTS),
    "claude-sonnet-5": (1_000_000, 128_000, 300_000, 1024, "v2", "on", "adaptive disabled", ALL_EFFORTS),
    "claude-fable-5": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-mythos-5": (1_000_000, 128_000, None, 512, "v2", "always_on", "adaptive", ALL_EFFORTS),
    "claude-opus-5": (1_000_000, 128_000, 300_000, 512, "v2", "on", "adaptive disabled", ALL_EFFORTS),
    "claude-opus-4-8": (1_000_000, 128_000, 300_000, 1024, "v2", "off", "adaptive disabled", ALL_EFFORTS),
    "claude-opus-4-7": (1_000_000, 128_000, 300_000, 2048, "v2", "off", "adaptive disabled", ALL_EFFORTS),
    "claude-mythos-preview": (1_000_000, None, None, 2048, "v2", "always_on", "adaptive enabled", OLD_EFFORTS),
    "claude-opus-4-6": (1_000_000, 128_000, 300_000, 4096, "v1", "off", "adaptive enabled disabled", OLD_EFFORTS),
    "claude-sonnet-4-6": (1_000_000, 128_000, 300_000, 1024, "v1", "off", "adaptive enabled disabled", OLD_EFFORTS),
    "claude-opus-4-5-20251101": (200_000, 64_000, None, 4096, "v1", "off", "enabled disabled", "low medium high"),
    "claude-haiku-4-5-20251001": (200_000, 64_000, None, 4096, "v1", "off", "enabled disabled", ""),
    "claude-sonnet-4-5-20250929": (200_000, 64_000, None, 1024, "v1", "off", "enabled disabled", ""),
}

# id: input, output, 5-minute write, 1-hour write, read: USD per million tokens
PRICES = {
    "claude-fable-5-2": ("8", "40", "10", "16", "0.2"),
    "claude-mythos-5-2": ("8", "40", "10", "16", "0.2"),
    "claude-fable-5-1": ("10", "50", "12.5", "20", "0.25"),
    "claude-mythos-5-1": ("10", "50", "12.5", "20", "0.25"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.2"),
    "claude-sonnet-5-5": ("2", "10", "2.5", "4", "0.1"),
    "claude-sonnet-5": ("2", "10", "2.5", "4", "0.2"),
    "claude-fable-5": ("10", "50", "12.5", "20", "1"),
    "claude-mythos-5": ("10", "50", "12.5", "20", "1"),
    "claude-opus-5": ("5", "25", "6.25", "10", "0.5"),
    "claude-opus-4-8": ("5", "25", "6.25", "10", "0.5"),
    "claude-opus-4-7": ("5", "25", "6.25", "10", "0.5"),
    "claude-opus-4-6": ("5", "25", "6.25", "10", "0.5"),
    "claude-sonnet-4-6": ("3", "15", "3.75", "6", "0.3"),
    "claude-opus-4-5-20251101": ("5", "25", "6.25", "10", "0.5"),
    "claude-haiku-4-5-20251001": ("1", "5", "1.25", "2", "0.1"),
    "claude-sonnet-4-5-20250929": ("3", "15", "3.75", "6", "0.3"),
}
HAIKU_5_5_SMALL = ("0.1", "0.5", "0.125", "0.2", "0.01")
HAIKU_5_5_LARGE = ("0.5", "2.5", "0.625", "1", "0.05")

NO_FORCED_TOOL = {
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-fable-5-1",
    "claude-mythos-5-1",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
}
TAKES_PREFILL = {"claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"}
TAKES_SAMPLING = {*TAKES_PREFILL, "claude-opus-4-6", "claude-sonnet-4-6"}
THINKS_ONLY_UP_TO_HIGH = {
    "claude-sonnet-5-5": ("between_tools",),
    "claude-haiku-5-5": ("disabled",),
    "claude-opus-5": ("disabled",),
}
LIMITED = {"claude-mythos-5-2", "claude-mythos-5-1", "claude-mythos-5"}


def prices_of(model_id: str) -> ModelPrices:
    prices = price_table().prices_of(model_id)
    assert prices is not None
    return prices


def test_every_model_is_in_the_table_of_this_test() -> None:
    assert {model.id for model in all_models()} == set(LIMITS)


@pytest.mark.parametrize("model_id", LIMITS)
def test_limits_are_the_published_ones(model_id: str) -> None:
    model = find_model(model_id)
    assert model is not None
    found = (
        context_limit_tokens(model),
        model.max_output_tokens,
        model.max_output_tokens_extended_batch,
        model.min_cacheable_tokens,
        model.tokenizer,
        model.thinking.default,
        " ".join(model.thinking.types),
        " ".join(model.effort.levels),
    )
    assert found == LIMITS[model_id]


@pytest.mark.parametrize("model_id", LIMITS)
def test_refusals_are_the_published_ones(model_id: str) -> None:
    model = find_model(model_id)
    assert model is not None
    assert model.takes_forced_tool_choice is (model_id not in NO_FORCED_TOOL)
    assert model.takes_prefill is (model_id in TAKES_PREFILL)
    assert (model.takes_sampling == "old_version_only") is (model_id in TAKES_SAMPLING)
    assert model.thinking.at_most_high_effort == THINKS_ONLY_UP_TO_HIGH.get(model_id, ())
    assert (model.access == "limited") is (model_id in LIMITED)


@pytest.mark.parametrize("model_id", PRICES)
def test_prices_are_the_published_ones(model_id: str) -> None:
    (tier,) = prices_of(model_id).tiers
    found = (tier.input, tier.output, tier.cache_write_5m, tier.cache_write_1h, tier.cache_read)
    assert found == tuple(map(Decimal, PRICES[model_id]))


def test_the_small_haiku_is_priced_by_the_prompt_size_of_each_request() -> None:
    small, large = prices_of("claude-haiku-5-5").tiers
    assert (small.prompt_tokens_max, large.prompt_tokens_max) == (100_000, None)
    for tier, expected in ((small, HAIKU_5_5_SMALL), (large, HAIKU_5_5_LARGE)):
        found = (tier.input, tier.output, tier.cache_write_5m, tier.cache_write_1h, tier.cache_read)
        assert found == tuple(map(Decimal, expected))


def test_only_a_model_without_a_published_price_has_none() -> None:
    assert {model.id for model in all_models() if model.prices is None} == {"claude-mythos-preview"}


def test_dateless_names_of_dated_models_are_aliases() -> None:
    for alias in ("claude-opus-4-5", "claude-haiku-4-5", "claude-sonnet-4-5"):
        model = find_model(alias)
        assert model is not None
        assert model.id.startswith(f"{alias}-20")


def test_unknown_and_retired_names_are_not_models() -> None:
    assert find_model("claude-opus-4-1-20250805") is None
    assert find_model("gpt") is None


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("claude-opus-4-1-20250805", date(2026, 8, 5)),
        ("claude-opus-4-1", date(2026, 8, 5)),
        ("claude-sonnet-4-0", date(2026, 6, 15)),
        ("claude-3-haiku-20240307", date(2026, 4, 20)),
        ("claude-3-5-haiku-latest", date(2026, 2, 19)),
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-haiku-5-5", None),
        ("gpt", None),
    ],
)
def test_the_day_of_retirement_is_known_by_any_name(name: str, day: date | None) -> None:
    assert retired_on(name) == day


def test_a_model_is_retired_from_its_day_on() -> None:
    model = find_model("claude-sonnet-4-5")
    assert model is not None
    assert model.status_on(date(2026, 11, 29)) == "deprecated"
    assert model.status_on(date(2026, 11, 30)) == "retired"


def test_the_successor_is_the_newest_open_model_of_the_line() -> None:
    found = {name: successor(name) for name in ("claude-3-5-haiku-20241022", "claude-opus-4-8", "claude-sonnet-5-5")}
    assert {name: model.id if model else None for name, model in found.items()} == {
        "claude-3-5-haiku-20241022": "claude-haiku-5-5",
        "claude-opus-4-8": "claude-opus-5-5",
        "claude-sonnet-5-5": None,
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("claude-haiku-55", "claude-haiku-5-5"),
        ("haiku 5.5", "claude-haiku-5-5"),
        ("Claude-Opus-5.5", "claude-opus-5-5"),
        ("claude-sonet-5", "claude-sonnet-5"),
    ],
)
def test_a_mistyped_name_finds_its_model(typed: str, meant: str) -> None:
    assert nearest_models(typed)[0] == meant


def test_a_name_of_another_maker_finds_nothing() -> None:
    assert nearest_models("gpt-4") == ()


def test_the_newest_model_comes_first() -> None:
    assert all_models()[0].id == "claude-fable-5-2"


def test_the_longest_answer_grows_with_the_beta_in_batches_only() -> None:
    model = find_model("claude-haiku-5-5")
    assert model is not None
    beta = ["output-300k-2026-03-24"]
    assert model.max_output_with(beta, batch=True) == 300_000
    assert model.max_output_with(beta, batch=False) == 128_000
    assert model.max_output_with([], batch=True) == 128_000


# 5,000 requests that share a system prompt of 3,000 tokens, at $3 a million; with caching, one in ten writes it.
REQUESTS, PREFIX_TOKENS = 5_000, 3_000


def total_usd(share_written: Fraction, kind: str, *, batch: bool) -> Decimal:
    written = int(REQUESTS * share_written)
    write = Usage(
        cache_write_5m_tokens=PREFIX_TOKENS if kind == "5m" else 0,
        cache_write_1h_tokens=PREFIX_TOKENS if kind == "1h" else 0,
        input_tokens=PREFIX_TOKENS if kind == "at the input price" else 0,
    )
    prices = prices_of("claude-sonnet-4-6")
    read = Usage(cache_read_tokens=PREFIX_TOKENS)
    return written * cost_usd(write, prices, batch=batch) + (REQUESTS - written) * cost_usd(read, prices, batch=batch)


@pytest.mark.parametrize(
    ("kind", "standard", "batch"),
    [
        ("at the input price", "8.55", "4.275"),
        ("5m", "9.675", "4.8375"),
        ("1h", "13.05", "6.525"),
    ],
)
def test_a_known_case_of_caching_comes_out_to_the_cent(kind: str, standard: str, batch: str) -> None:
    assert total_usd(Fraction(1, 10), kind, batch=False) == Decimal(standard)
    assert total_usd(Fraction(1, 10), kind, batch=True) == Decimal(batch)


def test_the_known_case_without_caching_costs_its_tokens() -> None:
    uncached = Usage(input_tokens=PREFIX_TOKENS)
    prices = prices_of("claude-sonnet-4-6")
    assert REQUESTS * cost_usd(uncached, prices, batch=False) == Decimal(45)
    assert REQUESTS * cost_usd(uncached, prices, batch=True) == Decimal("22.5")


def test_a_prompt_of_exactly_the_tier_limit_is_in_the_cheaper_tier() -> None:
    prices = prices_of("claude-haiku-5-5")
    assert cost_usd(Usage(input_tokens=100_000), prices, batch=False) == Decimal("0.01")
    assert cost_usd(Usage(input_tokens=100_001), prices, batch=False) == Decimal("0.0500005")


def test_cached_tokens_count_towards_the_tier_and_the_answer_follows_it() -> None:
    prices = prices_of("claude-haiku-5-5")
    usage = Usage(
        input_tokens=1, cache_read_tokens=60_000, cache_write_5m_tokens=20_000, cache_write_1h_tokens=20_000,
        output_tokens=1_000,
    )  # fmt: skip
    parts = cost_parts(usage, prices, batch=False)
    assert parts == CostParts(
        input_usd=Decimal("0.0000005"),
        cache_write_5m_usd=Decimal("0.0125"),
        cache_write_1h_usd=Decimal("0.02"),
        cache_read_usd=Decimal("0.003"),
        output_usd=Decimal("0.0025"),
    )


def test_a_large_answer_alone_does_not_change_the_tier() -> None:
    usage = Usage(input_tokens=10, output_tokens=200_000)
    assert cost_usd(usage, prices_of("claude-haiku-5-5"), batch=False) == Decimal("0.100001")


def test_us_inference_costs_a_tenth_more_from_4_6_on() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert cost_usd(usage, prices_of("claude-opus-4-6"), batch=True, inference_geo="us") == Decimal("2.75")
    assert cost_usd(usage, prices_of("claude-opus-4-6"), batch=True, inference_geo="global") == Decimal("2.5")
    assert cost_usd(usage, prices_of("claude-sonnet-4-5"), batch=True, inference_geo="us") == Decimal("1.5")


TOKENS = st.integers(0, 300_000)
USAGES = st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)


def recomputed_usd(usage: Usage, model_id: str, *, batch: bool, us: bool) -> Fraction:
    """In fractions, from the tables of this test."""
    prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    haiku = HAIKU_5_5_LARGE if prompt > 100_000 else HAIKU_5_5_SMALL
    row = haiku if model_id == "claude-haiku-5-5" else PRICES[model_id]
    price_in, price_out, write_5m, write_1h, read = map(Fraction, row)
    per_million = (
        usage.input_tokens * price_in
        + usage.output_tokens * price_out
        + usage.cache_write_5m_tokens * write_5m
        + usage.cache_write_1h_tokens * write_1h
        + usage.cache_read_tokens * read
    )
    geo = Fraction(11, 10) if us and "-4-5" not in model_id else Fraction(1)
    return per_million / 1_000_000 * (Fraction(1, 2) if batch else 1) * geo


@given(usage=USAGES, model_id=st.sampled_from([*PRICES, "claude-haiku-5-5"]), batch=st.booleans(), us=st.booleans())
def test_costs_equal_an_independent_sum_exactly(usage: Usage, model_id: str, batch: bool, us: bool) -> None:
    geo = "us" if us else None
    cost = cost_usd(usage, prices_of(model_id), batch=batch, inference_geo=geo)
    assert Fraction(cost) == recomputed_usd(usage, model_id, batch=batch, us=us)
    assert cost_parts(usage, prices_of(model_id), batch=batch, inference_geo=geo).total_usd == cost


@given(
    usage=USAGES,
    more_prompt=TOKENS,
    more_output=TOKENS,
    model_id=st.sampled_from([*PRICES, "claude-haiku-5-5"]),
    batch=st.booleans(),
)
def test_no_request_costs_more_than_its_ceiling(
    usage: Usage, more_prompt: int, more_output: int, model_id: str, batch: bool
) -> None:
    prices = prices_of(model_id)
    bound = ceiling_usd(usage.prompt_tokens + more_prompt, usage.output_tokens + more_output, prices, batch=batch)
    assert cost_usd(usage, prices, batch=batch) <= bound


def test_a_ceiling_within_the_cheaper_tier_takes_its_prices() -> None:
    assert ceiling_usd(100_000, 1_000, prices_of("claude-haiku-5-5"), batch=False) == Decimal("0.0205")
    assert ceiling_usd(100_001, 1_000, prices_of("claude-haiku-5-5"), batch=False) == Decimal("0.102501")


def test_parts_add_up_over_requests() -> None:
    one = CostParts(*map(Decimal, ("1", "2", "3", "4", "5")))
    assert (one + one).total_usd == Decimal(30)


def test_a_project_adds_a_model_with_the_usual_ratios() -> None:
    prices = price_table({"house-model": {"input": 0.3, "output": "0.6"}}).prices_of("house-model")
    assert prices is not None
    (tier,) = prices.tiers
    assert (tier.cache_write_5m, tier.cache_write_1h, tier.cache_read) == tuple(map(Decimal, ("0.375", "0.6", "0.03")))
    assert cost_usd(Usage(input_tokens=1_000_000), prices, batch=True) == Decimal("0.15")


def test_a_project_overrides_a_model_by_its_alias_and_keeps_its_ratios() -> None:
    table = price_table({"claude-haiku-4-5": {"input": 2, "output": 9, "batch_multiplier": 1}})
    prices = table.prices_of("claude-haiku-4-5-20251001")
    assert prices is not None
    assert (prices.tiers[0].cache_read, prices.batch_multiplier) == (Decimal("0.2"), Decimal(1))


@pytest.mark.parametrize(
    "entry", [{"input": 1}, {"input": 1, "output": -1}, {"input": 1, "output": "x"}, {"inptu": 1, "output": 1},
              {"input": True, "output": 1}, {"input": 1, "output": "inf"}],
)  # fmt: skip
def test_a_price_that_cannot_be_read_names_its_model(entry: dict[str, object]) -> None:
    with pytest.raises(BatchForgeError, match="BF440 prices of house-model"):
        price_table({"house-model": entry})


def test_prices_are_doubted_when_unverified_unknown_or_old() -> None:
    table = price_table({"claude-fable-5-1": {"input": 1, "output": 2}})
    assert table.doubt("claude-haiku-5-5", TODAY) is None
    assert table.doubt("claude-haiku-5-5", date(2027, 1, 23)) is None
    assert "61 days old" in str(table.doubt("claude-haiku-5-5", date(2027, 1, 24)))
    assert "not verified" in str(table.doubt("claude-fable-5-2", TODAY))
    assert "no price" in str(table.doubt("house-model", TODAY))
    assert table.doubt("claude-fable-5-1", date(2028, 1, 1)) is None


def test_a_price_fingerprint_changes_with_the_prices_of_its_models_only() -> None:
    plain, changed = price_table(), price_table({"claude-haiku-5-5": {"input": 1, "output": 2}})
    assert plain.fingerprint(["claude-haiku-5-5"]) != changed.fingerprint(["claude-haiku-5-5"])
    assert plain.fingerprint(["claude-opus-5-5"]) == changed.fingerprint(["claude-opus-5-5"])
    assert plain.fingerprint(["a", "b"]) == plain.fingerprint(["b", "a", "a"])
