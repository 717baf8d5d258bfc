"""Each Claude model: limits, prices, what it refuses. From `claude_models.json`, read when first asked for.

Money is exact: prices are decimals, and no figure is rounded before it is shown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_UP, Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from batchforge.errors import BatchForgeError
from batchforge.results import Usage

ThinkingType: TypeAlias = Literal["adaptive", "enabled", "disabled", "between_tools"]
EffortLevel: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
TokenizerFamily: TypeAlias = Literal["v1", "v2"]
"""v1: models before Opus 4.7. v2: Opus 4.7 and later, about 30 % more tokens for the same text."""
ModelStatus: TypeAlias = Literal["active", "deprecated", "retired"]

PRICES_GO_STALE_AFTER_DAYS = 60
CACHE_PRICE_KINDS = ("cache_write_5m", "cache_write_1h", "cache_read")
PRICE_KINDS = ("input", "output", *CACHE_PRICE_KINDS)
PROJECT_SOURCE = "batchforge.yml"


@dataclass(frozen=True, slots=True)
class PriceTier:
    """USD per million tokens, for prompts of at most `prompt_tokens_max` tokens (None: of any size)."""

    prompt_tokens_max: int | None
    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What one model costs. The whole request, its output included, is priced by the tier of its own prompt size."""

    tiers: tuple[PriceTier, ...]
    """By rising `prompt_tokens_max`; the last one has none."""
    batch_multiplier: Decimal
    us_inference_multiplier: Decimal
    verified: bool
    source: str

    def tier_for(self, prompt_tokens: int) -> PriceTier:
        for tier in self.tiers:
            if tier.prompt_tokens_max is None or prompt_tokens <= tier.prompt_tokens_max:
                return tier
        return self.tiers[-1]

    def multiplier(self, *, batch: bool, inference_geo: str | None) -> Decimal:
        """What applies to every kind of token on top of the standard price."""
        factor = self.batch_multiplier if batch else Decimal(1)
        return factor * self.us_inference_multiplier if inference_geo == "us" else factor


@dataclass(frozen=True, slots=True)
class ThinkingRules:
    types: tuple[ThinkingType, ...]
    """What `thinking.type` may be."""
    default: Literal["always_on", "on", "off"]
    """What happens where `thinking` is left out. always_on: it cannot be turned off."""
    at_most_high_effort: tuple[ThinkingType, ...]
    """Types that are refused with effort xhigh or max."""
    deprecated: tuple[ThinkingType, ...]


@dataclass(frozen=True, slots=True)
class EffortRules:
    levels: tuple[EffortLevel, ...]
    """Empty: the model takes no effort."""
    default: EffortLevel | None


