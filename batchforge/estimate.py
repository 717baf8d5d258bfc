"""Sizes of a job's requests -> tokens, expected cost and ceiling, and what the four ways of asking would cost.

All money is in whole 10⁻¹² USD ("pico"), so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchforge.caching import CacheDecision, prefix_cost
from batchforge.claude_models import ModelInfo, ModelPrices, PriceTier
from batchforge.compiler import CompiledJob
from batchforge.results import Learnt
from batchforge.token_estimate import (
    TYPICAL_ERROR,
    estimate_json_text_tokens,
    estimate_params_tokens,
    unbounded_inputs,
    upper_bound_tokens,
)

GUESSED_OUTPUT_TOKENS = 200
"""Taken for the length of an answer until the job has results to learn from."""
_SAMPLED_FIRST, _SAMPLED_EVERY = 200, 50
_LARGEST_TIER_BOUND = 10**12


@dataclass(frozen=True, slots=True)
class FourWays:
    """The same requests, asked in four ways, in pico-USD."""

    standard: int
    standard_cached: int
    batch: int
    batch_cached: int


@dataclass(frozen=True, slots=True)
class JobEstimate:
    requests: int
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    expected_pico_usd: int | None = None
    """None where the model's prices are not known."""
    ceiling_pico_usd: int | None = None
    """The most it can cost; None where there is no bound (`no_bound_because`) or no price."""
    no_bound_because: tuple[str, ...] = ()
    error: float = TYPICAL_ERROR
    learnt_from: int = 0
    four_ways: FourWays | None = None


class RequestSizes:
    """Adds up the sizes of a job's requests as its rows stream by. Every 50th row is measured, the others weighed."""

    def __init__(self, compiled: CompiledJob, model: ModelInfo | None, prices: ModelPrices | None) -> None:
        self._model, self._prices = model, prices
        self._params = compiled.empty_params()
        self._template = compiled.template
        self._family = model.tokenizer if model else "v2"
        self._max_tokens = compiled.spec.max_tokens
        self.static_tokens = estimate_params_tokens(self._params, model)
        self.prefix_tokens = [_tokens_up_to(self._params, slot, model) for slot in range(len(compiled.slots))]
        self.no_bound_because = unbounded_inputs(self._params)
        self._has_tools, self._has_format = "tools" in self._params, compiled.spec.output.schema is not None
        self.requests = self.row_bytes = 0
        self._measured_bytes = self._measured_tokens = 0.0
        self._bound_tokens_by_tier: dict[int, int] = {}
        self._requests_by_tier: dict[int, int] = {}

    def add(self, pieces: Sequence[bytes]) -> None:
        size = sum(map(len, pieces))
        if self.requests < _SAMPLED_FIRST or self.requests % _SAMPLED_EVERY == 0:
            self._measured_bytes += size
            self._measured_tokens += sum(estimate_json_text_tokens(piece, self._family) for piece in pieces)
        self.requests += 1
        self.row_bytes += size
        bound = upper_bound_tokens(
            self._template.static_bytes + size, has_tools=self._has_tools, has_output_format=self._has_format
        )
        tier = self._tier_number(bound)
        self._bound_tokens_by_tier[tier] = self._bound_tokens_by_tier.get(tier, 0) + bound
        self._requests_by_tier[tier] = self._requests_by_tier.get(tier, 0) + 1

    @property
    def row_tokens(self) -> float:
        """Estimated tokens of all rows' own texts."""
        per_byte = self._measured_tokens / self._measured_bytes if self._measured_bytes else 0.0
        return self.row_bytes * per_byte

    @property
    def input_tokens(self) -> float:
        """Estimated tokens of all requests together."""
        return self.static_tokens * self.requests + self.row_tokens

    @property
    def typical_prompt_tokens(self) -> float:
        return self.static_tokens + (self.row_tokens / self.requests if self.requests else 0.0)

    def ceiling_pico_usd(self, *, write_ttl: str | None, is_batch: bool, inference_geo: str | None) -> int | None:
        """Upper bound on input at the dearest price it can have, plus max_tokens of output, for every request."""
        if self._prices is None or self.no_bound_because:
            return None
        factor = self._prices.multiplier(batch=is_batch, inference_geo=inference_geo).scaleb(6)
        total = 0
        for number, tokens in self._bound_tokens_by_tier.items():
            # A smaller prompt may be priced by a lower tier, so the dearest one up to this size counts.
            tiers = self._prices.tiers[: number + 1]
            price = max(_dearest_input(tier, write_ttl) for tier in tiers)
            output = max(tier.output for tier in tiers)
            total += int(tokens * price * factor)
            total += int(self._requests_by_tier[number] * self._max_tokens * output * factor)
        return total

    def _tier_number(self, tokens: int) -> int:
        if self._prices is None:
            return 0
        for number, tier in enumerate(self._prices.tiers):
            if tokens <= (tier.prompt_tokens_max or _LARGEST_TIER_BOUND):
                return number
        return len(self._prices.tiers) - 1


