"""The threshold of a guarantee: exact bounds in finite samples, misses no more often than stated, few rows sent up."""

from __future__ import annotations

from math import comb, inf
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.escalation.calibration import (
    NEVER,
    calibrate,
    drawn_sample,
    hypergeometric_cdf,
    most_differing,
    sample_size,
    score_of,
)
from tests.benchmarks.agreement import KINDS, Drawn, drawn, ours

SEEDS = 100


@given(st.integers(1, 40), st.data())
def test_the_hypergeometric_chance_is_that_of_counting(population: int, data: st.DataObject) -> None:
    marked, drawn_rows = (data.draw(st.integers(0, population)) for _ in range(2))
    most = data.draw(st.integers(0, drawn_rows))
    ways = sum(comb(marked, hits) * comb(population - marked, drawn_rows - hits) for hits in range(most + 1))
    expected = ways / comb(population, drawn_rows)
    assert hypergeometric_cdf(most, population, marked, drawn_rows) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 300), st.integers(0, 30), st.data())
def test_one_more_differing_row_would_be_too_many(population: int, unseen: int, data: st.DataObject) -> None:
    sample = data.draw(st.integers(1, population))
    allowed = most_differing(population, sample, unseen, 0.1)
    if allowed >= 0 and unseen + 1 + allowed <= population:
        assert hypergeometric_cdf(allowed, population, unseen + 1 + allowed, sample) <= 0.1
    if allowed < min(sample, population - unseen - 1):
        assert hypergeometric_cdf(allowed + 1, population, unseen + 2 + allowed, sample) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("agreement", [0.95, 0.9])
def test_a_hundred_tries_miss_the_target_no_more_often_than_stated(kind: str, agreement: float) -> None:
    outcomes = [ours(drawn(KINDS[kind], 400, seed), agreement, seed) for seed in range(SEEDS)]
    assert sum(outcome.agreement < agreement - 1e-9 for outcome in outcomes) <= 10


def test_a_good_score_sends_fewer_rows_than_one_that_tells_nothing() -> None:
    shares = {
        kind: fmean(ours(drawn(KINDS[kind], 1_000, seed), 0.95, seed).share for seed in range(10))
        for kind in ("sharp", "no information")
    }
    assert shares["sharp"] < 0.3 < shares["no information"]


def test_whether_a_score_tells_rows_apart_is_said() -> None:
    def tells(scores: list[float], agrees: list[bool]) -> bool | None:
        sample = [(score_of(score, str(n)), agree) for n, (score, agree) in enumerate(zip(scores, agrees, strict=True))]
        found = calibrate([score for score, _ in sample], sample, rows=len(sample), agreement=0.9, confidence=0.9)
        return found.tells_apart

    assert tells([0.9] * 50 + [0.1] * 10, [True] * 50 + [False] * 10) is True
    assert tells([0.5] * 60, [True] * 50 + [False] * 10) is False
    assert tells([0.5] * 60, [True] * 60) is None


def test_too_small_a_sample_keeps_nothing() -> None:
    scores = [score_of(0.9, str(n)) for n in range(1_000)]
    found = calibrate(scores, [(score, True) for score in scores[:10]], rows=1_000, agreement=0.95, confidence=0.9)
    assert (found.threshold, found.allowed, found.kept) == (NEVER, -1, 0)
    assert found.threshold[0] == inf


def test_where_everything_was_sampled_everything_may_stay_that_is_known() -> None:
    rows = Drawn([0.5] * 30, [True] * 20 + [False] * 10)
    assert ours(rows, 0.95, 1).agreement == 1
    assert ours(rows, 0.5, 1).agreement >= 0.5


@given(st.integers(1, 3_000), st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_sample_is_no_larger_than_the_input(rows: int, agreement: float, confidence: float) -> None:
    assert 1 <= sample_size(rows, agreement, confidence) <= rows


def test_a_sample_is_the_same_every_time_and_grows_by_adding() -> None:
    keys = [str(n) for n in range(500)]
    assert drawn_sample(keys, 50) == drawn_sample(reversed(keys), 50)
    assert drawn_sample(keys, 50) < drawn_sample(keys, 80)
