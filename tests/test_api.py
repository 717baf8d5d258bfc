"""BatchForge from Python: the values of the command line, errors as exceptions, and nothing printed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import batchforge
from batchforge import BatchForgeError, Project
from batchforge.emulator import EmulatorServer
from batchforge.events import Event, EventName
from batchforge.ledger.cost_text import cost_json
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


def test_plan_is_what_the_command_prints(project: ProjectFiles, emulator: EmulatorServer) -> None:
    opened = Project(project.root)
    planned = opened.plan(JOB_NAME, limit=2)
    assert planned == project.cli("plan", "--limit", "2", "--output", "json").json()
    assert planned["jobs"][JOB_NAME]["requests_to_send"] == 2
    assert emulator.counters().requests_accepted == 0
    opened.run()
    assert opened.plan()["jobs"][JOB_NAME]["requests_to_send"] == 0


def test_a_saved_plan_of_it_is_kept_to(project: ProjectFiles) -> None:
    project.write("plan.json", json.dumps(Project(project.root).plan(limit=2)))
    assert project.cli("run", "--plan", "plan.json").exit_code == 0
    assert Project(project.root).run().jobs[0].requests_sent == 1


def test_what_was_spent_is_what_the_command_prints(project: ProjectFiles, emulator: EmulatorServer) -> None:
    opened = Project(project.root)
    opened.run()
    report = opened.cost(by=["model"])
    assert cost_json(report) == project.cli("cost", "--by", "model", "--output", "json").json()
    assert cost_json(opened.cost(since=date(2100, 1, 1))) != cost_json(opened.cost())


def test_a_row_its_answers_and_its_run_can_be_looked_up(project: ProjectFiles) -> None:
    opened = Project(project.root)
    with pytest.raises(BatchForgeError, match="BF908"):
        opened.runs()
    run_id = opened.run().run_id
    row = opened.show(JOB_NAME, "1")
    assert row.answer is not None
    assert [each.first_run.run_id for each in opened.history(JOB_NAME, "1")] == [run_id]
    assert [facts.run.run_id for facts in opened.runs()] == [run_id]
    found = opened.find(run_id)
    assert found.run is not None
    with pytest.raises(BatchForgeError, match="BF940"):
        opened.find("msg_unknown")


def test_answers_of_a_lost_state_are_recovered(project: ProjectFiles) -> None:
    opened = Project(project.root)
    opened.run()
    for path in project.path(".batchforge").glob("state-*"):
        path.unlink()
    assert opened.recover().answers == 3
    assert opened.run().jobs[0].requests_sent == 0


def test_a_run_is_resumed_within_what_it_had_planned(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "project", start_emulator())
    project.write_rows([f"Text number {n}." for n in range(16)])
    project.write_job(canary=5)
    opened = Project(project.root)
    opened.run(wait=False)
    opened.collect(wait=True)
    assert opened.resume(JOB_NAME, yes=True).jobs[0].requests_sent == 11


def test_retry_asks_failed_rows_again(project: ProjectFiles) -> None:
    opened = Project(project.root)
    opened.run()
    assert opened.retry().jobs == []
    assert opened.retry(JOB_NAME).jobs[0].requests_sent == 0


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
