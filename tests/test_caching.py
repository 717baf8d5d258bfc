"""Where caching pays, where it does not, and what the known cases come to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.claude_models import PriceTier
from batchforge.planning.cache_groups import first_differing_byte, order_of_sending
from batchforge.planning.caching import (
    CacheDecision,
    GroupSize,
    HitRates,
    break_even_rate,
    decide_caching,
    decide_group_caching,
    prefix_cost,
)
from batchforge.planning.estimate import four_ways
from batchforge.requests.request import CacheSlot
from batchforge.spec import CachePolicy

SHARED = [CacheSlot("system", True, 9_000)]
THREE_DOLLARS = PriceTier(None, Decimal(3), Decimal(15), Decimal("3.75"), Decimal(6), Decimal("0.3"))


def decided(requests: int, policy: CachePolicy | None = None, **changes: object) -> CacheDecision:
    settings: dict[str, object] = {
        "requests": requests,
        "tier": THREE_DOLLARS,
        "min_tokens": 1_024,
        "rates": HitRates(),
        "can_prime": True,
    }
    return decide_caching(policy or CachePolicy(), SHARED, [3_000.0], **(settings | changes))  # type: ignore[arg-type]


def test_a_one_hour_write_starts_to_pay_at_53_percent_and_a_five_minute_one_at_22() -> None:
    assert round(break_even_rate(2.0, 0.1), 2) == 0.53
    assert round(break_even_rate(1.25, 0.1), 2) == 0.22


def test_at_ideal_hits_a_one_hour_write_pays_from_3_rows_and_a_five_minute_one_from_2() -> None:
    def first_that_pays(write: float) -> int:
        return next(n for n in range(1, 99) if prefix_cost(n, 1.0, write, 0.1, is_primed=True) < n)

    assert (first_that_pays(2.0), first_that_pays(1.25)) == (3, 2)


@pytest.mark.parametrize(("write", "batch_cached"), [("3", 8.55), ("3.75", 9.1125), ("6", 10.8)])
def test_5000_requests_of_3000_shared_tokens_cost_what_is_known_of_them(write: str, batch_cached: float) -> None:
    """$45 and $22.50 without caching; with 10 % writes at the plain price $8.55, in batches half of it."""
    tier = replace(THREE_DOLLARS, cache_write_1h=Decimal(write))
    caching = CacheDecision(marks={0: "1h"}, prefix_tokens=3_000, is_cacheable=True, hit_rate=0.9)
    ways = four_ways(
        requests=5_000, input_tokens=15e6, output_tokens=0, tier=tier, caching=caching, batch_multiplier=0.5
    )
    found = [round(pico / 1e12, 4) for pico in (ways.standard, ways.batch, ways.standard_cached, ways.batch_cached)]
    assert found == [45.0, 22.5, round(15 * 3 * (0.9 * 0.1 + 0.1 * float(write) / 3), 4), found[2] / 2]
    if write == "3":
        assert found == [45.0, 22.5, 8.55, 4.275]


def test_a_priming_row_makes_it_pay_from_three_rows_on() -> None:
    assert [bool(decided(n).marks) for n in (1, 2, 3)] == [False, False, True]
    assert decided(3).is_primed


def test_a_cold_batch_is_not_marked() -> None:
    cold = decided(5_000, can_prime=False)
    assert not cold.marks
    assert "not primed" in cold.note
    assert "--no-wait" in cold.note


def test_a_learnt_hit_rate_decides_instead_of_the_usual_one() -> None:
    assert not decided(5_000, rates=HitRates(primed=0.4)).marks
    assert decided(5_000, CachePolicy(prime="off"), rates=HitRates(cold=0.9)).marks == {0: "5m"}


def test_under_the_models_minimum_nothing_is_marked_and_what_is_missing_is_said() -> None:
    decision = decided(5_000, min_tokens=4_096)
    assert not decision.marks
    assert "1,096 too few" in decision.note


def test_off_never_marks_and_on_marks_where_it_does_not_pay() -> None:
    assert not decided(5_000, CachePolicy(mode="off")).marks
    assert decided(2, CachePolicy(mode="on")).marks


def test_a_life_that_was_asked_for_is_kept() -> None:
    assert decided(5_000, CachePolicy(ttl="5m")).marks == {0: "5m"}


def test_without_known_prices_nothing_is_marked() -> None:
    assert "prices are not known" in decided(5_000, tier=None).note


def test_priming_through_the_synchronous_api_is_done_where_it_is_asked_for() -> None:
    decision = decided(5_000, CachePolicy(prime="sync"), rates=HitRates(primed=0.16))
    assert decision.is_primed
    assert "lost" in decision.note


@given(
    requests=st.integers(1, 100_000),
    hit_rate=st.floats(0, 1),
    cold=st.floats(0, 1),
    read=st.sampled_from(["0.0075", "0.15", "0.3"]),
)
def test_what_is_chosen_is_never_dearer_than_no_caching(requests: int, hit_rate: float, cold: float, read: str) -> None:
    tier = replace(THREE_DOLLARS, cache_read=Decimal(read))
    chosen = decided(requests, tier=tier, rates=HitRates(cold, hit_rate))
    if not chosen.marks:
        return
    write = float((tier.cache_write_1h if chosen.marks[0] == "1h" else tier.cache_write_5m) / tier.input)
    cost = prefix_cost(
        requests, chosen.hit_rate, write, float(tier.cache_read / tier.input), is_primed=chosen.is_primed
    )
    assert cost <= requests
    assert chosen.break_even is not None


# ---- groups


def grouped(*rows: int, tokens: float = 8_000, **changes: object) -> object:
    settings: dict[str, object] = {
        "tier": THREE_DOLLARS,
        "min_tokens": 1_024,
        "rates": HitRates(),
        "can_prime": True,
    }
    sizes = [GroupSize(count, tokens) for count in rows]
    policy = changes.pop("policy", CachePolicy(per="document"))
    return decide_group_caching(policy, 1, sizes, CacheDecision(), **(settings | changes))  # type: ignore[arg-type]


def test_groups_of_three_and_more_rows_are_worth_a_write_of_their_own() -> None:
    chosen = grouped(1, 2, 3, 50)
    assert (chosen.smallest, chosen.marked_groups, chosen.marked_rows) == (3, 2, 53)  # type: ignore[attr-defined]
    assert chosen.is_primed  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 500},
        {"can_prime": False},
        {"policy": CachePolicy(per="document", prime="off")},
        {"policy": CachePolicy(mode="off", per="document")},
        {"tier": None},
    ],
    ids=["too short", "no wait", "prime: off", "off", "no prices"],
)
def test_groups_are_left_unmarked_where_a_write_cannot_pay(changes: dict[str, object]) -> None:
    assert grouped(3, 50, **changes) is None  # type: ignore[arg-type]


def test_rows_of_a_group_go_together_behind_the_rows_that_go_ahead() -> None:
    order = list(order_of_sending([0, 1, 0, 2, 1, 1], [False, True, False], is_primed=True))
    assert order == [("prime", 0), ("prime groups", 1), ("rest", 2), ("rest", 4), ("rest", 5), ("rest", 3)]


@given(numbers=st.lists(st.integers(0, 5), max_size=60), primed=st.lists(st.booleans(), min_size=6, max_size=6))
def test_every_row_is_sent_once_whatever_goes_ahead(numbers: list[int], primed: list[bool]) -> None:
    order = list(order_of_sending(numbers, primed, is_primed=primed[0]))
    assert sorted(row for _, row in order) == list(range(len(numbers)))
    ahead = [numbers[row] for phase, row in order if phase == "prime groups"]
    assert len(ahead) == len(set(ahead))


def test_the_first_byte_that_differs_is_found() -> None:
    assert first_differing_byte([b'"one"', b'"same as"'], [b'"one"', b'"same is"']) == (1, 5)
