"""`--defer --state DIR|REF`: a branch reads production's answers of jobs that it does not run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from batchforge import Project
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator
from tests.git_repository import GitRepository
from tests.test_job_graph_runs import FIRST, chain, read_job


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """first -> second, run on `prod` and kept in `kept`; nothing was ever run on the default target."""
    made = chain(ProjectFiles(tmp_path / "p", start_emulator()))
    made.targets["prod"] = {**made.targets["api"], "outputs": "prod", "state": "sqlite:///prod.db"}
    write_settings(made, defer_to="prod")
    assert made.cli("run", "first", "--target", "prod").exit_code == 0
    made.path("kept").mkdir()
    shutil.copy(made.path("target/manifest.json"), made.path("kept"))
    return made


def write_settings(project: ProjectFiles, **settings: Any) -> None:
    project.write_project()
    written = json.loads(project.path("batchforge.yml").read_text())
    project.write("batchforge.yml", json.dumps(written | settings))


def sent(finished: Any) -> dict[str, int]:
    return {job["job"]: job["requests_sent"] for job in finished.json()["jobs"]}


def test_answers_of_the_manifests_target_serve_jobs_that_are_not_selected(project: ProjectFiles) -> None:
    assert "BF226" in project.cli("run", "second").stderr
    for words in (("run",), ("build",)):
        finished = project.cli(*words, "second", "--defer", "--state", "kept", "--output", "json")
        assert finished.exit_code == 0, finished.stderr
    assert [row["id"] for row in project.rows_of("outputs/second.jsonl")] == ["0", "1", "2"]
    assert not project.path("outputs/first.jsonl").exists()


def test_a_commits_jobs_say_how_the_answers_are_read(project: ProjectFiles) -> None:
    GitRepository(project.root)
    project.write_job("first", **{**FIRST, "output": {"text_column": "other"}})
    read_job(project, "third", "first", user="{{ row.answer }}")
    assert "BF301" in project.cli("run", "third").stderr
    assert sent(project.cli("run", "third", "--defer", "--state", "main", "--output", "json")) == {"third": 3}


def test_a_manifest_of_another_form_is_not_read_by_this_one(project: ProjectFiles) -> None:
    project.write_job("first", **{**FIRST, "output": {"text_column": "other"}})
    read_job(project, "second", "first", user="{{ row.other }}")
    refused = project.cli("run", "second", "--defer", "--state", "kept")
    assert refused.exit_code == 2
    assert "BF227 jobs/second.yml" in refused.stderr
    assert project.cli("run", "+second", "--defer", "--state", "kept").exit_code == 0


def test_own_answers_go_before_those_of_production(project: ProjectFiles) -> None:
    project.write_rows(["Only one."])
    assert project.cli("run", "first").exit_code == 0
    assert sent(project.cli("run", "second", "--defer", "--state", "kept", "--output", "json")) == {"second": 1}


def test_plan_render_and_try_read_them_too(project: ProjectFiles) -> None:
    deferred = ("--defer", "--state", "kept")
    planned = project.cli("plan", "second", *deferred, "--output", "json").json()
    assert planned["jobs"]["second"]["requests_to_send"] == 3
    assert project.cli("render", "second", *deferred).exit_code == 0
    assert project.cli("compile", "second", *deferred).exit_code == 0
    tried = project.cli("try", "second", "--limit", "1", *deferred, "--output", "json").json()
    assert [row["status"] for row in tried["rows"]] == ["answered"]
    assert sent(project.cli("run", "second", *deferred, "--output", "json")) == {"second": 2}


def test_a_saved_plan_and_a_resumed_run_read_the_same(project: ProjectFiles) -> None:
    project.cli("plan", "second", "--defer", "--state", "kept", "--out", "plan.json")
    shutil.rmtree(project.path("kept"))
    assert sent(project.cli("run", "--plan", "plan.json", "--no-wait", "--output", "json")) == {"second": 3}
    resumed = project.cli("resume", "--output", "json")
    assert resumed.exit_code == 0, resumed.stderr
    assert len(project.rows_of("outputs/second.jsonl")) == 3


def test_a_retry_reads_what_the_run_has_read(project: ProjectFiles) -> None:
    read_job(project, "second", "first", max_tokens=1)
    assert project.cli("run", "second", "--defer", "--state", "kept").exit_code == 1
    read_job(project, "second", "first", max_tokens=200)
    assert sent(project.cli("retry", "--output", "json")) == {"second": 3}


def test_collect_writes_what_a_deferred_run_has_submitted(project: ProjectFiles) -> None:
    assert project.cli("run", "second", "--defer", "--state", "kept", "--no-wait").exit_code == 3
    collected = project.cli("collect", "--wait")
    assert collected.exit_code == 0, collected.stdout
    assert len(project.rows_of("outputs/second.jsonl")) == 3


def test_a_diff_shows_what_a_change_does_to_productions_answers(project: ProjectFiles) -> None:
    GitRepository(project.root)
    read_job(project, "second", "first", user="Again: {{ row.answer }}")
    diff = project.cli("diff", "second", "--base", "main", "--defer", "--state", "main", "--output", "json").json()
    (second,) = diff["jobs"]
    assert (second["rows"]["changed"], second["basis"]) == (3, "rows")


def test_from_python(project: ProjectFiles) -> None:
    opened = Project(project.root)
    assert opened.plan("second", defer=True, state="kept")["jobs"]["second"]["requests_to_send"] == 3
    assert opened.run("second", defer=True, state="kept").jobs[0].requests_sent == 3


def test_what_to_defer_to_must_be_said_and_must_be_there(project: ProjectFiles) -> None:
    assert "BF922" in project.cli("run", "second", "--defer").stderr
    assert "BF922" in project.cli("run", "second", "--defer", "--state", "nowhere").stderr
    kept = json.loads(project.path("kept/manifest.json").read_text())
    project.write("kept/manifest.json", json.dumps(kept | {"target": "gone"}))
    assert "BF130" in project.cli("run", "second", "--defer", "--state", "kept").stderr
    write_settings(project, defer_to="pord")
    wrong = project.cli("parse").stderr
    assert "BF130 batchforge.yml" in wrong
    assert "Did you mean `prod`?" in wrong


def test_a_real_target_never_reads_an_emulators_answers(project: ProjectFiles) -> None:
    assert project.cli("run", "first", "--target", "local").exit_code == 0
    refused = project.cli("run", "second", "--defer", "--state", "target/manifest.json")
    assert refused.exit_code == 2
    assert "BF926" in refused.stderr
