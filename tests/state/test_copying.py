"""A state moves from store to store with all that it holds, and every answer is found there as it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import StateError
from batchforge.execution.leases import probe
from batchforge.state.checkup import find_problems
from batchforge.state.copying import copy_state, summed_up, tables
from batchforge.state.holders import Holder
from batchforge.state.records import Lease
from batchforge.state.sqlite import SqliteState
from batchforge.state.stores import open_state
from tests.builders import ProjectFiles


class Forgetful(SqliteState):
    """A store with a defect: it loses a row, and lets everybody hold every lock."""

    def fill(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        super().fill(table, columns, rows[1:] if table == "results" else rows)

    def take_lease(self, name: str, purpose: str, holder: Holder, term_s: float) -> Lease:
        self.break_lease(name)
        return super().take_lease(name, purpose, holder, term_s)


IN_ENVIRONMENT = "{{ env_var('STATE_URL') }}"
"""Addresses with a password do not stand in files."""


@pytest.fixture
def in_environment(state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_URL", state_url)


def state_file(project: ProjectFiles) -> Path:
    (found,) = project.path(".batchforge").glob("state-*.db")
    return found


def test_everything_goes_along_and_comes_back(project: ProjectFiles, state_url: str, tmp_path: Path) -> None:
    project.run()
    with (
        closing(SqliteState(state_file(project))) as old,
        closing(open_state(state_url)) as new,
        closing(SqliteState(tmp_path / "back.db")) as back,
    ):
        sent = [summed_up(old, table) for table in tables()]
        assert copy_state(old, new) == sent == copy_state(new, back)
        assert dict(new.counts()) == dict(old.counts())
        assert sum(table.rows for table in sent) > 10
        assert list(find_problems(new)) == []


@pytest.mark.usefixtures("in_environment")
def test_a_run_on_the_copy_pays_nothing(project: ProjectFiles) -> None:
    before = project.run()
    finished = project.cli("state", "migrate", "api", IN_ENVIRONMENT)
    assert finished.exit_code == 0, finished.stderr
    project.write_project(state=IN_ENVIRONMENT)
    again = project.run()
    assert (again.status, again.jobs[0].requests_sent, before.jobs[0].requests_sent) == ("ok", 0, 3)


def test_a_state_is_copied_only_where_there_is_none(project: ProjectFiles, tmp_path: Path) -> None:
    project.run()
    with closing(SqliteState(state_file(project))) as state, pytest.raises(StateError, match="BF514"):
        copy_state(state, state)


def test_what_arrives_otherwise_is_noticed(project: ProjectFiles, tmp_path: Path) -> None:
    project.run()
    words = r"BF515 `results` of .* has 2 rows with another digest than the 3 of"
    with (
        closing(SqliteState(state_file(project))) as old,
        closing(Forgetful(tmp_path / "new.db")) as new,
        pytest.raises(StateError, match=words),
    ):
        copy_state(old, new)


def test_a_store_that_lets_two_hold_one_lock_is_refused(tmp_path: Path) -> None:
    with (
        closing(Forgetful(tmp_path / "a.db")) as one,
        closing(Forgetful(tmp_path / "a.db")) as other,
        pytest.raises(StateError, match="BF516"),
    ):
        probe(one, other)


@pytest.mark.usefixtures("in_environment")
def test_a_state_is_made_looked_at_locked_and_unlocked(project: ProjectFiles, state_url: str) -> None:
    project.write_project(state=IN_ENVIRONMENT)
    for _ in range(2):
        made = project.cli("state", "init")
        assert made.exit_code == 0, made.stderr
    assert project.cli("state", "doctor").stdout.endswith("Nothing is wrong.\n")
    with closing(open_state(state_url)) as state:
        state.take_lease("submit", "submitting", Holder("runner:7:1", "ci@runner", "https://ci.example/7"), 60)
    assert "submit: ci@runner (process 7), https://ci.example/7 since" in project.cli("state", "locks").stdout
    held = project.cli("run", "--lock-timeout", "0s")
    assert (held.exit_code, "BF513" in held.stderr) == (4, True)
    assert "--yes takes it away" in project.cli("state", "unlock", "submit").stdout
    assert project.cli("state", "unlock", "submit", "--yes").exit_code == 0
    assert project.cli("state", "locks").stdout == "Nobody is at work.\n"
    assert project.cli("state", "show").exit_code == 0
    assert project.cli("run").exit_code == 0
    assert len(project.cli("state", "export").stdout.splitlines()) == 3
    assert project.cli("state", "prune", "--older-than", "1d").exit_code == 0


def test_what_does_not_fit_together_is_found(project: ProjectFiles) -> None:
    project.run()
    with closing(SqliteState(state_file(project))) as state:
        state.change(("DELETE FROM messages", ()))
        assert list(find_problems(state)) == ["3 results have lost their message"]
    assert project.cli("state", "doctor").exit_code == 1
