"""Sizes of a job's requests -> tokens, expected cost and ceiling, and what the four ways of asking would cost.

All money is in whole 10⁻¹² USD ("pico"), so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from typing import Any

from batchforge.claude_models import ModelInfo, ModelPrices, PriceTier, TokenizerFamily, find_model
from batchforge.documents.file_piece import read_piece
from batchforge.planning.caching import PRIMED_HIT_RATE, CacheDecision, prefix_cost
from batchforge.requests.compiler import CompiledJob
from batchforge.results import Brought, Learnt
from batchforge.token_estimate import (
    TYPICAL_ERROR,
    estimate_json_text_tokens,
    estimate_params_tokens,
    unbounded_inputs,
    upper_bound_tokens,
)

GUESSED_OUTPUT_TOKENS = 200
"""Taken for the length of an answer until the job has results to learn from."""
LEARNT_ERROR = 0.10
"""The relative error of input tokens to state once the job's own ratio is known."""
_SAMPLED_FIRST, _SAMPLED_EVERY = 200, 50
_LARGEST_PROMPT = 10**12


@dataclass(frozen=True, slots=True)
class FourWays:
    """The same requests, asked in four ways, in pico-USD."""

    standard: int
    standard_cached: int
    batch: int
    batch_cached: int

    def __add__(self, other: FourWays) -> FourWays:
        return FourWays(
            self.standard + other.standard,
            self.standard_cached + other.standard_cached,
            self.batch + other.batch,
            self.batch_cached + other.batch_cached,
        )


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


@dataclass(frozen=True, slots=True)
class RequestBound:
    """The most that one request of a job can cost, by the size of its body."""

    tiers: tuple[tuple[int, int, int], ...]
    """(prompt tokens at most, pico-USD an input token, pico-USD for the longest answer), the dearest up to there."""
    has_tools: bool
    has_format: bool
    context_window_tokens: int = _LARGEST_PROMPT

    def tokens(self, body_bytes: int) -> int:
        tokens = upper_bound_tokens(body_bytes, has_tools=self.has_tools, has_output_format=self.has_format)
        return min(tokens, self.context_window_tokens)

    def tier_number(self, tokens: int) -> int:
        return next(number for number, (tokens_max, _, _) in enumerate(self.tiers) if tokens <= tokens_max)

    def pico_usd(self, body_bytes: int) -> int:
        """Upper bound on the input at the dearest price that it can have, plus max_tokens of output."""
        tokens = self.tokens(body_bytes)
        return self.sum_pico_usd(self.tier_number(tokens), 1, tokens)

    def sum_pico_usd(self, tier: int, requests: int, tokens: int) -> int:
        """Of several requests of one tier."""
        _, per_token, answer = self.tiers[tier]
        return tokens * per_token + requests * answer


def request_bound(compiled: CompiledJob, prices: ModelPrices, *, write_ttl: str | None, is_batch: bool) -> RequestBound:
    """`write_ttl` is the longest life that the planner's marks ask for; marks in the job's own blocks count too."""
    params, spec = compiled.empty_params(), compiled.spec
    lives = {write_ttl, *_written_lives(params)}
    factor = prices.multiplier(batch=is_batch, inference_geo=spec.params.get("inference_geo")).scaleb(6)
    tiers, dearest_input, dearest_output = [], Decimal(0), Decimal(0)
    for tier in prices.tiers:
        # A smaller prompt may be priced by a lower tier, so the dearest one up to this size counts.
        dearest_input = max(dearest_input, *(_dearest_input(tier, life) for life in lives))
        dearest_output = max(dearest_output, tier.output)
        answer = ceil(spec.max_tokens * dearest_output * factor)
        tiers.append((tier.prompt_tokens_max or _LARGEST_PROMPT, ceil(dearest_input * factor), answer))
    window = model.context_window_tokens if (model := find_model(spec.model)) else _LARGEST_PROMPT
    return RequestBound(tuple(tiers), "tools" in params, spec.output.sent_schema is not None, window)


def _written_lives(value: Any) -> Iterator[str]:
    """Lives of the cache marks that the job's files hold themselves."""
    if isinstance(value, Mapping):
        mark = value.get("cache_control")
        if isinstance(mark, Mapping):
            yield str(mark.get("ttl", "5m"))
        for item in value.values():
            yield from _written_lives(item)
    elif isinstance(value, list):
        for item in value:
            yield from _written_lives(item)


@dataclass(slots=True)
class _TierSum:
    requests: int = 0
    input_tokens: float = 0.0


