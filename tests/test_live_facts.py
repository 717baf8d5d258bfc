"""verify-live finds that the facts hold where they do, and each way in which a server can differ."""

from __future__ import annotations

import json
from contextlib import closing
from typing import get_args

import pytest

from batchforge import live_facts
from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.deviations import Deviation
from tests.builders import ProjectFiles

KEY = "a-key-of-the-tests"


def facts_of(scenario: Scenario) -> dict[str, bool]:
    """Fact -> whether it holds, tried against an emulator."""
    with (
        EmulatorServer(api_keys=frozenset({KEY}), scenario=scenario) as emulator,
        closing(live_facts.Server(emulator.base_url, KEY, looks_for_s=2)) as server,
    ):
        reports = live_facts.compare(live_facts.check_facts(server), [])
    return {report.name: report.holds for report in reports}


def test_all_facts_hold_for_the_emulator() -> None:
    facts = facts_of(Scenario(processing_time_s=0.3))
    assert len(facts) > 45
    assert [name for name, holds in facts.items() if not holds] == []


@pytest.mark.parametrize("deviation", get_args(Deviation))
def test_every_deviation_is_found(deviation: Deviation) -> None:
    facts = facts_of(Scenario(processing_time_s=0.3, deviations=(deviation,)))
    assert [name for name, holds in facts.items() if not holds] != []


def test_a_check_costs_less_than_a_cent() -> None:
    assert 0 < live_facts.ceiling() < 0.05


def test_the_check_is_refused_where_it_could_cost_more_than_it_may(project: ProjectFiles) -> None:
    done = project.cli("verify-live", "--max-cost", "0.0001")
    assert done.exit_code == 5
    assert "BF802" in done.stderr


def test_the_table_tells_what_was_expected_seen_and_emulated(project: ProjectFiles) -> None:
    done = project.cli("verify-live", "--output", "json")
    facts = json.loads(done.stdout)["facts"]
    assert {"name", "expected", "seen", "emulator", "holds", "is_alike"} == set(facts[0])
    assert all(fact["is_alike"] for fact in facts if fact["name"].startswith("a duplicate custom_id"))
