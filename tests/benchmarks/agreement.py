"""What share of rows a guarantee of agreement sends to the strongest model, and how often it misses its target; beside
BARGAIN (`pip install BARGAIN`) on identical scores, where that is installed.

    python -m tests.benchmarks.agreement --seeds 100

Scores and agreement are drawn anew for each seed; rows of the sample count as sent.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from random import Random
from statistics import fmean
from typing import Any

from batchforge.escalation.calibration import calibrate, drawn_sample, sample_size, score_of

CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows of the cheap model."""

    scores: Sequence[float]
    agrees: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    share: float
    """Of rows that the strongest model was asked."""
    agreement: float
    """Of the output with it."""


Kind = Callable[[Random], tuple[float, float]]
"""A row's score, and the chance that both models agree on it."""


def _calibrated(random: Random) -> tuple[float, float]:
    score = 0.1 + 0.9 * random.betavariate(8, 1)
    return score, score


def _sharp(random: Random) -> tuple[float, float]:
    score = random.betavariate(6, 1)
    return score, 1 / (1 + math.exp(-14 * (score - 0.55)))


def _weak(random: Random) -> tuple[float, float]:
    score = random.betavariate(5, 2)
    return score, 0.85 + 0.1 * score


def _votes(random: Random) -> tuple[float, float]:
    return random.choices([(1.0, 0.98), (2 / 3, 0.8), (1 / 3, 0.5)], [0.75, 0.2, 0.05])[0]


def _overconfident(random: Random) -> tuple[float, float]:
    score = 0.9 + 0.1 * random.betavariate(3, 1)
    return score, 5 * score - 4


KINDS: Mapping[str, Kind] = {
    "calibrated": _calibrated,
    "sharp": _sharp,
    "weak": _weak,
    "votes of 3": _votes,
    "overconfident": _overconfident,
    "no information": lambda random: (random.random(), 0.92),
    "none needed": lambda random: (random.random(), 0.97),
}


def drawn(kind: Kind, rows: int, seed: int) -> Drawn:
    random = Random(seed)
    pairs = [kind(random) for _ in range(rows)]
    return Drawn([score for score, _ in pairs], [random.random() < chance for _, chance in pairs])


def ours(rows: Drawn, agreement: float, seed: int) -> Outcome:
    count = len(rows.scores)
    keys = [f"{seed}-{number}" for number in range(count)]
    scores = [score_of(score, key) for score, key in zip(rows.scores, keys, strict=True)]
    chosen = drawn_sample(keys, sample_size(count, agreement, CONFIDENCE))
    sample = [(score, agrees) for key, score, agrees in zip(keys, scores, rows.agrees, strict=True) if key in chosen]
    found = calibrate(scores, sample, rows=count, agreement=agreement, confidence=CONFIDENCE)
    sent = [key in chosen or score < found.threshold for key, score in zip(keys, scores, strict=True)]
    return outcome(rows, sent)


def outcome(rows: Drawn, sent: Sequence[bool]) -> Outcome:
    return Outcome(fmean(sent), fmean(up or agrees for up, agrees in zip(sent, rows.agrees, strict=True)))


def bargain(rows: Drawn, agreement: float, seed: int) -> Outcome:
    """What BARGAIN_A does with the same scores; it asks its oracle one row at a time."""
    numpy, package = import_module("numpy"), import_module("BARGAIN")
    scores, agrees = numpy.array(rows.scores), numpy.array(rows.agrees)

    class Proxy:
        def reset(self) -> None: ...

        def get_preds_and_scores(self, indexes: Any, _records: Any) -> tuple[Any, Any]:
            return numpy.array(["p"] * len(indexes)), scores[indexes]

    class Oracle:
        def reset(self) -> None: ...

        def is_answer_correct(self, indexes: Any, _records: Any, _answers: Any) -> Any:
            return agrees[indexes].astype(float)

        def get_pred(self, _records: Any, indexes: Any) -> Any:
            return numpy.array(["o"] * len(indexes))

    cascade = package.BARGAIN_A(Proxy(), Oracle(), target=agreement, delta=1 - CONFIDENCE, verbose=False, seed=seed)
    _, sent = cascade.process([str(number) for number in range(len(scores))], return_oracle_usage=True)
    return outcome(rows, [bool(up) for up in sent])


def lines(seeds: int, sizes: Sequence[int], targets: Sequence[float]) -> Iterator[str]:
    has_bargain = find_spec("BARGAIN") is not None
    yield "| rows | scores | agreement | sent | misses | BARGAIN sent | BARGAIN misses |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    for size in sizes:
        for name, kind in KINDS.items():
            for target in targets:
                trials = [drawn(kind, size, seed) for seed in range(seeds)]
                own = _words([ours(rows, target, seed) for seed, rows in enumerate(trials)], target)
                other = "not installed | "
                if has_bargain:
                    other = _words([bargain(rows, target, seed) for seed, rows in enumerate(trials)], target)
                yield f"| {size:,} | {name} | {target:g} | {own} | {other} |"


def _words(outcomes: Sequence[Outcome], target: float) -> str:
    misses = sum(each.agreement < target - 1e-9 for each in outcomes)
    return f"{fmean(each.share for each in outcomes):.1%} | {misses} of {len(outcomes)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 5_000])
    parser.add_argument("--agreement", type=float, nargs="*", default=[0.95, 0.9])
    given = parser.parse_args()
    for line in lines(given.seeds, given.rows, given.agreement):
        print(line, flush=True)


if __name__ == "__main__":
    main()
