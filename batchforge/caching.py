"""Cache policy, prices and numbers of a job -> which breakpoints to mark, and whether to send one row ahead.

Prompt caching can lose money: a write costs 1.25 or 2 times the input price, and the requests of a cold batch hardly
read what their siblings write, since an entry can be read only once the answer that writes it has begun. So a mark is
set only where it pays at the hit rate that is to be expected. What makes it pay in a batch is priming: one real row
goes first, in a batch of its own, and writes the shared prefix for an hour; the others follow when it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchforge.claude_models import ModelPrices, PriceTier
from batchforge.request import CacheSlot
from batchforge.spec import CachePolicy

Ttl = Literal["5m", "1h"]

COLD_BATCH_HIT_RATE = 0.0
"""Requests of a batch that read the cache when nothing was written before: measured by others as none."""
PRIMED_HIT_RATE = 0.95
"""Requests that read it after a priming row with a one-hour block: measured by others as all; a little kept back."""
SYNC_HIT_RATE = 0.9
"""Requests that read it when they are sent one after the other, a few at a time."""


@dataclass(frozen=True, slots=True)
class HitRates:
    """Expected shares of requests that read the prefix from the cache; learnt from results where there are any."""

    cold: float = COLD_BATCH_HIT_RATE
    primed: float = PRIMED_HIT_RATE
    learnt_from: int = 0


@dataclass(frozen=True, slots=True)
class CacheDecision:
    """What the planner chose, and what it is made of."""

    marks: Mapping[int, Ttl] = field(default_factory=dict)
    """Slot -> life. Empty: no caching."""
    is_primed: bool = False
    prefix_tokens: float = 0.0
    """Estimated tokens of what all rows share, up to the last shared slot."""
    hit_rate: float = 0.0
    """Expected among the requests after the priming one."""
    break_even: float | None = None
    """The hit rate from which the marks cost less than none; None where no marks are set."""
    note: str = ""

    def cache_control(self) -> dict[int, bytes]:
        """Slot -> the JSON to be spliced in."""
        return {slot: b'{"type":"ephemeral","ttl":"%b"}' % ttl.encode() for slot, ttl in self.marks.items()}


def break_even_rate(write: float, read: float) -> float:
    """The hit rate from which marking a prefix pays, given the prices of a write and a read over that of input.

    >>> round(break_even_rate(2.0, 0.1), 3), round(break_even_rate(1.25, 0.1), 3)
    (0.526, 0.217)
    """
    return (write - 1) / (write - read)


def prefix_cost(requests: int, hit_rate: float, write: float, read: float, *, is_primed: bool) -> float:
    """What the shared prefix costs in all requests together, in units of one uncached prefix.

    A priming row writes; each other request reads with `hit_rate`, else writes.
    """
    followers = requests - 1 if is_primed else requests
    return (write if is_primed else 0.0) + followers * (hit_rate * read + (1 - hit_rate) * write)


def decide_caching(
    policy: CachePolicy,
    slots: Sequence[CacheSlot],
    prefix_tokens: Sequence[float],
    *,
    requests: int,
    tier: PriceTier | None,
    min_tokens: int,
    rates: HitRates,
    can_prime: bool,
) -> CacheDecision:
    """
    Args:
        prefix_tokens: for each slot, the estimated tokens up to its end.
        tier: prices of a typical request; None where they are not known (then nothing is marked by itself).
        min_tokens: below this, the model does not cache.
        can_prime: whether a row may be sent ahead of the others and waited for.
    """
    shared = [number for number, slot in enumerate(slots) if slot.is_shared]
    if policy.mode == "off" or not shared or requests == 0:
        return CacheDecision(note="caching is off" if policy.mode == "off" else "nothing is shared by all rows")
    slot = shared[-1]
    tokens = prefix_tokens[slot]
    if tokens < min_tokens:
        missing = min_tokens - tokens
        note = f"the shared prefix has about {tokens:,.0f} tokens, {missing:,.0f} too few for this model to cache"
        return CacheDecision(prefix_tokens=tokens, note=note)
    if tier is None:
        return CacheDecision(prefix_tokens=tokens, note="the model's prices are not known, so nothing is marked")
    options = _options(policy, requests, tier, rates, can_prime)
    best = min(options, key=lambda option: option.cost)
    if best.ttl is None:
        note = f"caching would not pay for {requests:,} requests: cold batches hardly read what they write"
        return CacheDecision(prefix_tokens=tokens, note=note)
    write, read = _multipliers(best.ttl, tier)
    saved = 1 - best.cost / requests
    note = f"{tokens:,.0f} shared tokens, cached for {best.ttl}{' after a priming row' if best.is_primed else ''}"
    return CacheDecision(
        marks={slot: best.ttl},
        is_primed=best.is_primed,
        prefix_tokens=tokens,
        hit_rate=best.hit_rate,
        break_even=break_even_rate(write, read),
        note=f"{note}: {abs(saved):.0%} {'saved' if saved >= 0 else 'lost'} on them",
    )


@dataclass(frozen=True, slots=True)
class _Option:
    ttl: Ttl | None
    is_primed: bool
    hit_rate: float
    cost: float


def _options(policy: CachePolicy, requests: int, tier: PriceTier, rates: HitRates, can_prime: bool) -> list[_Option]:
    """Ways to go on, the plainest first, so that it wins where another is no cheaper."""
    options = [] if policy.mode == "on" else [_Option(None, False, 0.0, float(requests))]
    may_prime = can_prime and policy.prime != "off" and requests > 1
    for ttl in [policy.ttl] if policy.ttl else ["5m", "1h"]:
        write, read = _multipliers(ttl, tier)  # type: ignore[arg-type]
        if policy.prime in {"auto", "off"} or not may_prime:
            cost = prefix_cost(requests, rates.cold, write, read, is_primed=False)
            options.append(_Option(ttl, False, rates.cold, cost))  # type: ignore[arg-type]
        # A block of five minutes is gone before a batch that follows is worked on.
        if may_prime and (ttl == "1h" or policy.ttl == "5m"):
            cost = prefix_cost(requests, rates.primed, write, read, is_primed=True)
            options.append(_Option(ttl, True, rates.primed, cost))  # type: ignore[arg-type]
    return options


def _multipliers(ttl: Ttl, tier: PriceTier) -> tuple[float, float]:
    write = tier.cache_write_1h if ttl == "1h" else tier.cache_write_5m
    return float(write / tier.input), float(tier.cache_read / tier.input)


def smallest_primed_group(prices: ModelPrices | None) -> int | None:
    """How many rows a group needs so that a one-hour write of its prefix pays, at ideal hits; None without prices."""
    if prices is None:
        return None
    write, read = _multipliers("1h", prices.tiers[-1])
    # write + (n - 1) x read < n
    return int((write - read) / (1 - read)) + 1