def estimate_job(
    sizes: RequestSizes,
    caching: CacheDecision,
    learnt: Learnt,
    prices: ModelPrices | None,
    *,
    max_tokens: int,
    is_batch: bool,
    inference_geo: str | None,
) -> JobEstimate:
    """The plan's figures. What was learnt from results replaces what was guessed."""
    requests = sizes.requests
    input_tokens = sizes.input_tokens * learnt.input_ratio
    per_answer = learnt.output_tokens if learnt.output_tokens is not None else min(GUESSED_OUTPUT_TOKENS, max_tokens)
    output_tokens = min(per_answer, max_tokens) * requests
    estimate = JobEstimate(
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        no_bound_because=tuple(sizes.no_bound_because),
        error=0.10 if learnt.results else TYPICAL_ERROR,
        learnt_from=learnt.results,
    )
    if prices is None or requests == 0:
        return _nothing(estimate) if requests == 0 else estimate
    tier = prices.tier_for(int(input_tokens / requests))
    ways = four_ways(
        requests=requests,
        prefix_tokens=caching.prefix_tokens * learnt.input_ratio,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        tier=tier,
        caching=caching,
        batch_multiplier=float(prices.multiplier(batch=True, inference_geo=None)),
        geo_multiplier=float(prices.multiplier(batch=False, inference_geo=inference_geo)),
    )
    chosen = _chosen(ways, is_batch=is_batch, is_cached=bool(caching.marks))
    ttl = next(iter(caching.marks.values()), None)
    return JobEstimate(
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        expected_pico_usd=chosen,
        ceiling_pico_usd=sizes.ceiling_pico_usd(write_ttl=ttl, is_batch=is_batch, inference_geo=inference_geo),
        no_bound_because=estimate.no_bound_because,
        error=estimate.error,
        learnt_from=learnt.results,
        four_ways=ways,
    )


def four_ways(
    *,
    requests: int,
    prefix_tokens: float,
    input_tokens: float,
    output_tokens: float,
    tier: PriceTier,
    caching: CacheDecision,
    batch_multiplier: float,
    geo_multiplier: float = 1.0,
) -> FourWays:
    """What these requests cost with and without batches, with and without caching of their shared prefix.

    Where the plan sets no marks, the cached ways are those with a priming row, a one-hour life and the usual hit rate.
    """
    from batchforge.caching import PRIMED_HIT_RATE

    ttl = next(iter(caching.marks.values()), "1h")
    write = float((tier.cache_write_1h if ttl == "1h" else tier.cache_write_5m) / tier.input)
    is_primed = caching.is_primed if caching.marks else True
    hit_rate = caching.hit_rate if caching.marks else PRIMED_HIT_RATE
    cached_prefixes = prefix_cost(requests, hit_rate, write, float(tier.cache_read / tier.input), is_primed=is_primed)
    plain = input_tokens * float(tier.input)
    cached = (input_tokens - prefix_tokens * (requests - cached_prefixes)) * float(tier.input)
    output = output_tokens * float(tier.output)
    standard, standard_cached = ((cost + output) * geo_multiplier * 1e6 for cost in (plain, cached))
    return FourWays(
        round(standard),
        round(standard_cached),
        round(standard * batch_multiplier),
        round(standard_cached * batch_multiplier),
    )


def _chosen(ways: FourWays, *, is_batch: bool, is_cached: bool) -> int:
    if is_batch:
        return ways.batch_cached if is_cached else ways.batch
    return ways.standard_cached if is_cached else ways.standard


def _nothing(estimate: JobEstimate) -> JobEstimate:
    return JobEstimate(
        requests=0, expected_pico_usd=0, ceiling_pico_usd=0, error=estimate.error, learnt_from=estimate.learnt_from
    )


def _dearest_input(tier: PriceTier, write_ttl: str | None) -> Any:
    return {"5m": tier.cache_write_5m, "1h": tier.cache_write_1h, None: tier.input}[write_ttl]


def _tokens_up_to(params: Mapping[str, Any], slot: int, model: ModelInfo | None) -> float:
    """Estimated tokens of a request up to the end of a block, blocks being counted as the model reads them."""
    left = slot + 1
    kept: dict[str, Any] = {key: params[key] for key in ("tool_choice", "output_config") if key in params}
    for name in ("tools", "system"):
        if left > 0 and params.get(name):
            kept[name] = params[name][:left]
            left -= len(kept[name])
    messages = []
    for message in params["messages"]:
        if left > 0:
            messages.append({**message, "content": message["content"][:left]})
            left -= len(messages[-1]["content"])
    return estimate_params_tokens({**kept, "messages": messages}, model)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a job's requests that is sent together; the next one follows when its gate has opened."""

    name: str
    """prime, canary or rest."""
    requests: int
    gate: str = ""
    """What must hold before the next phase."""


CANARY_ROWS = 20
CANARY_FROM_ROWS = 1_000


def make_phases(requests: int, *, is_primed: bool, canary: int) -> tuple[Phase, ...]:
    """Prime, canary, rest, as far as there are requests for them."""
    phases: list[Phase] = []
    left = requests
    for name, size, gate in (
        ("prime", int(is_primed), "its answer has come, so that the shared prefix can be read"),
        ("canary", canary, "most of it was answered, for no more than was estimated"),
    ):
        if size and left > size:
            phases.append(Phase(name, size, gate))
            left -= size
    return (*phases, Phase("rest", left)) if left else tuple(phases)
