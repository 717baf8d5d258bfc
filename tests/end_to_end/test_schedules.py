"""A few of the random schedules; `python -m tests.end_to_end.schedules` plays as many as you like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.schedules import Player, open_players, play_some

SEED = 20261124


@pytest.fixture(scope="module")
def players() -> Iterator[list[Player]]:
    with open_players(2) as opened:
        yield opened


def test_random_schedules_of_faults_and_kills_pay_once_and_lose_nothing(players: list[Player]) -> None:
    totals, failures = play_some(players, "all", SEED, 40)
    assert not failures, "\n\n".join(failures[:3])
    assert totals.sums["kills"] > 10
    assert totals.sums["faults"] > 20
