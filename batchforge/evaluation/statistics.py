"""Paired comparisons: tests and intervals that are exact where rows are few, and how many rows would tell.

Everything is deterministic: what is drawn at random is drawn from a fixed seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, exp, isfinite, lgamma, log, log1p, sqrt
from random import Random
from statistics import NormalDist, fmean
from typing import Literal

CONFIDENCE = 0.95
POWER = 0.8
"""The chance with which so many rows as `rows_to_tell` says would show a difference that is there."""
SEED = 20_240_601
RESAMPLES = 2_000
_MOST_BOOTSTRAPPED = 5_000
"""With more clusters the mean's distribution is normal for all that matters."""
_LEAST_BOOTSTRAPPED = 30
"""Fewer say too little of their own spread: Student's distribution allows for that."""
_MOST_FLIPPED = 200
_FLIPS = 4_000
_ALL_FLIPS = 12
"""Up to so many signs are tried in every combination."""

Verdict = Literal["better", "worse", "not sure", "equal"]


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


# ---- shares


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval of a share: never too narrow, whatever the true share is.

    >>> round(clopper_pearson(8, 10).low, 4), round(clopper_pearson(8, 10).high, 4)
    (0.4439, 0.9748)
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: 1 - binomial_cdf(successes - 1, trials, p), tail)
    high = 1.0 if successes == trials else _solve(lambda p: 1 - binomial_cdf(successes, trials, p), 1 - tail)
    return Interval(low, high)


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """A good interval of a share where rows are many.

    >>> round(wilson(8, 10).low, 4), round(wilson(8, 10).high, 4)
    (0.4902, 0.9433)
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    z = _z(confidence)
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def share_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Exact below a few hundred rows."""
    return (clopper_pearson if trials < 500 else wilson)(successes, trials, confidence)


def clustered_share_interval(
    flags: Sequence[bool], clusters: Sequence[Hashable] | None, confidence: float = CONFIDENCE
) -> Interval:
    """Of the share of rows that are true: the exact interval of as many independent rows as the clusters are worth, as
    Korn and Graubard have it."""
    groups, rows = _sums([float(flag) for flag in flags], clusters), len(flags)
    if len(groups) == rows:
        return share_interval(sum(flags), rows, confidence)
    share, worth = sum(flags) / rows, _worth(flags, groups)
    tail = (1 - confidence) / 2
    low = 0.0 if share == 0 else _solve(lambda p: _incomplete_beta(p, share * worth, worth - share * worth + 1), tail)
    high = (
        1.0 if share == 1 else _solve(lambda p: _incomplete_beta(p, share * worth + 1, worth * (1 - share)), 1 - tail)
    )
    return Interval(low, high)


def _worth(flags: Sequence[bool], groups: Sequence[tuple[float, int]]) -> float:
    """As how many independent rows the clusters count; fewer where they are too few to know their own spread."""
    if len(groups) < 2:
        return 1.0
    rows, share, spread = len(flags), sum(flags) / len(flags), _spread(groups, len(flags))
    worth = share * (1 - share) / spread**2 if spread else float(len(groups))
    allowance = (student_t(rows - 1) / student_t(len(groups) - 1)) ** 2
    return min(max(worth, 1.0), rows) * allowance


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """How many standard errors an interval reaches to each side.

    >>> round(student_t(10), 3)
    2.228
    """
    x = _solve(lambda x: _incomplete_beta(x, degrees / 2, 0.5), 1 - confidence)
    return sqrt(degrees * (1 - x) / x)


def binomial_cdf(successes: int, trials: int, share: float) -> float:
    """The chance of so many successes or fewer."""
    if successes < 0:
        return 0.0
    if successes >= trials or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    return _incomplete_beta(1 - share, trials - successes, successes + 1)


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(a * log(x) + b * log1p(-x) - (lgamma(a) + lgamma(b) - lgamma(a + b)))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _not_zero(1 + even * d, tiny), _not_zero(1 + even / c, tiny)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _not_zero(1 + odd * d, tiny), _not_zero(1 + odd / c, tiny)
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def _not_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


# ---- pairs of labels


def mcnemar_exact(one_way: int, other_way: int) -> float:
    """The p-value, two-sided, of as uneven a split among rows that changed, were both directions equally likely.

    >>> round(mcnemar_exact(5, 15), 4)
    0.0414
    """
    changed = one_way + other_way
    if changed == 0:
        return 1.0
    return min(1.0, 2 * binomial_cdf(min(one_way, other_way), changed, 0.5))


