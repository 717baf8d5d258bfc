"""`delete_remote: after_collect`: batches go from the API once their results are stored; no failure fails a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault, FaultKind
from batchforge.errors import ProjectError
from batchforge.events import EventName
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator


def deletions(emulator: EmulatorServer) -> int:
    return sum(request.method == "DELETE" for request in emulator.received())


@pytest.fixture
def deleting(tmp_path: Path, emulator: EmulatorServer) -> ProjectFiles:
    return ProjectFiles(tmp_path / "project", emulator, delete_remote="after_collect")


def warnings(project: ProjectFiles) -> list[str]:
    return [event.message for event in project.events if event.name is EventName.WARNING]


def test_a_batch_is_deleted_once_its_results_are_stored(deleting: ProjectFiles, emulator: EmulatorServer) -> None:
    assert deleting.run().status == "ok"
    assert deletions(emulator) > 0
    with deleting.state() as state:
        assert state.undeleted_batches("api") == []
    assert len(deleting.rows_of()) == 3


def test_a_second_run_deletes_nothing_again(deleting: ProjectFiles, emulator: EmulatorServer) -> None:
    deleting.run()
    before = deletions(emulator)
    assert deleting.run().jobs[0].requests_sent == 0
    assert deletions(emulator) == before


def test_without_the_setting_batches_are_left_alone(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    assert deletions(emulator) == 0


def test_turning_it_on_deletes_earlier_batches_too(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    project.write_project(delete_remote="after_collect")
    project.run()
    assert deletions(emulator) > 0


def test_a_batch_in_flight_is_not_deleted(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(processing_time_s=0.5)
    project = ProjectFiles(tmp_path / "slow", emulator, delete_remote="after_collect")
    project.run(wait=False)
    assert deletions(emulator) == 0
    assert project.collect().status == "ok"
    assert deletions(emulator) > 0


@pytest.mark.parametrize("kind", ["status", "lose_request", "lose_answer"])
def test_a_failed_deletion_fails_no_run_and_is_made_up_for_by_the_next(
    deleting: ProjectFiles, emulator: EmulatorServer, kind: FaultKind
) -> None:
    emulator.faults.add(Fault(kind=kind, on="batches.delete"))
    assert deleting.run().status == "ok"
    assert warnings(deleting)[0].startswith("BF619 batch msgbatch_")
    assert [message.partition(":")[0].endswith("the next run tries again") for message in warnings(deleting)] == [True]
    with deleting.state() as state:
        assert state.undeleted_batches("api")
    deleting.run()
    with deleting.state() as state:
        assert state.undeleted_batches("api") == []
    assert len(warnings(deleting)) == 1


def test_only_never_and_after_collect_can_be_said(deleting: ProjectFiles) -> None:
    deleting.write_project(delete_remote="at_once")
    with pytest.raises(ProjectError, match="after_collect"):
        deleting.run()
