"""Stored results -> what was spent, by whatever one asks for: tokens and money by kind, exact in whole 10⁻¹² USD.

Totals are the sums of the costs that were stored with the results. What each kind of token makes of them, and what
the same would have cost otherwise, is computed by today's prices; where the two disagree, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from batchforge.ledger.pricing import Pricing, TokenRates, rates_for, web_search_pico_usd
from batchforge.results import Usage
from batchforge.state.spending import SettledAttempt, SpentGroup

KINDS = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output")


@dataclass(frozen=True, slots=True)
class KindCosts:
    """What each kind of token, and the web searches, come to in 10⁻¹² USD."""

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0
    web_search: int = 0

    @property
    def total(self) -> int:
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read + self.output + self.web_search

    def __add__(self, other: KindCosts) -> KindCosts:
        return KindCosts(
            self.input + other.input,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.cache_read + other.cache_read,
            self.output + other.output,
            self.web_search + other.web_search,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What some results amount to."""

    billed: int = 0
    unbilled: int = 0
    unpriced: int = 0
    """Billed results that had no known price when they were stored: their cost is not in any sum."""
    usage: Usage = field(default_factory=Usage)
    cost_pico_usd: int = 0
    """The sum of the stored costs."""
    kinds: KindCosts = KindCosts()
    """By today's prices."""
    standard_pico_usd: int = 0
    """What the priced results would have cost one by one, without caching, by today's prices."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.billed + other.billed,
            self.unbilled + other.unbilled,
            self.unpriced + other.unpriced,
            self.usage + other.usage,
            self.cost_pico_usd + other.cost_pico_usd,
            self.kinds + other.kinds,
            self.standard_pico_usd + other.standard_pico_usd,
        )

    @property
    def other_prices_pico_usd(self) -> int:
        """Stored costs less what today's prices give: 0 unless prices have changed."""
        return self.cost_pico_usd - self.kinds.total

    @property
    def saved_pico_usd(self) -> int:
        """Both sides by today's prices, so that a change of prices counts as no saving."""
        return self.standard_pico_usd - self.kinds.total

    @property
    def hit_rate(self) -> float | None:
        """Of the tokens that stood under a cache mark, the share that was read; None where none did."""
        read = self.usage.cache_read_tokens
        marked = read + self.usage.cache_write_5m_tokens + self.usage.cache_write_1h_tokens
        return read / marked if marked else None


@dataclass(frozen=True, slots=True)
class SpentLine:
    keys: tuple[str, ...]
    """One for each dimension that was asked for."""
    spent: Spent


@dataclass(frozen=True, slots=True)
class Repriced:
    """Results of a model whose stored costs are not what today's prices give."""

    model: str
    results: int
    stored_pico_usd: int
    today_pico_usd: int | None
    """None where there is no price any more."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Billed results that are in no sum, since no price was known when they were stored."""

    model: str
    results: int
    usage: Usage
    today_pico_usd: int | None
    """What today's prices make of them; None where there is still none."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent at one kind of place: on the API, or on emulators, which is paid to nobody."""

    lines: Sequence[SpentLine]
    total: Spent
    repriced: Sequence[Repriced] = ()
    unpriced: Sequence[Unpriced] = ()
    unreadable: int = 0
    pruned: int = 0
    """Answers that were paid and have been removed from state since."""
    pruned_pico_usd: int = 0
    models: Sequence[tuple[str, str]] = ()
    """(target, model) of the billed results."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days in UTC, the last one included; None: without an end on that side."""

    since: str | None = None
    until: str | None = None

    def holds(self, day: str) -> bool:
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)


