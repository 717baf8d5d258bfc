"""Tests and intervals against published values and against what they promise, worked out in whole numbers."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.evaluation.statistics import (
    binomial_cdf,
    clopper_pearson,
    clustered_share_interval,
    compare_means,
    compare_shares,
    compare_with_noise,
    mcnemar_exact,
    mean_interval,
    share_interval,
    student_t,
    wilson,
)


def exact_cdf(successes: int, trials: int, share: Fraction) -> Fraction:
    terms = (comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes + 1))
    return sum(terms, Fraction(0))


@given(st.integers(1, 60), st.data())
def test_the_binomial_distribution_is_exact(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    share = Fraction(data.draw(st.integers(0, 100)), 100)
    assert binomial_cdf(successes, trials, float(share)) == pytest.approx(
        float(exact_cdf(successes, trials, share)), abs=1e-11
    )


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (8, 10, 0.4439, 0.9748), (10, 10, 0.6915, 1.0), (15, 200, 0.0426, 0.1207)],
)
def test_clopper_pearson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    interval = clopper_pearson(successes, trials)
    assert [interval.low, interval.high] == pytest.approx([low, high], abs=2e-4)


@given(st.integers(1, 300), st.data())
def test_the_ends_of_an_exact_interval_leave_their_tails(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = clopper_pearson(successes, trials)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1
    if successes > 0:
        assert 1 - binomial_cdf(successes - 1, trials, interval.low) == pytest.approx(0.025, abs=1e-6)
    if successes < trials:
        assert binomial_cdf(successes, trials, interval.high) == pytest.approx(0.025, abs=1e-6)


@given(st.integers(1, 5_000), st.data())
def test_wilson_holds_the_share(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = wilson(successes, trials)
    assert interval.low <= successes / trials + 1e-12
    assert interval.high >= successes / trials - 1e-12


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    changed = one + other
    expected = min(1.0, 2 * float(exact_cdf(min(one, other), changed, Fraction(1, 2)))) if changed else 1.0
    assert mcnemar_exact(one, other) == pytest.approx(expected, abs=1e-11)
    assert mcnemar_exact(other, one) == mcnemar_exact(one, other)


def test_mcnemar_of_many_rows_does_not_overflow() -> None:
    assert mcnemar_exact(40_000, 41_000) == pytest.approx(0.00044, rel=0.05)


def flags(right: int, fixed: int, broken: int, wrong: int) -> tuple[list[bool], list[bool]]:
    before = [True] * right + [False] * fixed + [True] * broken + [False] * wrong
    after = [True] * right + [True] * fixed + [False] * broken + [False] * wrong
    return before, after


def test_better_worse_equal_and_not_sure() -> None:
    assert compare_shares(*flags(50, 20, 2, 8)).verdict == "better"
    assert compare_shares(*flags(50, 2, 20, 8)).verdict == "worse"
    assert compare_shares(*flags(50, 0, 0, 8)).verdict == "equal"
    unsure = compare_shares(*flags(80, 6, 3, 11))
    assert unsure.verdict == "not sure"
    assert (unsure.fixed, unsure.broken, unsure.rows) == (6, 3, 100)
    assert unsure.interval.low < 0 < unsure.difference < unsure.interval.high


def test_as_many_rows_as_are_asked_for_tell_four_times_in_five() -> None:
    unsure = compare_shares(*flags(80, 7, 3, 10))
    assert unsure.rows_to_tell is not None
    rows, random, told = unsure.rows + unsure.rows_to_tell, Random(7), 0
    for _ in range(200):
        drawn = random.choices(["same", "fixed", "broken"], weights=[90, 7, 3], k=rows)
        told += mcnemar_exact(drawn.count("fixed"), drawn.count("broken")) < 0.05
    assert 0.72 <= told / 200 <= 0.88


def test_rows_of_one_document_count_as_one_chance() -> None:
    before, after = flags(40, 20, 0, 40)
    alone = compare_shares(before, after)
    documents = ["a"] * 40 + ["b"] * 20 + ["c"] * 40
    together = compare_shares(before, after, documents)
    assert alone.verdict == "better"
    assert together.verdict == "not sure"
    assert together.clusters == 3
    assert (together.rows_to_tell or 0) > 100


def test_one_document_tells_nothing_however_many_rows_it_has() -> None:
    shares = compare_shares([True] * 50, [False] * 50, ["only"] * 50)
    assert (shares.verdict, shares.clusters, shares.interval.high) == ("not sure", 1, 1.0)
    means = compare_means([1.0] * 50, [2.0] * 50, ["only"] * 50)
    assert means.verdict == "not sure"
    noise = compare_with_noise([True] * 50, [False] * 50, ["only"] * 50)
    assert not noise.is_above


def test_documents_that_agree_tell_once_there_are_enough_of_them() -> None:
    verdicts = [
        compare_shares([True] * 10 * count, [False] * 10 * count, [n // 10 for n in range(10 * count)]).verdict
        for count in (2, 5, 6, 40, 300)
    ]
    assert verdicts == ["not sure", "not sure", "worse", "worse", "worse"]


def test_an_interval_of_a_clustered_share_holds_the_truth_as_often_as_it_says() -> None:
    random, held = Random(11), 0
    for _ in range(100):
        flags, clusters = [], []
        for document in range(20):
            share = random.betavariate(0.6, 1.4)  # 0.3 on average, and much alike within a document
            flags += [random.random() < share for _ in range(10)]
            clusters += [document] * 10
        held += clustered_share_interval(flags, clusters).holds(0.3)
    assert held >= 92
    alone = [n < 30 for n in range(100)]
    assert clustered_share_interval(alone, None) == share_interval(30, 100)


@pytest.mark.parametrize(("degrees", "reach"), [(1, 12.706), (4, 2.776), (29, 2.045), (1_000, 1.962)])
def test_students_distribution_as_published(degrees: int, reach: float) -> None:
    assert student_t(degrees) == pytest.approx(reach, abs=1e-3)


def test_an_interval_of_means_holds_the_truth_as_often_as_it_says() -> None:
    random = Random(3)
    held = sum(mean_interval([random.gauss(0.3, 1) for _ in range(60)]).holds(0.3) for _ in range(60))
    assert held >= 52


def test_intervals_are_the_same_every_time_and_for_many_rows_quick() -> None:
    random = Random(5)
    values = [random.gauss(0.1, 1) for _ in range(300)]
    assert mean_interval(values) == mean_interval(values)
    many = compare_means([0.0] * 50_000, [random.gauss(0.1, 1) for _ in range(50_000)])
    assert many.verdict == "higher"
    assert many.interval.high - many.interval.low == pytest.approx(2 * 1.96 / 50_000**0.5, rel=0.03)


def test_numbers_that_do_not_move_are_equal() -> None:
    assert compare_means([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).verdict == "equal"
    assert compare_means([], []).rows == 0


def test_a_change_no_larger_than_chance_is_told_from_one_that_is() -> None:
    assert not compare_with_noise([True] * 10 + [False] * 90, [False] * 90 + [True] * 10).is_above
    noise = compare_with_noise([True] * 40 + [False] * 60, [False] * 90 + [True] * 10)
    assert noise.is_above
    assert noise.interval.holds(0.1)
