"""Only what a change touches: `--select state:modified+ --defer` in the steps of a pipeline, as slim CI with dbt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchforge.ci.job_choice import JobChoice, with_state
from batchforge.ci.step_files import Step
from tests.action_runner import ActionRunner, StepResult, pull_request
from tests.conftest import StartEmulator
from tests.forge_server import GITLAB_TOKEN, ForgeServer, forge_server
from tests.git_repository import GitRepository
from tests.reviewing import ReviewedProject
from tests.test_job_graph_runs import chain, read_job

NONE: dict[str, Any] = {}
SLIM: dict[str, Any] = {"select": "state:modified+", "defer": "true"}


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    with forge_server() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ReviewedProject:
    """first -> second, run on `prod`; a branch edits the prompt of `second`, and has run nothing on its own target."""
    made = ReviewedProject(tmp_path / "p", start_emulator())
    chain(made)
    targets = {"api": made.targets["api"], "prod": {**made.targets["api"], "outputs": "prod"}}
    targets["prod"]["state"] = f"sqlite:///{tmp_path}/prod.db"
    made.edit_project(targets=targets, defer_to="prod")
    made.repo.commit("a chain")
    assert made.cli("run", "first", "--target", "prod").exit_code == 0
    made.repo.git("checkout", "-q", "-b", "change")
    read_job(made, "second", "first", user="Again: {{ row.answer }}")
    made.repo.commit("a change")
    return made


@pytest.fixture
def runner(project: ReviewedProject, forge: ForgeServer, tmp_path: Path) -> ActionRunner:
    return ActionRunner(project.root, forge, tmp_path / "runner")


def on_change(runner: ActionRunner, command: str, source: str = "o/r", **inputs: Any) -> StepResult:
    return runner.run("pull_request", pull_request(5, "h1", source), command=command, **inputs)


def test_a_plan_is_of_what_the_change_touches_and_reads_answers_of_production(
    runner: ActionRunner, forge: ForgeServer
) -> None:
    for state in ("", "main"):
        planned = on_change(runner, "plan", state=state, **SLIM)
        assert planned.exit_code == 0, planned.log
        assert planned.outputs["rows"] == "3"
        assert "`second`" in planned.summary
        assert "`other`" not in planned.summary
    alone = on_change(runner, "plan", select="state:modified+")
    assert alone.exit_code == 2
    assert "BF226" in alone.log


def test_a_review_carries_the_plan_of_what_was_chosen_and_the_merge_submits_it(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer
) -> None:
    reviewed = on_change(runner, "diff", **SLIM)
    assert reviewed.exit_code == 0, reviewed.log
    assert (reviewed.outputs["rows"], bool(reviewed.outputs["plan-hash"])) == ("3", True)
    (body,) = forge.own()
    assert "second" in body
    before = project.repo.git("rev-parse", "main")
    project.repo.git("checkout", "-q", "main")
    project.repo.git("merge", "-q", "--squash", "change")
    merged = project.repo.commit("squashed")
    forge.merged[merged] = 5
    submitted = runner.run("push", {"before": before}, sha=merged, command="submit", **SLIM)
    assert submitted.exit_code == 0, submitted.log
    assert submitted.outputs["rows"] == "3"
    collected = runner.run("schedule", {}, command="collect")
    assert collected.exit_code == 0, collected.log
    assert len(project.rows_of("outputs/second.jsonl")) == 3


def test_a_change_of_no_job_is_a_success_in_every_step(
    runner: ActionRunner, project: ReviewedProject, forge: ForgeServer
) -> None:
    project.repo.git("checkout", "-q", "main")
    project.repo.git("checkout", "-q", "-b", "words")
    project.write("README.md", "Only words.\n")
    project.repo.commit("words")
    for command in ("plan", "diff"):
        ended = on_change(runner, command, **SLIM)
        assert ended.exit_code == 0, ended.log
        assert (ended.outputs["rows"], ended.outputs["changed"]) == ("0", "false")
        assert ended.outputs["plan-hash"] == ""
    (body,) = forge.own()
    assert "Nothing is selected" in body
    pushed: dict[str, Any] = {"before": project.repo.git("rev-parse", "main")}
    for inputs in (NONE, {"plan": "none", "max_cost": "1"}):
        ended = runner.run("push", pushed, sha="c1", command="submit", **SLIM, **inputs)
        assert ended.exit_code == 0, ended.log
        assert (ended.outputs["rows"], ended.outputs["pending"]) == ("0", "false")


def test_a_push_of_what_nobody_reviewed_is_held_against_the_commit_before_it(
    runner: ActionRunner, project: ReviewedProject
) -> None:
    pushed = {"before": project.repo.git("rev-parse", "main")}
    refused = runner.run("push", pushed, sha="c1", command="submit", **SLIM)
    assert "BF961" in refused.log
    sent = runner.run("push", pushed, sha="c1", command="submit", plan="none", max_cost="1", **SLIM)
    assert sent.exit_code == 0, sent.log
    assert sent.outputs["rows"] == "3"


def test_jobs_can_be_left_out(runner: ActionRunner) -> None:
    ended = on_change(runner, "plan", exclude="second")
    assert ended.exit_code == 0, ended.log
    assert ended.outputs["rows"] == "6"


def test_a_fork_without_the_state_of_production_is_reviewed_and_fails_nothing(
    runner: ActionRunner, project: ReviewedProject
) -> None:
    prod = {
        **project.targets["api"],
        "outputs": "prod",
        "state": "postgresql://user:{{ env_var('SECRET') }}@127.0.0.1:1/db",
    }
    project.edit_project(targets={"api": project.targets["api"], "prod": prod})
    project.repo.commit("a state elsewhere")
    for env in (NONE, {"SECRET": "hunter2"}):
        for command in ("diff", "plan"):
            ended = runner.run(
                "pull_request", pull_request(5, "h1", "fork/r"), command=command, token="", env=env, **SLIM
            )
            assert ended.exit_code == 0, ended.log
            assert "the state could not be read" in ended.summary.lower()
            assert "hunter2" not in ended.log + ended.summary


def test_a_merge_request_is_compared_with_its_base_and_a_push_with_what_was_before(
    project: ReviewedProject, forge: ForgeServer, tmp_path: Path
) -> None:
    machine: dict[str, Any] = {
        "GITLAB_CI": "true", "CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "7", "CI_PIPELINE_ID": "3", "CI_JOB_ID": "31",
        "BATCHFORGE_GITLAB_TOKEN": GITLAB_TOKEN, "CI_COMMIT_SHA": "c1",
    }  # fmt: skip
    base = project.repo.git("rev-parse", "main")
    environments: list[dict[str, Any]] = [
        {"CI_MERGE_REQUEST_IID": "5", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"},
        {"CI_COMMIT_BEFORE_SHA": base},
    ]
    words = ("--select", "state:modified+", "--defer")
    for environment in environments:
        ended = project.cli("ci", "plan", *words, **machine, **environment)
        assert ended.exit_code == 0, ended.stdout + ended.stderr
        assert "BATCHFORGE_ROWS=3\n" in project.path("target/ci/outputs.env").read_text()
    new_branch = project.cli("ci", "plan", *words, **machine, CI_COMMIT_BEFORE_SHA="0" * 40)
    assert new_branch.exit_code == 2
    assert "BF922" in new_branch.stdout


def test_what_is_named_is_never_replaced_and_nothing_is_looked_up_that_is_not_needed(tmp_path: Path) -> None:
    GitRepository(tmp_path / "empty")
    step = Step({"GITHUB_ACTIONS": "true", "GITHUB_BASE_REF": "gone"}, tmp_path)
    for choice in (JobChoice(select="a"), JobChoice(select="state:new", state="kept"), JobChoice(exclude="tag:x")):
        assert with_state(step, tmp_path / "empty", choice, None) == choice