@dataclass(slots=True)
class SpendingSum:
    """Takes groups in any number, keeps one sum a line."""

    dimensions: Sequence[str]
    tags: Mapping[str, Sequence[str]]
    """Job -> its tags, as the job files say today."""
    tier_limits: Sequence[int]
    _lines: dict[tuple[str, ...], Spent] = field(default_factory=dict)
    _total: Spent = Spent()
    _repriced: dict[str, Repriced] = field(default_factory=dict)
    _unpriced: dict[str, Unpriced] = field(default_factory=dict)
    _unreadable: int = 0
    _pruned: int = 0
    _pruned_pico_usd: int = 0
    _models: set[tuple[str, str]] = field(default_factory=set)

    def add(
        self,
        groups: Iterable[SpentGroup],
        settled: Iterable[SettledAttempt],
        pricing_of: Callable[[str], Pricing],
        is_wanted: Callable[[SpentGroup | SettledAttempt], bool],
    ) -> None:
        """Everything of one state; `pricing_of` gives today's prices of a target."""
        kept: dict[int, tuple[int, int]] = {}
        for group in groups:
            if is_wanted(group):
                self._add_group(group, pricing_of(group.target))
            billed, cost = kept.get(group.attempt_id, (0, 0))
            kept[group.attempt_id] = (billed + group.results * group.is_billed, cost + group.cost_pico_usd)
        for attempt in settled:
            billed, cost = kept.get(attempt.attempt_id, (0, 0))
            if attempt.billed_results > billed and is_wanted(attempt):
                self._pruned += attempt.billed_results - billed
                self._pruned_pico_usd += attempt.cost_pico_usd - cost

    def result(self) -> Spending:
        return Spending(
            lines=[SpentLine(keys, self._lines[keys]) for keys in sorted(self._lines)],
            total=self._total,
            repriced=[self._repriced[model] for model in sorted(self._repriced)],
            unpriced=[self._unpriced[model] for model in sorted(self._unpriced)],
            unreadable=self._unreadable,
            pruned=self._pruned,
            pruned_pico_usd=self._pruned_pico_usd,
            models=sorted(self._models),
        )

    def _add_group(self, group: SpentGroup, pricing: Pricing) -> None:
        spent = self._priced(group, pricing)
        self._total += spent
        self._unreadable += group.unreadable
        for keys in self._keys(group):
            self._lines[keys] = self._lines.get(keys, Spent()) + spent

    def _priced(self, group: SpentGroup, pricing: Pricing) -> Spent:
        if not group.is_billed:
            return Spent(unbilled=group.results)
        self._models.add((group.target, group.model))
        kinds, standard = today(group, pricing, self.tier_limits)
        if not group.is_priced:
            self._note_unpriced(group, kinds)
            return Spent(billed=group.results, unpriced=group.results, usage=group.usage)
        if kinds is None or kinds.total != group.cost_pico_usd:
            self._note_repriced(group, kinds)
        return Spent(
            billed=group.results,
            usage=group.usage,
            cost_pico_usd=group.cost_pico_usd,
            kinds=kinds or KindCosts(),
            standard_pico_usd=standard,
        )

    def _note_repriced(self, group: SpentGroup, kinds: KindCosts | None) -> None:
        before = self._repriced.get(group.model, Repriced(group.model, 0, 0, None))
        self._repriced[group.model] = Repriced(
            group.model,
            before.results + group.results,
            before.stored_pico_usd + group.cost_pico_usd,
            _added(before.today_pico_usd, kinds),
        )

    def _note_unpriced(self, group: SpentGroup, kinds: KindCosts | None) -> None:
        before = self._unpriced.get(group.model, Unpriced(group.model, 0, Usage(), None))
        self._unpriced[group.model] = Unpriced(
            group.model,
            before.results + group.results,
            before.usage + group.usage,
            _added(before.today_pico_usd, kinds),
        )

    def _keys(self, group: SpentGroup) -> Iterator[tuple[str, ...]]:
        """A job with two tags stands in the lines of both."""
        return product(*(self._values(group, dimension) for dimension in self.dimensions))

    def _values(self, group: SpentGroup, dimension: str) -> Sequence[str]:
        match dimension:
            case "tag":
                return self.tags.get(group.job, ()) or ("(no tag)",)
            case "commit":
                return (group.commit or "(no commit)",)
            case "run":
                return (group.run_id,)
            case _:
                return (getattr(group, dimension),)


def _added(before: int | None, kinds: KindCosts | None) -> int | None:
    return before if kinds is None else (before or 0) + kinds.total


def today(group: SpentGroup, pricing: Pricing, tier_limits: Sequence[int]) -> tuple[KindCosts | None, int]:
    """What a group comes to by today's prices, by kind, and one by one without caching; None: no price is known."""
    is_batch = group.mode == "batch"
    charged = pricing.rates(group.model, is_batch=is_batch, inference_geo=group.inference_geo)
    single = pricing.rates(group.model, is_batch=False, inference_geo=group.inference_geo)
    if charged is None or single is None:
        return None, 0
    prompt_tokens = _size_in_tier(group.tier, tier_limits)
    kinds = _kind_costs(group.usage, rates_for(charged, prompt_tokens))
    standard = rates_for(single, prompt_tokens)
    uncached = group.usage.prompt_tokens * standard.input + group.usage.output_tokens * standard.output
    return kinds, uncached + kinds.web_search


def _size_in_tier(tier: int, tier_limits: Sequence[int]) -> int:
    """A prompt size that lies in the tier."""
    if tier < len(tier_limits):
        return tier_limits[tier]
    return tier_limits[-1] + 1 if tier_limits else 0


def _kind_costs(usage: Usage, rates: TokenRates) -> KindCosts:
    return KindCosts(
        input=usage.input_tokens * rates.input,
        cache_write_5m=usage.cache_write_5m_tokens * rates.cache_write_5m,
        cache_write_1h=usage.cache_write_1h_tokens * rates.cache_write_1h,
        cache_read=usage.cache_read_tokens * rates.cache_read,
        output=usage.output_tokens * rates.output,
        web_search=usage.web_searches * web_search_pico_usd(),
    )
