"""Cache policy, prices and numbers of a job -> which breakpoints to mark, and whether to send one row ahead.

Prompt caching can lose money: a write costs 1.25 or 2 times the input price, and the requests of a cold batch hardly
read what their siblings write, since an entry can be read only once the answer that writes it has begun. So a mark is
set only where it pays at the hit rate that is to be expected. What makes it pay in a batch is priming: one real row
goes first, in a batch of its own, and writes the shared prefix for an hour; the others follow when it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from batchforge.claude_models import PriceTier
from batchforge.requests.request import CacheSlot
from batchforge.spec import CachePolicy
from batchforge.usd import limit_words

Ttl = Literal["5m", "1h"]
LIFE_S: Mapping[Ttl, int] = {"5m": 300, "1h": 3600}

COLD_BATCH_HIT_RATE = 0.0
"""Requests of a batch that read the cache when nothing was written before: measured by others as none."""
PRIMED_HIT_RATE = 0.95
"""Requests that read it after a priming row with a one-hour block: measured by others as all; a little kept back."""
PRIMED_BY_SYNC_HIT_RATE = 0.16
"""Requests of a batch that read what a synchronous request wrote: measured by others as 16 % or none."""
LEAST_SAVING_USD = 0.0005
"""`prime: auto` has nobody wait for less, at the plain price."""
SYNC_HIT_RATE = 0.9
"""Requests that read it when they are sent one after the other, a few at a time."""


@dataclass(frozen=True, slots=True)
class HitRates:
    """Expected shares of requests that read the prefix from the cache; learnt from results where there are any."""

    cold: float = COLD_BATCH_HIT_RATE
    primed: float = PRIMED_HIT_RATE
    learnt_from: int = 0


@dataclass(frozen=True, slots=True)
class GroupCaching:
    """What was chosen for the prefixes that only the rows of a group share (`cache: per:`)."""

    slot: int
    ttl: Ttl
    is_primed: bool
    """Whether one row of each marked group goes ahead."""
    smallest: int
    """Groups of fewer rows are not worth a write."""
    min_tokens: float
    """Groups whose prefix has fewer tokens (estimated) are not cached by the model."""
    marked_groups: int
    marked_rows: int
    saved_tokens: float
    """Input tokens at the plain price that this is expected to save, all writes and reads considered."""

    def is_marked(self, rows: int, prefix_tokens: float) -> bool:
        return rows >= self.smallest and prefix_tokens >= self.min_tokens


@dataclass(frozen=True, slots=True)
class CacheDecision:
    """What the planner chose, and what it is made of."""

    marks: Mapping[int, Ttl] = field(default_factory=dict)
    """Slot -> life, in every row. Empty: no caching of what all rows share."""
    is_primed: bool = False
    prefix_tokens: float = 0.0
    """Estimated tokens of what all rows share, up to the last shared slot."""
    is_cacheable: bool = False
    """Whether the model would cache that prefix if it were marked."""
    hit_rate: float = 0.0
    """Expected among the requests after the priming one."""
    break_even: float | None = None
    """The hit rate from which the marks cost less than none; None where no marks are set."""
    note: str = ""
    groups: GroupCaching | None = None

    @property
    def is_cached(self) -> bool:
        return bool(self.marks) or self.groups is not None

    @property
    def longest_life(self) -> Ttl | None:
        """The dearest write that any mark asks for; None without marks."""
        lives = {*self.marks.values(), *([self.groups.ttl] if self.groups else [])}
        return "1h" if "1h" in lives else "5m" if lives else None

    def cache_control(self) -> dict[int, bytes]:
        """Slot -> the JSON to be spliced in, for every row."""
        return {slot: cache_control_json(ttl) for slot, ttl in self.marks.items()}


def cache_control_json(ttl: Ttl) -> bytes:
    return b'{"type":"ephemeral","ttl":"%b"}' % ttl.encode()


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
    if not shared or requests == 0:
        return CacheDecision(note="nothing is shared by all rows" if requests else "")
    slot = shared[-1]
    tokens = prefix_tokens[slot]
    is_cacheable = tokens >= min_tokens
    plain = CacheDecision(prefix_tokens=tokens, is_cacheable=is_cacheable)
    if policy.mode == "off":
        return replace(plain, note="caching is off")
    if not is_cacheable:
        missing = min_tokens - tokens
        note = f"the shared prefix has about {tokens:,.0f} tokens, {missing:,.0f} too few for this model to cache"
        return replace(plain, note=note)
    if tier is None:
        return replace(plain, note="the model's prices are not known, so nothing is marked")
    best = _best(policy, requests, tier, rates, can_prime)
    not_primed = "" if can_prime else _unprimed_note(policy, requests, tier, rates)
    if best.is_primed and policy.prime == "auto":
        unprimed = _best(policy, requests, tier, rates, can_prime=False)
        if not _is_worth_waiting_for((unprimed.cost - best.cost) * tokens, tier):
            best, not_primed = unprimed, _TOO_LITTLE
    if best.ttl is None:
        note = not_primed or f"caching would not pay for {requests:,} requests: {_WHY_COLD_IS_DEAR}"
        return replace(plain, note=note)
    return replace(
        plain,
        marks={slot: best.ttl},
        is_primed=best.is_primed,
        hit_rate=best.hit_rate,
        break_even=break_even_rate(*_multipliers(best.ttl, tier)),
        note="; ".join(filter(None, [_saving_words(tokens, best, requests), not_primed])),
    )


def _is_worth_waiting_for(saved_tokens: float, tier: PriceTier) -> bool:
    """Rows that go first hold the others up, by minutes or hours."""
    return saved_tokens * float(tier.input) / 1e6 >= LEAST_SAVING_USD


_TOO_LITTLE = f"not primed: to wait for a row that goes first would save less than {limit_words(LEAST_SAVING_USD)}"
_WHY_COLD_IS_DEAR = "the requests of a cold batch hardly read what their siblings write"


def _saving_words(tokens: float, option: _Option, requests: int) -> str:
    saved = 1 - option.cost / requests
    how = " after a priming row" if option.is_primed else ""
    result = f"{saved:.0%} saved" if saved >= 0 else f"{-saved:.0%} lost"
    return f"{tokens:,.0f} shared tokens, cached for {option.ttl}{how}: {result} on them"


def _unprimed_note(policy: CachePolicy, requests: int, tier: PriceTier, rates: HitRates) -> str:
    """What is lost by not waiting for a priming row."""
    with_priming = _best(policy, requests, tier, rates, can_prime=True)
    if not with_priming.is_primed:
        return ""
    saved = 1 - with_priming.cost / requests
    return f"not primed, since nothing is waited for (--no-wait): a run that waits would save {saved:.0%} on the prefix"


@dataclass(frozen=True, slots=True)
class GroupSize:
    rows: int
    prefix_tokens: float
    """Estimated, up to the slot of the group, what all rows share included."""


def decide_group_caching(
    policy: CachePolicy,
    slot: int | None,
    groups: Sequence[GroupSize],
    shared: CacheDecision,
    *,
    tier: PriceTier | None,
    min_tokens: float,
    rates: HitRates,
    can_prime: bool,
) -> GroupCaching | None:
    """Which groups are worth a write of their own prefix, on top of what was decided for the prefix of all rows."""
    if slot is None or tier is None or policy.mode == "off":
        return None
    chosen = _choose_groups(policy, slot, groups, shared, tier, min_tokens, rates, can_prime)
    if chosen is None or not chosen.is_primed or policy.prime != "auto":
        return chosen
    if _is_worth_waiting_for(chosen.saved_tokens, tier):
        return chosen
    return _choose_groups(policy, slot, groups, shared, tier, min_tokens, rates, can_prime=False)


def _choose_groups(
    policy: CachePolicy,
    slot: int,
    groups: Sequence[GroupSize],
    shared: CacheDecision,
    tier: PriceTier,
    min_tokens: float,
    rates: HitRates,
    can_prime: bool,
) -> GroupCaching | None:
    options = {group.rows: _best(policy, group.rows, tier, rates, can_prime) for group in groups}
    marked = [group for group in groups if options[group.rows].ttl and group.prefix_tokens >= min_tokens]
    if not marked:
        return None
    largest = options[max(group.rows for group in marked)]
    assert largest.ttl is not None
    # What all rows share is paid for already where it is marked.
    paid_tokens = shared.prefix_tokens if shared.marks else 0.0
    saved = sum(max(g.prefix_tokens - paid_tokens, 0) * (g.rows - options[g.rows].cost) for g in marked)
    return GroupCaching(
        slot=slot,
        ttl=largest.ttl,
        is_primed=largest.is_primed,
        smallest=min(group.rows for group in marked),
        min_tokens=min_tokens,
        marked_groups=len(marked),
        marked_rows=sum(group.rows for group in marked),
        saved_tokens=saved,
    )


def group_note(column: str, groups: Sequence[GroupSize], chosen: GroupCaching | None, min_tokens: float) -> str:
    """In words, for the plan."""
    if chosen is None:
        largest = max((group.prefix_tokens for group in groups), default=0.0)
        if largest < min_tokens:
            return (
                f"the largest prefix of a {column} has about {largest:,.0f} tokens, "
                f"{min_tokens - largest:,.0f} too few for this model to cache"
            )
        return f"no {column} has enough rows for a write of its prefix to pay"
    how = ", each after a priming row" if chosen.is_primed else ""
    return (
        f"{chosen.marked_groups:,} of {len(groups):,} groups by {column} ({chosen.marked_rows:,} rows) cached for "
        f"{chosen.ttl}{how}: {chosen.saved_tokens:,.0f} input tokens saved"
    )


@dataclass(frozen=True, slots=True)
class _Option:
    ttl: Ttl | None
    is_primed: bool
    hit_rate: float
    cost: float


def _best(policy: CachePolicy, requests: int, tier: PriceTier, rates: HitRates, can_prime: bool) -> _Option:
    return min(_options(policy, requests, tier, rates, can_prime), key=lambda option: option.cost)


def _options(policy: CachePolicy, requests: int, tier: PriceTier, rates: HitRates, can_prime: bool) -> list[_Option]:
    """Ways to go on, the plainest first, so that it wins where another is no cheaper."""
    is_demanded = policy.mode == "on" or (policy.prime == "sync" and can_prime)
    options = [] if is_demanded else [_Option(None, False, 0.0, float(requests))]
    may_prime = can_prime and policy.prime != "off" and requests > 1
    lives: tuple[Ttl, ...] = (policy.ttl,) if policy.ttl else ("5m", "1h")
    for ttl in lives:
        write, read = _multipliers(ttl, tier)
        if policy.prime in {"auto", "off"} or not may_prime:
            cost = prefix_cost(requests, rates.cold, write, read, is_primed=False)
            options.append(_Option(ttl, False, rates.cold, cost))
        # A block of five minutes is gone before a batch that follows is worked on.
        if may_prime and (ttl == "1h" or policy.ttl == "5m"):
            cost = prefix_cost(requests, rates.primed, write, read, is_primed=True)
            options.append(_Option(ttl, True, rates.primed, cost))
    return options


def _multipliers(ttl: Ttl, tier: PriceTier) -> tuple[float, float]:
    write = tier.cache_write_1h if ttl == "1h" else tier.cache_write_5m
    return float(write / tier.input), float(tier.cache_read / tier.input)