class RequestSizes:
    """Adds up the sizes of a job's requests as its rows stream by. Every 50th row is measured, the others weighed."""

    def __init__(
        self,
        compiled: CompiledJob,
        model: ModelInfo | None,
        prices: ModelPrices | None,
        learnt: Learnt,
    ) -> None:
        self._tiers = prices.tiers if prices else ()
        self._bound = request_bound(compiled, prices, write_ttl=None, is_batch=True) if prices else None
        self._ratio = learnt.input_ratio
        params = compiled.empty_params()
        self._template = compiled.template
        self._family: TokenizerFamily = model.tokenizer if model else "v2"
        self.static_tokens = estimate_params_tokens(params, model)
        self.prefix_tokens = [_tokens_up_to(params, slot, model) for slot in range(len(compiled.slots))]
        self.no_bound_because = unbounded_inputs(params)
        self.requests = self.row_bytes = 0
        self.largest_body_bytes = 0
        self._measured_bytes = self._measured_tokens = 0.0
        self.by_tier: dict[int, _TierSum] = {}
        self._bounds_by_tier: dict[int, tuple[int, int]] = {}
        """Tier -> requests, and the sum of their bounds in tokens."""

    def add(self, pieces: Sequence[bytes]) -> None:
        size = self._template.piece_bytes(pieces)
        if self.requests < _SAMPLED_FIRST or self.requests % _SAMPLED_EVERY == 0:
            self._measured_bytes += size
            self._measured_tokens += sum(self._tokens_of(number, piece) for number, piece in enumerate(pieces))
        self.requests += 1
        self.row_bytes += size
        tokens = (self.static_tokens + size * self.tokens_per_row_byte) * self._ratio
        tier = self.by_tier.setdefault(self._tier_number(tokens), _TierSum())
        tier.requests += 1
        tier.input_tokens += tokens
        body_bytes = self._template.static_bytes + size
        self.largest_body_bytes = max(self.largest_body_bytes, body_bytes)
        if self._bound is not None:
            most = self._bound.tokens(self._template.most_bytes(pieces))
            number = self._bound.tier_number(most)
            count, total = self._bounds_by_tier.get(number, (0, 0))
            self._bounds_by_tier[number] = (count + 1, total + most)

    def _tokens_of(self, number: int, piece: bytes) -> float:
        if number in self._template.file_holes:
            return read_piece(piece).file.tokens
        return estimate_json_text_tokens(piece, self._family)

    def ceiling_pico_usd(self, bound: RequestBound | None) -> int | None:
        """The most that all requests together can cost; None where there is no bound."""
        if bound is None:
            return None
        return sum(bound.sum_pico_usd(tier, *sums) for tier, sums in self._bounds_by_tier.items())

    @property
    def tokens_per_row_byte(self) -> float:
        return self._measured_tokens / self._measured_bytes if self._measured_bytes else 0.0

    @property
    def input_tokens(self) -> float:
        """Estimated tokens of all requests together, before anything that was learnt."""
        return self.static_tokens * self.requests + self.row_bytes * self.tokens_per_row_byte

    @property
    def typical_prompt_tokens(self) -> float:
        return self._ratio * self.input_tokens / self.requests if self.requests else self.static_tokens

    def _tier_number(self, tokens: float) -> int:
        for number, tier in enumerate(self._tiers):
            if tokens <= (tier.prompt_tokens_max or _LARGEST_PROMPT):
                return number
        return max(len(self._tiers) - 1, 0)


def estimate_job(
    sizes: RequestSizes,
    caching: CacheDecision,
    learnt: Learnt,
    prices: ModelPrices | None,
    *,
    max_tokens: int,
    is_batch: bool,
    inference_geo: str | None,
    ceiling_pico_usd: int | None,
) -> JobEstimate:
    """The plan's figures. What was learnt from results replaces what was guessed."""
    requests = sizes.requests
    per_answer = learnt.output_tokens if learnt.output_tokens is not None else min(GUESSED_OUTPUT_TOKENS, max_tokens)
    per_answer = min(per_answer, max_tokens)
    estimate = JobEstimate(
        requests=requests,
        input_tokens=sizes.input_tokens * learnt.input_ratio,
        output_tokens=per_answer * requests,
        no_bound_because=tuple(sizes.no_bound_because),
        error=LEARNT_ERROR if learnt.results else TYPICAL_ERROR,
        learnt_from=learnt.results,
    )
    if requests == 0:
        return replace(estimate, expected_pico_usd=0, ceiling_pico_usd=0)
    if prices is None:
        return estimate
    ways = _ways_of_all(sizes, caching, prices, per_answer, inference_geo)
    return replace(
        estimate,
        expected_pico_usd=_chosen(ways, is_batch=is_batch, is_cached=caching.is_cached),
        ceiling_pico_usd=ceiling_pico_usd,
        four_ways=ways,
    )


