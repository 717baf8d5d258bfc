"""A job's blocks -> shared texts that stand behind row-dependent ones, and what another order would save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from batchforge.claude_models import find_model
from batchforge.planning.caching import HitRates, decide_caching
from batchforge.planning.estimate import four_ways
from batchforge.planning.planner import JobPlan
from batchforge.requests.request import FileHole, Hole, SharedFile
from batchforge.token_estimate import estimate_text_tokens

_FEWEST_TOKENS = 100
_LEAST_PICO_USD = 10**10
"""A cent."""


@dataclass(frozen=True, slots=True)
class Proposal:
    what: str
    """Which texts, for people."""
    tokens: float
    saved_pico_usd: int


def proposed_orders(plan: JobPlan) -> Iterator[Proposal]:
    """At most one: all that is shared and stands behind the row, put before it."""
    model = find_model(plan.compiled.spec.model)
    if model is None or plan.compiled.spec.cache.mode == "off":
        return
    texts = [*_blocks_behind_the_row(plan), *_ends_of_templates(plan)]
    tokens = sum(estimate_text_tokens(text, model.tokenizer) for _, text in texts) * plan.learnt.input_ratio
    if tokens < _FEWEST_TOKENS:
        return
    saved = _saved_pico_usd(plan, tokens)
    if saved >= _LEAST_PICO_USD:
        yield Proposal(" and ".join(dict.fromkeys(place for place, _ in texts)), tokens, saved)


def _blocks_behind_the_row(plan: JobPlan) -> Iterator[tuple[str, str]]:
    has_row = False
    for number, message in enumerate(plan.compiled.template.messages, 1):
        if message["role"] != "user":
            continue
        for place, block in enumerate(message["content"], 1):
            if isinstance(block, FileHole | SharedFile):
                has_row = has_row or isinstance(block, FileHole)
                continue
            text = block.get("text")
            if isinstance(text, str) and has_row:
                yield f"block {place} of message {number}", text
            has_row = has_row or isinstance(text, Hole)


def _ends_of_templates(plan: JobPlan) -> Iterator[tuple[str, str]]:
    for template in plan.compiled.row_templates:
        end = template.text_behind_the_row()
        if end.strip():
            yield f"the end of {template.source.path}:{template.source.line}", end


def _saved_pico_usd(plan: JobPlan, tokens: float) -> int:
    """What the same requests would cost less with so many more tokens in the shared prefix."""
    prices, ways = plan.prices, plan.estimate.four_ways
    model = find_model(plan.compiled.spec.model)
    if prices is None or ways is None or model is None:
        return 0
    requests, estimate, slots = plan.requests_to_send, plan.estimate, plan.compiled.slots
    shared = [slot for slot in slots if slot.is_shared] or [replace(slots[0], is_shared=True)]
    tier = prices.tier_for(int(estimate.input_tokens / requests))
    longer = decide_caching(
        plan.compiled.spec.cache,
        shared[-1:],
        [plan.caching.prefix_tokens + tokens],
        requests=requests,
        tier=tier,
        min_tokens=model.min_cacheable_tokens,
        rates=HitRates(),
        can_prime=plan.settings.can_prime,
    )
    if not longer.marks:
        return 0
    then = four_ways(
        requests=requests,
        input_tokens=estimate.input_tokens,
        output_tokens=estimate.output_tokens,
        tier=tier,
        caching=longer,
        batch_multiplier=float(prices.batch_multiplier),
    )
    cost = then.batch_cached if plan.settings.mode == "batch" else then.standard_cached
    return max(0, (estimate.expected_pico_usd or 0) - cost)