@dataclass(frozen=True, slots=True)
class ShareComparison:
    """A share of rows (right ones, valid ones) before and after, the same rows."""

    rows: int
    clusters: int
    before: int
    after: int
    fixed: int
    broken: int
    difference: float
    """Of the shares, after less before."""
    interval: Interval
    p_value: float
    verdict: Verdict
    rows_to_tell: int | None
    """How many further rows would probably tell; None where that is clear, or no difference is in sight."""


def compare_shares(
    before: Sequence[bool], after: Sequence[bool], clusters: Sequence[Hashable] | None = None
) -> ShareComparison:
    """Rows of one cluster (of one document, say) count as one, as far as chance goes."""
    fixed = sum(new and not old for old, new in zip(before, after, strict=True))
    broken = sum(old and not new for old, new in zip(before, after, strict=True))
    differences = [float(new) - float(old) for old, new in zip(before, after, strict=True)]
    groups = _sums(differences, clusters)
    rows, is_clustered = len(differences), len(groups) < len(differences)
    difference = fmean(differences) if differences else 0.0
    if is_clustered:
        interval = _clustered_interval(differences, clusters, groups)
        p_value = _p_of_groups(groups, rows)
    else:
        interval = _conditional_interval(fixed, broken, rows)
        p_value = mcnemar_exact(fixed, broken)
    verdict = _verdict(p_value, difference, fixed + broken)
    effect = _design_effect(differences, groups)
    needed = _rows_to_tell(difference, (fixed + broken) / rows if rows else 0.0, effect, rows)
    is_open = verdict == "not sure"
    return ShareComparison(
        rows, len(groups), sum(before), sum(after), fixed, broken, difference, interval, p_value, verdict,
        needed if is_open else None,
    )  # fmt: skip


def _clustered_interval(
    differences: Sequence[float], clusters: Sequence[Hashable] | None, groups: Sequence[tuple[float, int]]
) -> Interval:
    if len(groups) < 2:
        return Interval(-1.0, 1.0)
    found = mean_interval(differences, clusters)
    if found.low < found.high:
        return Interval(max(-1.0, found.low), min(1.0, found.high))
    most = clopper_pearson(0, len(groups)).high  # all clusters agree: another one need not
    return Interval(max(-1.0, found.low - most), min(1.0, found.high + most))


def _conditional_interval(fixed: int, broken: int, rows: int) -> Interval:
    """From the exact interval of the share of fixed rows among those that changed."""
    changed = fixed + broken
    if rows == 0:
        return Interval(-1.0, 1.0)
    if changed == 0:
        most = clopper_pearson(0, rows).high
        return Interval(-most, most)
    split = clopper_pearson(fixed, changed)
    return Interval((2 * split.low - 1) * changed / rows, (2 * split.high - 1) * changed / rows)


def _verdict(p_value: float, difference: float, changed: int) -> Verdict:
    if changed == 0:
        return "equal"
    if p_value >= 1 - CONFIDENCE:
        return "not sure"
    return "better" if difference > 0 else "worse"


def _rows_to_tell(difference: float, changed_share: float, effect: float, rows: int) -> int | None:
    """So many more, were the difference and the share of changed rows what they seem to be."""
    if not rows or abs(difference) < 1e-12:
        return None
    z = _z(CONFIDENCE) + NormalDist().inv_cdf(POWER)
    needed = z * z * max(changed_share - difference**2, 1e-12) / difference**2 * effect
    return max(1, ceil(needed) - rows) if isfinite(needed) else None


# ---- pairs of numbers


@dataclass(frozen=True, slots=True)
class MeanComparison:
    rows: int
    clusters: int
    before: float
    after: float
    difference: float
    interval: Interval
    p_value: float = 1.0

    @property
    def verdict(self) -> Literal["higher", "lower", "not sure", "equal"]:
        if self.difference == 0 and self.interval.low == self.interval.high:
            return "equal"
        if self.p_value >= 1 - CONFIDENCE or self.interval.holds(0.0):
            return "not sure"
        return "higher" if self.difference > 0 else "lower"