@dataclass(frozen=True, slots=True)
class ToolPromptTokens:
    """Size of the hidden instructions that come with any tools."""

    auto: int
    """tool_choice auto or none."""
    forced: int
    """tool_choice any or tool."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    id: str
    aliases: tuple[str, ...]
    status: Literal["active", "deprecated"]
    """As announced when the table was made; `status_on` also counts the date of retirement."""
    access: Literal["general", "limited"]
    released_on: date | None
    retires_not_before: date | None
    retires_on: date | None
    context_window_tokens: int
    max_output_tokens: int | None
    """None: not published."""
    max_output_tokens_extended_batch: int | None
    """With the beta EXTENDED_OUTPUT_BETA, in batches only. None: the model does not take it."""
    min_cacheable_tokens: int
    tokenizer: TokenizerFamily
    tool_prompt_tokens: ToolPromptTokens | None
    """None: not published."""
    thinking: ThinkingRules
    effort: EffortRules
    takes_forced_tool_choice: bool
    """tool_choice of type any or tool."""
    takes_prefill: bool
    """A conversation that ends with an assistant message."""
    takes_sampling: Literal["never", "old_version_only"]
    """temperature, top_p, top_k: never, or only under API version 2023-06-01."""
    takes_system_messages: bool | None
    """Messages of role system within the conversation. None: not stated."""
    takes_web_fetch: bool | None
    """None: not stated."""
    prices: ModelPrices | None
    """Standard prices. None: not published."""
    unverified: Mapping[str, str]
    """Field -> why its value is not certain."""

    @property
    def line(self) -> str:
        """opus, sonnet, haiku, ..."""
        return _line(self.id)

    @property
    def thinks_by_default(self) -> bool:
        return self.thinking.default != "off"

    def status_on(self, today: date) -> ModelStatus:
        if self.retires_on is not None and self.retires_on <= today:
            return "retired"
        return self.status

    def max_output_with(self, betas: Iterable[str], *, batch: bool) -> int | None:
        """The largest max_tokens that the model takes; None where it is not published."""
        if batch and self.max_output_tokens_extended_batch and extended_output_beta() in betas:
            return self.max_output_tokens_extended_batch
        return self.max_output_tokens


@dataclass(frozen=True, slots=True)
class CostParts:
    """The cost of some requests in USD, by kind of token."""

    input_usd: Decimal = Decimal(0)
    cache_write_5m_usd: Decimal = Decimal(0)
    cache_write_1h_usd: Decimal = Decimal(0)
    cache_read_usd: Decimal = Decimal(0)
    output_usd: Decimal = Decimal(0)

    @property
    def total_usd(self) -> Decimal:
        return (
            self.input_usd + self.cache_write_5m_usd + self.cache_write_1h_usd + self.cache_read_usd + self.output_usd
        )

    def __add__(self, other: CostParts) -> CostParts:
        return CostParts(
            self.input_usd + other.input_usd,
            self.cache_write_5m_usd + other.cache_write_5m_usd,
            self.cache_write_1h_usd + other.cache_write_1h_usd,
            self.cache_read_usd + other.cache_read_usd,
            self.output_usd + other.output_usd,
        )


def cost_parts(usage: Usage, prices: ModelPrices, *, batch: bool, inference_geo: str | None = None) -> CostParts:
    """The cost of ONE request: tiers go by its own prompt size, so a sum over requests must be a sum of these."""
    tier = prices.tier_for(usage.prompt_tokens)
    factor = prices.multiplier(batch=batch, inference_geo=inference_geo).scaleb(-6)
    return CostParts(
        input_usd=usage.input_tokens * tier.input * factor,
        cache_write_5m_usd=usage.cache_write_5m_tokens * tier.cache_write_5m * factor,
        cache_write_1h_usd=usage.cache_write_1h_tokens * tier.cache_write_1h * factor,
        cache_read_usd=usage.cache_read_tokens * tier.cache_read * factor,
        output_usd=usage.output_tokens * tier.output * factor,
    )


def cost_usd(usage: Usage, prices: ModelPrices, *, batch: bool, inference_geo: str | None = None) -> Decimal:
    """The exact cost of ONE request."""
    tier = prices.tier_for(usage.prompt_tokens)
    usd_per_million = (
        usage.input_tokens * tier.input
        + usage.cache_write_5m_tokens * tier.cache_write_5m
        + usage.cache_write_1h_tokens * tier.cache_write_1h
        + usage.cache_read_tokens * tier.cache_read
        + usage.output_tokens * tier.output
    )
    return usd_per_million * prices.multiplier(batch=batch, inference_geo=inference_geo).scaleb(-6)


def ceiling_usd(
    prompt_tokens_max: int,
    output_tokens_max: int,
    prices: ModelPrices,
    *,
    batch: bool,
    inference_geo: str | None = None,
) -> Decimal:
    """What one request can cost at most: each prompt token at the dearest input price of the tiers in reach."""
    floors = (0, *((tier.prompt_tokens_max or 0) + 1 for tier in prices.tiers[:-1]))
    in_reach = [tier for tier, floor in zip(prices.tiers, floors, strict=True) if floor <= prompt_tokens_max]
    dearest_input = max(max(tier.input, tier.cache_write_5m, tier.cache_write_1h) for tier in in_reach)
    dearest_output = max(tier.output for tier in in_reach)
    usd_per_million = prompt_tokens_max * dearest_input + output_tokens_max * dearest_output
    return usd_per_million * prices.multiplier(batch=batch, inference_geo=inference_geo).scaleb(-6)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices in use: the ones that came with this version, and what the project overrides or adds."""

    as_of: date
    source: str
    overrides: Mapping[str, ModelPrices] = field(default_factory=dict)

    def prices_of(self, model_id: str) -> ModelPrices | None:
        """By id or alias; None where the model is unknown or has no published price."""
        model = find_model(model_id)
        names = (model_id, model.id, *model.aliases) if model else (model_id,)
        for name in names:
            if name in self.overrides:
                return self.overrides[name]
        return model.prices if model else None

    def age_days(self, today: date) -> int:
        return max((today - self.as_of).days, 0)

    def doubt(self, model_id: str, today: date) -> str | None:
        """Why the prices of a model should not be relied on; None where they can be."""
        prices = self.prices_of(model_id)
        if prices is None:
            return f"no price of {model_id} is known"
        if prices.source == PROJECT_SOURCE:
            return None
        if not prices.verified:
            return f"the prices of {model_id} are not verified ({prices.source})"
        if self.age_days(today) > PRICES_GO_STALE_AFTER_DAYS:
            return f"the prices of {model_id} are {self.age_days(today)} days old (as of {self.as_of.isoformat()})"
        return None

    def fingerprint(self, model_ids: Iterable[str]) -> str:
        """Changes when a price of one of these models changes; a saved plan binds to it."""
        lines = [f"{model_id} {_prices_line(self.prices_of(model_id))}" for model_id in sorted(set(model_ids))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def price_table(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> PriceTable:
    """The price table, with a project's `prices:` (model -> USD per million tokens) laid over it.

    Raises:
        BatchForgeError: BF440 a price is missing, not a price, or too fine.
    """
    table = _load()
    laid_over = {model_id: _override(model_id, entry) for model_id, entry in (overrides or {}).items()}
    return PriceTable(table.as_of, table.source, laid_over)


def all_models() -> tuple[ModelInfo, ...]:
    """Every model that is served or was at the date of the table, the newest first."""
    return _load().models


def find_model(model_id: str) -> ModelInfo | None:
    """The model of an id or alias. None: unknown, or retired before the table was made (see `retired_on`)."""
    return _by_name().get(model_id)


def retired_on(model_id: str) -> date | None:
    """The day a model was retired or will be; None where no such day is known. Takes undated names, too."""
    model = find_model(model_id)
    if model is not None:
        return model.retires_on
    undated = re.sub(r"-(latest|0)$", "", model_id)
    for retired in _load().retired:
        if model_id == retired.id or undated == _without_date(retired.id):
            return retired.retired_on
    return None


def successor(model_id: str) -> ModelInfo | None:
    """The newest model of the same line (opus, sonnet, haiku, ...) that anyone can use."""
    line = _line(model_id)
    candidates = [m for m in all_models() if m.line == line and m.status == "active" and m.access == "general"]
    return candidates[0] if candidates and candidates[0].id != model_id else None


def nearest_models(name: str, count: int = 3) -> tuple[str, ...]:
    """Ids of served models that a mistyped name may have meant, the likeliest first."""
    from difflib import get_close_matches

    wanted = re.sub(r"[ ._]+", "-", name.strip().lower())
    if any(model.line in wanted for model in all_models()) and not wanted.startswith("claude"):
        wanted = f"claude-{wanted}"
    known = [model_name for model in all_models() for model_name in (*model.aliases, model.id)]
    return tuple(get_close_matches(wanted, known, n=count, cutoff=0.6))


def context_limit_tokens(model: ModelInfo) -> int:
    """Prompt and answer together can hold no more than this."""
    return model.context_window_tokens


def web_search_usd() -> Decimal:
    """What one search by the server's tool costs, in batches too as far as is known."""
    return _load().web_search_usd_per_1000 / 1000


def extended_output_beta() -> str:
    """The beta header that raises max_tokens in batches, for the models that take it."""
    return _load().extended_batch_beta


@dataclass(frozen=True, slots=True)
class _RetiredModel:
    id: str
    retired_on: date


@dataclass(frozen=True, slots=True)
class _ModelTable:
    as_of: date
    source: str
    extended_batch_beta: str
    cache_write_5m_multiplier: Decimal
    cache_write_1h_multiplier: Decimal
    web_search_usd_per_1000: Decimal
    models: tuple[ModelInfo, ...]
    retired: tuple[_RetiredModel, ...]


@cache
def _load() -> _ModelTable:
    import msgspec

    data = files("batchforge").joinpath("claude_models.json").read_bytes()
    raw = msgspec.json.Decoder(float_hook=Decimal).decode(data)
    return _ModelTable(
        as_of=date.fromisoformat(raw["as_of"]),
        source=raw["source"],
        extended_batch_beta=raw["extended_batch_beta"],
        cache_write_5m_multiplier=raw["multipliers"]["cache_write_5m"],
        cache_write_1h_multiplier=raw["multipliers"]["cache_write_1h"],
        web_search_usd_per_1000=raw["web_search_usd_per_1000"],
        models=tuple(sorted(map(_model, raw["models"]), key=lambda m: m.released_on or date.min, reverse=True)),
        retired=msgspec.convert(raw["retired"], tuple[_RetiredModel, ...]),
    )


def _model(entry: dict[str, Any]) -> ModelInfo:
    import msgspec

    return msgspec.convert({**entry, "prices": _prices(entry)}, ModelInfo)


def _prices(entry: dict[str, Any]) -> dict[str, Any] | None:
    if not entry["prices_usd_per_mtok"]:
        return None
    return {
        "tiers": entry["prices_usd_per_mtok"],
        "batch_multiplier": entry["batch_multiplier"],
        "us_inference_multiplier": entry["us_inference_multiplier"] or 1,
        "verified": entry["price_verified"],
        "source": entry["price_source"],
    }


@cache
def _by_name() -> dict[str, ModelInfo]:
    return {name: model for model in all_models() for name in (model.id, *model.aliases)}


def _line(model_id: str) -> str:
    return next((word for word in model_id.split("-")[1:] if not word[:1].isdigit()), "")


def _without_date(model_id: str) -> str:
    return re.sub(r"-\d{8}$", "", model_id)


def _prices_line(prices: ModelPrices | None) -> str:
    if prices is None:
        return "-"
    numbers = [prices.batch_multiplier, prices.us_inference_multiplier]
    for tier in prices.tiers:
        numbers += [Decimal(tier.prompt_tokens_max or -1), *(getattr(tier, kind) for kind in PRICE_KINDS)]
    return " ".join(format(number.normalize(), "f") for number in numbers)


def _override(model_id: str, entry: Mapping[str, Any]) -> ModelPrices:
    """A project's own prices: `input` and `output` at least; the rest follows from the model's own ratios."""
    given = {name: _amount(model_id, name, value) for name, value in entry.items()}
    for name in ("input", "output"):
        if name not in given:
            raise _bad_price(model_id, f"'{name}' is missing.", "Give input and output in USD per million tokens.")
    model = find_model(model_id)
    builtin = model.prices if model else None
    ratios = builtin.tiers[0] if builtin else _usual_ratios()
    cache_prices = {
        kind: given.get(kind, _derived(given["input"] * getattr(ratios, kind) / ratios.input))
        for kind in CACHE_PRICE_KINDS
    }
    prices = ModelPrices(
        tiers=(PriceTier(None, given["input"], given["output"], **cache_prices),),
        batch_multiplier=given.get("batch_multiplier", builtin.batch_multiplier if builtin else Decimal("0.5")),
        us_inference_multiplier=builtin.us_inference_multiplier if builtin else Decimal(1),
        verified=True,
        source=PROJECT_SOURCE,
    )
    _check_whole(model_id, prices)
    return prices


def _derived(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.0001"), ROUND_UP)


def _check_whole(model_id: str, prices: ModelPrices) -> None:
    """Sums of money stay exact only where a token costs a whole number of 10⁻¹² USD, in every mode."""
    for kind in PRICE_KINDS:
        for batch, geo in ((False, None), (True, None), (False, "us"), (True, "us")):
            price = getattr(prices.tiers[0], kind) * prices.multiplier(batch=batch, inference_geo=geo)
            if price.scaleb(6) % 1:
                where = "in batches" if batch else "for single requests"
                what = f"'{kind}' comes to {price.normalize():f} USD per million tokens {where}, which is too fine."
                raise _bad_price(model_id, what, "Write prices with at most 4 digits after the point.")


def _usual_ratios() -> PriceTier:
    table = _load()
    return PriceTier(
        prompt_tokens_max=None,
        input=Decimal(1),
        output=Decimal(5),
        cache_write_5m=table.cache_write_5m_multiplier,
        cache_write_1h=table.cache_write_1h_multiplier,
        cache_read=Decimal("0.1"),
    )


def _amount(model_id: str, name: str, value: Any) -> Decimal:
    if name not in (*PRICE_KINDS, "batch_multiplier"):
        known = ", ".join((*PRICE_KINDS, "batch_multiplier"))
        raise _bad_price(model_id, f"'{name}' is not a price.", f"Prices are: {known}.")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise _bad_price(model_id, f"'{name}' is {value!r}.", "Write a number of USD per million tokens, 0 or more.")
    return amount


def _bad_price(model_id: str, what: str, hint: str) -> BatchForgeError:
    return BatchForgeError("BF440", f"prices of {model_id}: {what}", hint=hint)
