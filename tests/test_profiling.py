"""Where time and memory went: stages that lie in one another, and what a command prints of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchforge import profiling
from batchforge.profiling import OTHER, Profile, stage, staged, take_profile
from tests.builders import ProjectFiles

NAP_S = 0.05


@pytest.fixture
def profile() -> Iterator[Profile]:
    yield take_profile()
    profiling._profile = None


def test_a_stage_is_counted_without_the_stages_inside_it(profile: Profile) -> None:
    with stage("outer"):
        with stage("inner"):
            time.sleep(2 * NAP_S)
        time.sleep(NAP_S)
    assert profile.costs["inner"].wall_s >= 2 * NAP_S
    assert NAP_S <= profile.costs["outer"].wall_s < profile.costs["inner"].wall_s


def test_what_makes_the_items_of_a_stream_is_counted_and_not_what_is_done_with_them(profile: Profile) -> None:
    def items() -> Iterator[int]:
        for number in range(2):
            time.sleep(NAP_S)
            yield number

    for _ in staged("making", items()):
        with stage("using"):
            time.sleep(2 * NAP_S)
    assert 2 * NAP_S <= profile.costs["making"].wall_s < profile.costs["using"].wall_s
    assert profile.costs["making"].times == 3


def test_a_stage_that_fails_is_left(profile: Profile) -> None:
    with pytest.raises(ValueError, match="no"), stage("failing"):
        raise ValueError("no")
    with stage("next"):
        time.sleep(NAP_S)
    assert profile.costs["failing"].wall_s < NAP_S


def test_all_stages_together_are_the_whole_command(profile: Profile) -> None:
    with stage("one"):
        time.sleep(NAP_S)
    time.sleep(NAP_S)
    table = profile.table()
    passed_s = time.perf_counter() - profile.began_wall_s
    assert [cost.name for cost in table] == ["one", OTHER]
    assert sum(cost.wall_s for cost in table) == pytest.approx(passed_s, abs=NAP_S / 2)


def test_nothing_is_counted_unless_asked() -> None:
    with stage("anything"):
        assert list(staged("items", "ab")) == ["a", "b"]
    assert profiling._profile is None


def test_a_run_says_where_its_time_went(project: ProjectFiles) -> None:
    said = project.cli("--profile", "run")
    assert said.exit_code == 0
    for name in ("read project", "read and render rows", "send batches", "store results", "write outputs", OTHER):
        assert f"\n{name} " in said.stderr
    assert "wall s" in said.stderr
    assert "wall s" not in project.cli("run").stderr


def test_it_can_stand_behind_the_command_and_goes_into_the_log(tmp_path: Path, project: ProjectFiles) -> None:
    said = project.cli("run", "--profile", "--log-format", "json")
    last = json.loads(said.stderr.splitlines()[-1])
    assert last["event"] == "profiled"
    assert last["stages"]["send batches"]["times"] >= 1
    assert last["peak_mb"] > 10


def test_it_is_said_where_a_command_fails_too(project: ProjectFiles) -> None:
    said = project.cli("run", "no_such_job", "--profile")
    assert said.exit_code == 2
    assert "everything else" in said.stderr
