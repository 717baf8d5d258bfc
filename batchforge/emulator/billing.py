"""Dollars of a usage as the API reports it: the tier of the prompt's size, the batch discount, US inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchforge.emulator.models import EmulatedModel, Prices

TOKENS_PER_PRICE = 1_000_000
WEB_SEARCH_USD = 0.01
"""Per search; no batch discount is known for it."""


def bill_usd(model: EmulatedModel, usage: Mapping[str, Any]) -> float:
    """What one answered request costs. A model without published prices costs nothing here."""
    prices = tier_of(model, prompt_tokens(usage))
    if prices is None:
        return searches_usd(usage)
    return tokens_usd(prices, usage) * multiplier(model, usage) + searches_usd(usage)


def prompt_tokens(usage: Mapping[str, Any]) -> int:
    """Input as the tiers see it: fresh, read from the cache and written to it."""
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    return int(usage["input_tokens"]) + int(read or 0) + int(written or 0)


def tier_of(model: EmulatedModel, prompt_tokens: int) -> Prices | None:
    for prices in model.prices:
        if prices.prompt_tokens_max is None or prompt_tokens <= prices.prompt_tokens_max:
            return prices
    return None


def tokens_usd(prices: Prices, usage: Mapping[str, Any]) -> float:
    written_1h = int((usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0)
    # A usage without the split by life can only have written at the default life.
    written_5m = int(usage.get("cache_creation_input_tokens") or 0) - written_1h
    return (
        float(
            usage["input_tokens"] * prices.input_usd
            + usage["output_tokens"] * prices.output_usd
            + (usage.get("cache_read_input_tokens") or 0) * prices.cache_read_usd
            + written_5m * prices.cache_write_5m_usd
            + written_1h * prices.cache_write_1h_usd
        )
        / TOKENS_PER_PRICE
    )


def multiplier(model: EmulatedModel, usage: Mapping[str, Any]) -> float:
    batch = model.batch_multiplier if usage.get("service_tier") == "batch" else 1.0
    us = model.us_multiplier if usage.get("inference_geo") == "us" else 1.0
    return batch * us


def searches_usd(usage: Mapping[str, Any]) -> float:
    searches = (usage.get("server_tool_use") or {}).get("web_search_requests") or 0
    return int(searches) * WEB_SEARCH_USD
