"""Tokens -> money in whole 10⁻¹² USD, by a price table. In every price a token costs a whole number of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from msgspec import structs

from batchforge.claude_models import ModelPrices, PriceTable, PriceTier, all_models, web_search_usd
from batchforge.results import RequestResult, Usage


@dataclass(frozen=True, slots=True)
class TokenRates:
    """What a token of each kind costs, in 10⁻¹² USD, for prompts of at most `prompt_tokens_max` tokens."""

    prompt_tokens_max: int | None
    input: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    output: int

    def cost_pico_usd(self, usage: Usage) -> int:
        """Of the tokens of one request, or of several within this tier."""
        return (
            usage.input_tokens * self.input
            + usage.cache_write_5m_tokens * self.cache_write_5m
            + usage.cache_write_1h_tokens * self.cache_write_1h
            + usage.cache_read_tokens * self.cache_read
            + usage.output_tokens * self.output
        )


def token_rates(prices: ModelPrices, *, is_batch: bool, inference_geo: str | None) -> tuple[TokenRates, ...]:
    """One for each price tier, by rising size of the prompt."""
    return tuple(_rates(tier, prices, is_batch, inference_geo) for tier in prices.tiers)


def _rates(tier: PriceTier, prices: ModelPrices, is_batch: bool, inference_geo: str | None) -> TokenRates:
    factor = prices.multiplier(batch=is_batch, inference_geo=inference_geo).scaleb(6)
    return TokenRates(
        prompt_tokens_max=tier.prompt_tokens_max,
        input=int(tier.input * factor),
        cache_write_5m=int(tier.cache_write_5m * factor),
        cache_write_1h=int(tier.cache_write_1h * factor),
        cache_read=int(tier.cache_read * factor),
        output=int(tier.output * factor),
    )


def rates_for(rates: tuple[TokenRates, ...], prompt_tokens: int) -> TokenRates:
    """The whole request is priced by the tier of its own prompt size."""
    for tier in rates[:-1]:
        if tier.prompt_tokens_max is None or prompt_tokens <= tier.prompt_tokens_max:
            return tier
    return rates[-1]


@dataclass(slots=True)
class Pricing:
    """Prices results one by one, and remembers the rates of the models that it has met."""

    table: PriceTable
    _known: dict[tuple[str, bool, str | None], tuple[TokenRates, ...] | None] = field(default_factory=dict)

    def rates(self, model: str, *, is_batch: bool, inference_geo: str | None) -> tuple[TokenRates, ...] | None:
        """None where the model has no known price."""
        name = (model, is_batch, inference_geo)
        if name not in self._known:
            prices = self.table.prices_of(model)
            found = token_rates(prices, is_batch=is_batch, inference_geo=inference_geo) if prices else None
            self._known[name] = found
        return self._known[name]

    def priced(self, result: RequestResult, *, is_batch: bool) -> RequestResult:
        """The result with what it cost."""
        if result.model is None:
            return result
        rates = self.rates(result.model, is_batch=is_batch, inference_geo=result.inference_geo)
        if rates is None:
            return structs.replace(result, cost_pico_usd=None)
        usage = result.usage
        of_searches = usage.web_searches * web_search_pico_usd()
        standard = self.rates(result.model, is_batch=False, inference_geo=result.inference_geo) or rates
        plain = Usage(usage.prompt_tokens, usage.output_tokens)
        return structs.replace(
            result,
            cost_pico_usd=rates_for(rates, usage.prompt_tokens).cost_pico_usd(usage) + of_searches,
            standard_pico_usd=rates_for(standard, usage.prompt_tokens).cost_pico_usd(usage) + of_searches,
            uncached_pico_usd=rates_for(standard, usage.prompt_tokens).cost_pico_usd(plain) + of_searches,
        )


@cache
def web_search_pico_usd() -> int:
    return int(web_search_usd().scaleb(12))


def tier_limits() -> tuple[int, ...]:
    """Every prompt size above which some model has another price, rising."""
    tiers = (tier for model in all_models() if model.prices for tier in model.prices.tiers)
    return tuple(sorted({tier.prompt_tokens_max for tier in tiers if tier.prompt_tokens_max is not None}))
