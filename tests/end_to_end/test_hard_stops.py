"""What ends a run that waiting does not mend: each says its code, what is kept, and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from batchforge.emulator.scenario import Fault
from batchforge.errors import BatchForgeError
from batchforge.state.schema import APPLICATION_ID
from batchforge.state.sqlite import SqliteState
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator


def code_of(project: ProjectFiles) -> str:
    with pytest.raises(BatchForgeError) as raised:
        project.run()
    assert raised.value.problems[0].hint
    return raised.value.problems[0].code


def test_a_batch_that_is_not_accepted_in_many_tries(start_emulator: StartEmulator, tmp_path: Path) -> None:
    busy = Fault(
        kind="status", on="batches.create", status=429, error_type="rate_limit_error", retry_after_s=0, times=None
    )
    assert code_of(ProjectFiles(tmp_path / "p", start_emulator(faults=(busy,)))) == "BF603"


def test_results_that_can_never_be_read(start_emulator: StartEmulator, tmp_path: Path) -> None:
    down = Fault(kind="status", on="batches.results", status=529, error_type="overloaded_error", times=None)
    assert code_of(ProjectFiles(tmp_path / "p", start_emulator(faults=(down,)))) == "BF605"


def test_a_batch_whose_fate_only_a_person_can_decide(start_emulator: StartEmulator, tmp_path: Path) -> None:
    lost = Fault(kind="lose_request", on="batches.create")
    settings = {"timeout_s": 0.9, "settle_after_s": 1.0, "on_uncertain": "ask"}
    project = ProjectFiles(tmp_path / "p", start_emulator(faults=(lost,)), **settings)
    project.write_job(batch={"max_requests": 1})
    assert code_of(project) == "BF606"


def test_results_that_lie_on_another_host(start_emulator: StartEmulator, tmp_path: Path) -> None:
    """A gateway that does not rewrite results_url: the emulator names the host that it was called by."""
    headers = {"Host": "elsewhere.example"}
    assert code_of(ProjectFiles(tmp_path / "p", start_emulator(), headers=headers)) == "BF602"


def test_a_state_of_a_newer_version(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.write(".batchforge/state-emulator-local.db", b"")
    database = sqlite3.connect(project.path(".batchforge/state-emulator-local.db"))
    database.executescript(f"CREATE TABLE t (a); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99")
    database.close()
    assert code_of(project) == "BF501"


def test_a_state_without_room_to_grow(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    list(state.query("PRAGMA max_page_count = 1"))
    with pytest.raises(BatchForgeError) as raised:
        state.change(("CREATE TABLE large AS SELECT zeroblob(10000000) AS body", ()))
    state.close()
    assert raised.value.problems[0].code == "BF504"
