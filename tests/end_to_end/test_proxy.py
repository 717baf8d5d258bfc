"""A proxy of our own cuts connections between the command line and the emulator, so that the fault is not the
emulator's. `python -m tests.end_to_end.schedules --only cuts` cuts at thousands of bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.schedules import Player, open_players, play_some

SEED = 20261124


@pytest.fixture(scope="module")
def players() -> Iterator[list[Player]]:
    with open_players(2) as opened:
        yield opened


def test_connections_that_are_cut_at_any_byte_cost_nothing(players: list[Player]) -> None:
    """In requests and answers alike: lists, creations, polls and results."""
    totals, failures = play_some(players, "cuts", SEED, 24)
    assert not failures, "\n\n".join(failures[:3])
    assert totals.sums["cuts"] > 20
