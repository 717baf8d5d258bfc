"""Dollars of a usage, from prices typed by hand, and recounted in exact fractions."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.emulator.billing import bill_usd
from batchforge.emulator.models import EmulatedModel, find_model

# Input, output, write for 5 minutes, write for an hour, read: USD per million tokens.
Row = tuple[str, str, str, str, str]
PRICES: Mapping[str, Row] = {
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
SMALL_HAIKU_5_5: Row = ("0.1", "0.5", "0.125", "0.2", "0.01")
LARGE_HAIKU_5_5: Row = ("0.5", "2.5", "0.625", "1", "0.05")
MILLION = 1_000_000


def model(model_id: str) -> EmulatedModel:
    found = find_model(model_id)
    assert found is not None
    return found


def usage(
    fresh: int = 0, output: int = 0, written_5m: int = 0, written_1h: int = 0, read: int = 0, **more: Any
) -> dict[str, Any]:
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h},
        "output_tokens": output,
        **more,
    }


@pytest.mark.parametrize("model_id", sorted(PRICES))
def test_a_million_of_each_kind_of_token_costs_its_price(model_id: str) -> None:
    kinds = ("fresh", "output", "written_5m", "written_1h", "read")
    for kind, price in zip(kinds, PRICES[model_id], strict=True):
        assert bill_usd(model(model_id), usage(**{kind: MILLION})) == pytest.approx(float(price))


@pytest.mark.parametrize(
    ("sent", "row"),
    [
        (usage(fresh=100_000, output=50), SMALL_HAIKU_5_5),
        (usage(fresh=100_001, output=50), LARGE_HAIKU_5_5),
        (usage(fresh=1, written_5m=40_000, written_1h=20_000, read=39_999, output=50), SMALL_HAIKU_5_5),
        (usage(fresh=2, written_5m=40_000, written_1h=20_000, read=39_999, output=50), LARGE_HAIKU_5_5),
        (usage(fresh=10, output=200_000), SMALL_HAIKU_5_5),
    ],
)
def test_haiku_5_5_is_priced_by_the_size_of_the_prompt_alone(sent: dict[str, Any], row: Row) -> None:
    assert bill_usd(model("claude-haiku-5-5"), sent) == pytest.approx(float(recounted(row, sent)))


def test_a_batch_costs_half() -> None:
    sent = usage(1000, 200, 300, 400, 500)
    full, half = bill_usd(model("claude-opus-5"), sent), bill_usd(model("claude-opus-5"), {**sent, **BATCH})
    assert half == pytest.approx(full / 2)


BATCH = {"service_tier": "batch"}


def test_inference_in_the_us_costs_a_tenth_more_on_top() -> None:
    sent = usage(1000, 200)
    plain = bill_usd(model("claude-opus-5"), sent)
    assert bill_usd(model("claude-opus-5"), {**sent, "inference_geo": "us"}) == pytest.approx(plain * 1.1)
    both = bill_usd(model("claude-opus-5"), {**sent, **BATCH, "inference_geo": "us"})
    assert both == pytest.approx(plain * 0.55)
    assert bill_usd(model("claude-opus-5"), {**sent, "inference_geo": "global"}) == pytest.approx(plain)


def test_searches_cost_a_cent_each_in_batches_too() -> None:
    sent = usage(server_tool_use={"web_search_requests": 3})
    assert bill_usd(model("claude-opus-5"), sent) == pytest.approx(0.03)
    assert bill_usd(model("claude-opus-5"), {**sent, **BATCH}) == pytest.approx(0.03)


def test_usage_without_cache_fields_has_no_cache() -> None:
    assert bill_usd(model("claude-opus-5"), {"input_tokens": MILLION, "output_tokens": 0}) == pytest.approx(5)
    nulls = {"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "cache_creation": None}
    assert bill_usd(model("claude-opus-5"), {"input_tokens": MILLION, "output_tokens": 0, **nulls}) == pytest.approx(5)


def test_writes_that_are_not_split_by_life_were_for_five_minutes() -> None:
    sent = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": MILLION}
    assert bill_usd(model("claude-opus-5"), sent) == pytest.approx(6.25)


def test_a_model_without_prices_costs_nothing_here() -> None:
    assert bill_usd(model("claude-mythos-preview"), usage(MILLION, MILLION)) == 0


def recounted(row: Row, sent: Mapping[str, Any]) -> Fraction:
    """The same sum in exact fractions."""
    lives = sent["cache_creation"]
    tokens = (
        sent["input_tokens"],
        sent["output_tokens"],
        lives["ephemeral_5m_input_tokens"],
        lives["ephemeral_1h_input_tokens"],
        sent["cache_read_input_tokens"],
    )
    return sum((Fraction(price) * count for price, count in zip(row, tokens, strict=True)), Fraction()) / MILLION


COUNT = st.integers(0, 10**6)


@given(st.sampled_from(sorted(PRICES)), st.tuples(COUNT, COUNT, COUNT, COUNT, COUNT), st.booleans(), st.booleans())
def test_any_usage_costs_what_an_exact_recount_says(
    model_id: str, counts: tuple[int, int, int, int, int], in_batch: bool, in_us: bool
) -> None:
    sent = usage(*counts, service_tier="batch" if in_batch else "standard", inference_geo="us" if in_us else "global")
    expected = recounted(PRICES[model_id], sent) * (Fraction(1, 2) if in_batch else 1)
    expected *= Fraction(11, 10) if in_us else 1
    assert bill_usd(model(model_id), sent) == pytest.approx(float(expected), rel=1e-12, abs=1e-15)