def _ways_of_all(
    sizes: RequestSizes, caching: CacheDecision, prices: ModelPrices, per_answer: float, inference_geo: str | None
) -> FourWays:
    """Tier by tier, since a request is priced by its own size; what is saved is shared out by their requests."""
    total = FourWays(0, 0, 0, 0)
    is_primed = caching.is_primed
    for number, part in sorted(sizes.by_tier.items()):
        share = part.requests / sizes.requests
        total += four_ways(
            requests=part.requests,
            input_tokens=part.input_tokens,
            output_tokens=per_answer * part.requests,
            tier=prices.tiers[number],
            caching=_share_of(caching, share, is_primed=is_primed),
            batch_multiplier=float(prices.batch_multiplier),
            geo_multiplier=float(prices.multiplier(batch=False, inference_geo=inference_geo)),
        )
        is_primed = False
    return total


def _share_of(caching: CacheDecision, share: float, *, is_primed: bool) -> CacheDecision:
    groups = caching.groups
    if groups is not None:
        groups = replace(groups, saved_tokens=groups.saved_tokens * share)
    return replace(caching, groups=groups, is_primed=is_primed)


def four_ways(
    *,
    requests: int,
    input_tokens: float,
    output_tokens: float,
    tier: PriceTier,
    caching: CacheDecision,
    batch_multiplier: float,
    geo_multiplier: float = 1.0,
) -> FourWays:
    """What these requests cost with and without batches, with and without caching of what they share.

    Where the plan sets no marks though the model could cache, the cached ways are those with a priming row, a one-hour
    life and the usual hit rate.
    """
    plain = input_tokens * float(tier.input)
    cached = (input_tokens - _saved_tokens(requests, caching, tier)) * float(tier.input)
    output = output_tokens * float(tier.output)
    standard, standard_cached = ((cost + output) * geo_multiplier * 1e6 for cost in (plain, cached))
    return FourWays(
        round(standard),
        round(standard_cached),
        round(standard * batch_multiplier),
        round(standard_cached * batch_multiplier),
    )


def _saved_tokens(requests: int, caching: CacheDecision, tier: PriceTier) -> float:
    """Input tokens at the plain price that caching saves; negative where it loses."""
    of_groups = caching.groups.saved_tokens if caching.groups else 0.0
    if not caching.is_cacheable or (caching.groups and not caching.marks):
        return of_groups
    ttl = next(iter(caching.marks.values()), "1h")
    write = float((tier.cache_write_1h if ttl == "1h" else tier.cache_write_5m) / tier.input)
    is_primed, hit_rate = (caching.is_primed, caching.hit_rate) if caching.marks else (True, PRIMED_HIT_RATE)
    cost = prefix_cost(requests, hit_rate, write, float(tier.cache_read / tier.input), is_primed=is_primed)
    return of_groups + caching.prefix_tokens * (requests - cost)


def ways_of_results(brought: Brought, batch_multiplier: float) -> FourWays:
    """The four ways with a finished run's own tokens: as they were read and written, and as if nothing were cached."""
    cached, plain = brought.standard_pico_usd, brought.uncached_pico_usd
    return FourWays(plain, cached, round(plain * batch_multiplier), round(cached * batch_multiplier))


def _chosen(ways: FourWays, *, is_batch: bool, is_cached: bool) -> int:
    if is_batch:
        return ways.batch_cached if is_cached else ways.batch
    return ways.standard_cached if is_cached else ways.standard


def _dearest_input(tier: PriceTier, write_ttl: str | None) -> Decimal:
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
    """prime, prime groups, canary or rest."""
    requests: int
    gate: str = ""
    """What must hold before the next phase."""


GATES = {
    "prime": "its answer has come, so that the shared prefix can be read",
    "prime groups": "their answers have come, so that each group's prefix can be read",
    "canary": "most of it was answered, for no more than was estimated",
}
CANARY_ROWS = 20
CANARY_FROM_ROWS = 1_000


def make_phases(requests: int, *, is_primed: bool, canary: int) -> tuple[Phase, ...]:
    """Prime, canary, rest, as far as there are requests for them."""
    phases: list[Phase] = []
    left = requests
    for name, size in (("prime", int(is_primed)), ("canary", canary)):
        if size and left > size:
            phases.append(Phase(name, size, GATES[name]))
            left -= size
    return (*phases, Phase("rest", left)) if left else tuple(phases)
