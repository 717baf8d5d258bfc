"""Scores, and a sample of rows that two models were asked -> from which score on the cheap one's answers can be kept.

Kept are the rows from a score on; all others, and those of the sample, have the strongest model's answer. The output
agrees with it often enough if no more than B = (1 - agreement) x rows of those that are kept, and were not sampled,
differ. Call the rows that differ d1, d2, … by falling score. If the score is lowered as long as at most c of the
sample's rows from there on differ, more than B are left unseen only where, of d1 … d(B+1+c), at most c are in the
sample: from c + 1 seen ones on the score is not lowered, and B + 1 unseen ones among fewer are still there among these.
That is one event, whatever the scores are and however many of them are looked at. In a sample without replacement its
chance is hypergeometric, so c is the largest number for which it is small enough: exact for any number of rows, and
nothing is lost to many thresholds. Small enough is half of 1 - confidence, so that whoever counts misses among many
jobs sees no more of them than was stated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import exp, floor, inf, lgamma, sqrt
from statistics import NormalDist
from typing import TypeAlias

Score: TypeAlias = tuple[float, float]
"""How sure an answer is; and a number by which equal ones are told apart, so that some of them can be kept."""

NEVER: Score = (inf, 0.0)
_SEED, _TIE_SEED = b"batchforge-agree-1", b"batchforge-tie-1"
_USED_OF_RISK = 0.5
_COST_OF_SAMPLED = 0.7
"""Of a row: some would have gone up anyway, and what differs among them differs no more."""
_DIFFERING_AT_THRESHOLD = 0.3
"""The share of rows that differ where scores begin to be too low: what the size of the sample is weighed by."""
_FEWEST_TO_TELL = 5
"""Rows of each kind from which on it can be said whether the score tells them apart."""


@dataclass(frozen=True, slots=True)
class Calibration:
    threshold: Score
    """Answers with this score or a higher one are kept; inf: none."""
    rows: int
    sample: int
    differing: int
    """Of the sample."""
    allowed: int
    """Differing rows of the sample that may have such a score; -1: the sample is too small for any."""
    kept: int
    """Rows whose score is high enough."""
    tells_apart: bool | None
    """Whether rows that agree surely have higher scores than those that differ; None where too few differ to tell."""


def calibrate(
    scores: Sequence[Score],
    sample: Sequence[tuple[Score, bool]],
    *,
    rows: int,
    agreement: float,
    confidence: float,
) -> Calibration:
    """
    Args:
        scores: Of all rows that may be kept, those of the sample included.
        sample: Score, and whether both models agree; drawn from these rows without replacement.
        rows: Of the whole output. Those that may not be kept have the strongest model's answer.
    """
    unseen, risk = _unseen(rows, agreement), _USED_OF_RISK * (1 - confidence)
    allowed = most_differing(len(scores), len(sample), unseen, risk)
    differing = sorted((score for score, agrees in sample if not agrees), reverse=True)
    threshold = _threshold(scores, differing, allowed)
    return Calibration(
        threshold=threshold,
        rows=rows,
        sample=len(sample),
        differing=len(differing),
        allowed=allowed,
        kept=sum(score >= threshold for score in scores),
        tells_apart=_tells_apart([score for (score, _), agrees in sample if agrees], [score for score, _ in differing]),
    )


def _threshold(scores: Sequence[Score], differing: Sequence[Score], allowed: int) -> Score:
    """The lowest score for which no more differing rows of the sample are as high."""
    if allowed < 0:
        return NEVER
    too_low = differing[allowed] if len(differing) > allowed else (-inf, 0.0)
    return min((score for score in scores if score > too_low), default=NEVER)


def most_differing(population: int, sample: int, unseen: int, risk: float) -> int:
    """How many rows of the sample may differ for more than `unseen` unseen ones to be as unlikely as `risk`; -1: even
    none is too many."""
    low, high = -1, min(sample, max(population - unseen - 1, 0))
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeometric_cdf(middle, population, unseen + 1 + middle, sample) <= risk:
            low = middle
        else:
            high = middle - 1
    return low


def hypergeometric_cdf(most: int, population: int, marked: int, drawn: int) -> float:
    """The chance that of `drawn` rows `most` or fewer are among the `marked` ones.

    >>> round(hypergeometric_cdf(1, 50, 5, 10), 4)
    0.7419
    """
    if marked > population:
        return 0.0
    fewest = max(0, drawn - (population - marked))
    top = _log_choose(population, drawn)
    terms = (
        exp(_log_choose(marked, hits) + _log_choose(population - marked, drawn - hits) - top)
        for hits in range(fewest, min(most, marked, drawn) + 1)
    )
    return min(1.0, sum(terms))


def _log_choose(count: int, taken: int) -> float:
    return lgamma(count + 1) - lgamma(taken + 1) - lgamma(count - taken + 1)


@lru_cache
def sample_size(rows: int, agreement: float, confidence: float) -> int:
    """A large sample costs by itself, a small one makes the threshold careful: where both together cost least."""
    unseen, risk = _unseen(rows, agreement), _USED_OF_RISK * (1 - confidence)
    best, least, differing = rows, float(rows), 0
    while differing < rows:
        size = _smallest_for(differing, rows, unseen, risk)
        careful = max(0.0, unseen + differing - differing * rows / size) / _DIFFERING_AT_THRESHOLD
        cost = _COST_OF_SAMPLED * size + careful
        if cost < least:
            best, least = size, cost
        if _COST_OF_SAMPLED * size > least or size >= rows:
            break
        differing += max(1, differing // 10)
    return min(rows, max(best, 20))


def _smallest_for(differing: int, rows: int, unseen: int, risk: float) -> int:
    """The fewest rows of which so many may differ."""
    low, high = differing, rows
    while low < high:
        middle = (low + high) // 2
        if hypergeometric_cdf(differing, rows, unseen + 1 + differing, middle) <= risk:
            high = middle
        else:
            low = middle + 1
    return low


def _unseen(rows: int, agreement: float) -> int:
    """Rows that may differ without being seen."""
    return floor((1 - agreement) * rows + 1e-9)


def drawn_sample(keys: Iterable[str], size: int) -> frozenset[str]:
    """The same ones every time, and as good as chosen by chance."""
    return frozenset(key for _, key in heapq.nsmallest(size, ((_hash(key, _SEED), key) for key in keys)))


def score_of(value: float, key: str) -> Score:
    """Of the row with this key."""
    return value, int.from_bytes(_hash(key, _TIE_SEED)[:6]) / 2**48


def _hash(key: str, seed: bytes) -> bytes:
    return blake2b(key.encode(), digest_size=16, key=seed).digest()


def _tells_apart(agreeing: Sequence[float], differing: Sequence[float]) -> bool | None:
    """Whether the chance that an agreeing row has the higher score of two is surely above one half."""
    both = len(agreeing) * len(differing)
    if min(len(agreeing), len(differing)) < _FEWEST_TO_TELL:
        return None
    ranked = sorted([(score, True) for score in agreeing] + [(score, False) for score in differing])
    wins, below, at = 0.0, 0, 0
    while at < len(ranked):
        tied = at
        while tied < len(ranked) and ranked[tied][0] == ranked[at][0]:
            tied += 1
        lower = sum(not agrees for _, agrees in ranked[at:tied])
        wins += (tied - at - lower) * (below + lower / 2)
        below, at = below + lower, tied
    spread = sqrt((len(agreeing) + len(differing) + 1) / (12 * both))
    return (wins / both - 0.5) / spread > NormalDist().inv_cdf(0.95)