def compare_means(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> MeanComparison:
    differences = [new - old for old, new in zip(before, after, strict=True)]
    if not differences:
        return MeanComparison(0, 0, 0.0, 0.0, 0.0, Interval(0.0, 0.0))
    interval, groups = mean_interval(differences, clusters), _sums(differences, clusters)
    p_value, rows = _p_of_groups(groups, len(differences)), len(differences)
    return MeanComparison(rows, len(groups), fmean(before), fmean(after), fmean(differences), interval, p_value)


def mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Of a mean of paired differences, by drawing whole clusters anew; by Student's distribution where they are few,
    and by the normal one where there are thousands of them."""
    groups = _sums(values, clusters)
    if len(groups) < 2:
        mean = fmean(values) if values else 0.0
        return Interval(mean, mean)
    if _LEAST_BOOTSTRAPPED <= len(groups) <= _MOST_BOOTSTRAPPED:
        return _bootstrapped(groups, confidence)
    is_few = len(groups) < _LEAST_BOOTSTRAPPED
    errors = student_t(len(groups) - 1, confidence) if is_few else _z(confidence)
    mean, half = fmean(values), errors * _spread(groups, len(values))
    return Interval(mean - half, mean + half)


def _bootstrapped(groups: Sequence[tuple[float, int]], confidence: float) -> Interval:
    random = Random(SEED)  # noqa: S311 - the same numbers every time are what is wanted
    means = []
    for _ in range(RESAMPLES):
        drawn = random.choices(groups, k=len(groups))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    tail = (1 - confidence) / 2
    return Interval(means[int(tail * RESAMPLES)], means[min(RESAMPLES - 1, int((1 - tail) * RESAMPLES))])


# ---- clusters


def _sums(values: Sequence[float], clusters: Sequence[Hashable] | None) -> list[tuple[float, int]]:
    """(sum, rows) of each cluster."""
    if clusters is None:
        return [(value, 1) for value in values]
    totals: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0])
    for value, cluster in zip(values, clusters, strict=True):
        totals[cluster][0] += value
        totals[cluster][1] += 1
    return [(total, int(count)) for total, count in totals.values()]


def _spread(groups: Sequence[tuple[float, int]], rows: int) -> float:
    """The standard error of the mean, rows of a cluster taken together."""
    if len(groups) < 2 or rows == 0:
        return 0.0
    mean = sum(total for total, _ in groups) / rows
    squares = sum((total - count * mean) ** 2 for total, count in groups)
    return sqrt(squares * len(groups) / (len(groups) - 1)) / rows


def _design_effect(values: Sequence[float], groups: Sequence[tuple[float, int]]) -> float:
    """How many times as many rows it takes because rows of a cluster resemble each other."""
    if len(groups) == len(values):
        return 1.0
    if len(groups) < 2:
        return float(len(values))
    alone = _spread([(value, 1) for value in values], len(values))
    return max(1.0, (_spread(groups, len(values)) / alone) ** 2) if alone else 1.0


def _p_of_groups(groups: Sequence[tuple[float, int]], rows: int) -> float:
    """Two-sided, of differences as far from 0, were each cluster's sign left to a coin."""
    sums = [total for total, _ in groups if total]
    if not sums:
        return 1.0
    if len(sums) > _MOST_FLIPPED:
        difference = sum(sums) / rows
        return 2 * (1 - NormalDist().cdf(abs(difference) / (_spread(groups, rows) or abs(difference) / len(sums))))
    least = abs(sum(sums)) * (1 - 1e-9)
    if len(sums) <= _ALL_FLIPS:
        flipped = [abs(sum(signed)) >= least for signed in product(*((each, -each) for each in sums))]
        return sum(flipped) / len(flipped)
    random = Random(SEED)  # noqa: S311 - the same numbers every time are what is wanted
    hits = sum(abs(sum(random.choice((each, -each)) for each in sums)) >= least for _ in range(_FLIPS))
    return (hits + 1) / (_FLIPS + 1)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(1 - (1 - confidence) / 2)


# ---- noise


@dataclass(frozen=True, slots=True)
class Noise:
    """Rows that changed by the edit, held against rows that change when the same is asked twice."""

    rows: int
    changed_by_edit: int
    changed_by_chance: int
    interval: Interval
    """Of the share that changes by chance."""
    p_value: float
    is_above: bool
    """Whether the edit changed more than chance does."""


def compare_with_noise(
    by_edit: Sequence[bool], by_chance: Sequence[bool], clusters: Sequence[Hashable] | None = None
) -> Noise:
    """The same rows, in the same order: did the answer differ, from edit and from asking again."""
    only_edit = sum(edit and not chance for edit, chance in zip(by_edit, by_chance, strict=True))
    only_chance = sum(chance and not edit for edit, chance in zip(by_edit, by_chance, strict=True))
    rows = len(by_edit)
    groups = _sums([float(edit) - float(chance) for edit, chance in zip(by_edit, by_chance, strict=True)], clusters)
    p_value = _p_of_groups(groups, rows) if len(groups) < rows else mcnemar_exact(only_edit, only_chance)
    interval = clustered_share_interval(by_chance, clusters)
    is_above = p_value < 1 - CONFIDENCE and only_edit > only_chance
    return Noise(rows, sum(by_edit), sum(by_chance), interval, p_value, is_above)
