"""BatchForge from Python: the values of the command line, errors as exceptions, and nothing printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import batchforge
from batchforge import BatchForgeError, Project
from batchforge.emulator import EmulatorServer
from batchforge.events import Event, EventName
from tests.builders import JOB_NAME, OUTPUT, TREE, ProjectFiles
from tests.conftest import StartEmulator


def test_run_returns_what_the_command_prints(project: ProjectFiles, capfd: pytest.CaptureFixture[str]) -> None:
    summary = Project(project.root).run(JOB_NAME)
    assert capfd.readouterr() == ("", "")
    assert (summary.status, summary.exit_code, summary.jobs[0].requests_sent) == ("ok", 0, 3)
    printed = project.cli("run", "--output", "json").json()
    assert printed.keys() == summary.to_json().keys()
    assert printed["jobs"][0].keys() == summary.to_json()["jobs"][0].keys()


def test_without_names_all_enabled_jobs_run(project: ProjectFiles) -> None:
    project.write_job("other", output={"file": "outputs/other.jsonl"}, tags=["nightly"])
    project.write_job("off", output={"file": "outputs/off.jsonl"}, enabled=False)
    opened = Project(str(project.root))
    assert opened.jobs == [JOB_NAME, "other"]
    assert [job.job for job in opened.run().jobs] == [JOB_NAME, "other"]
    assert [job.job for job in opened.run(select=["tag:nightly"]).jobs] == ["other"]


def test_the_output_can_be_read_row_by_row(project: ProjectFiles) -> None:
    opened = Project(project.root)
    with pytest.raises(BatchForgeError, match="BF705"):
        opened.rows(JOB_NAME)
    opened.run(mode="sync")
    assert list(opened.rows(JOB_NAME)) == project.rows_of(OUTPUT)


def test_try_gives_the_rows_with_their_price(project: ProjectFiles, emulator: EmulatorServer) -> None:
    opened = Project(project.root)
    tried = opened.try_(JOB_NAME, limit=2)
    assert [row.status for row in tried.rows] == ["answered", "answered"]
    assert tried.cost_usd == pytest.approx(emulator.counters().billed_usd)
    assert [row.key for row in opened.try_(JOB_NAME, keys=["2"]).rows] == ["2"]
    assert opened.run().jobs[0].requests_sent == 0


def test_submit_now_and_collect_later(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "project", start_emulator(processing_time_s=0.3))
    opened = Project(project.root)
    assert opened.run(wait=False).status == "pending"
    in_flight = opened.status().in_flight
    assert [each.attempt.job for each in in_flight] == [JOB_NAME]
    assert opened.collect(wait=True).status == "ok"
    assert (list(opened.status().in_flight), opened.status().exit_code) == ([], 0)


def test_status_is_what_the_command_prints(project: ProjectFiles) -> None:
    opened = Project(project.root)
    assert opened.status().last_run is None
    opened.run()
    assert json.loads(json.dumps(opened.status().to_json())) == project.cli("status", "--output", "json").json()


def test_batches_in_flight_can_be_canceled(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "project", start_emulator(processing_time_s=60.0))
    opened = Project(project.root)
    opened.run(wait=False)
    assert len(opened.cancel()) == 1
    assert opened.collect(wait=True).status == "failed"


def test_retry_asks_failed_rows_again(project: ProjectFiles) -> None:
    opened = Project(project.root)
    opened.run()
    assert opened.retry().jobs[0].requests_sent == 0


def test_compile_returns_the_manifest(project: ProjectFiles) -> None:
    manifest = Project(project.root).compile()
    assert manifest["jobs"][JOB_NAME]["requests"] == 3
    assert json.loads(project.path("target/manifest.json").read_text()) == manifest


def test_what_happens_is_told_to_a_listener(project: ProjectFiles) -> None:
    events: list[Event] = []
    Project(project.root).run(listen=events.append)
    assert EventName.BATCH_SUBMITTED in {event.name for event in events}


def test_files_are_read_anew_by_each_call(project: ProjectFiles) -> None:
    opened = Project(project.root)
    opened.run()
    project.write_rows(["A red bicycle.", "A blue whale."])
    assert opened.run().jobs[0].requests_sent == 1


def test_errors_carry_code_place_and_hint(project: ProjectFiles) -> None:
    opened = Project(project.root)
    with pytest.raises(BatchForgeError) as caught:
        opened.run("abuot")
    (problem,) = caught.value.problems
    assert (problem.code, problem.hint) == ("BF903", f"Did you mean `{JOB_NAME}`?")
    project.write("jobs/broken.yml", "modle: x\n")
    with pytest.raises(BatchForgeError) as caught:
        opened.run()
    assert str(caught.value.problems[0].location).startswith("jobs/broken.yml:1")


def test_a_folder_without_a_project_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BatchForgeError, match="BF120"):
        Project(tmp_path)


def test_another_target_is_named_at_the_beginning(project: ProjectFiles) -> None:
    assert Project(project.root, target="local").run().is_emulated
    with pytest.raises(BatchForgeError, match="BF130"):
        Project(project.root, target="lcoal")


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, batchforge; print([name for name in sys.modules if name.startswith('batchforge.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=TREE, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_that_do_not_exist_are_refused() -> None:
    assert {"Project", "BatchForgeError"} <= set(dir(batchforge))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        batchforge.Nothing  # noqa: B018
