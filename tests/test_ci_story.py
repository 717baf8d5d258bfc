"""From a branch to its outputs: reviewed, gated, merged, submitted as reviewed, collected by another machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from batchforge.ci.sticky import Marker
from tests.action_runner import ActionRunner, StepResult, pull_request
from tests.conftest import StartEmulator
from tests.forge_server import ForgeServer, forge_server
from tests.git_repository import run_git
from tests.reviewing import ReviewedProject


class Story:
    """A repository, its forge, and runners that each begin with a new clone; state and API are what they share."""

    def __init__(self, root: Path, forge: ForgeServer, start_emulator: StartEmulator) -> None:
        self.emulator = start_emulator(processing_time_s=4.0)
        self.machines, self.origin, self.forge = root / "machines", root / "origin.git", forge
        self.work = ReviewedProject(self.machines / "work", self.emulator)
        settings = yaml.safe_load(self.work.path("batchforge.yml").read_text())
        settings["targets"]["api"]["state"] = f"sqlite:///{root}/shared.db"
        self.work.edit_project(targets=settings["targets"], review={"fail_on": {"rows_rerun": 3}})
        self.work.repo.commit("a state that is shared")

    def runner(self, name: str, revision: str) -> ActionRunner:
        clone = self.machines / name
        self.work.repo.clone(clone)
        run_git(clone, "checkout", "-q", revision)
        return ActionRunner(clone, self.forge, self.machines / f"{name}-runner")

    def push(self, run: int) -> StepResult:
        head = self.work.repo.commit(f"push {run}")
        return self.runner(f"review-{run}", head).run("pull_request", pull_request(5, head), run=run, command="diff")

    def machines_vanish(self) -> None:
        """With all that runners and the author have ever had; the repository, the state and the API are left."""
        run_git(self.origin.parent, "clone", "-q", "--bare", str(self.work.root), str(self.origin))
        shutil.rmtree(self.machines)
        self.work.repo.root = self.origin

    def squash(self) -> str:
        git = self.work.repo.git
        git("checkout", "-q", "main")
        git("merge", "-q", "--squash", "change")
        merged = self.work.repo.commit("squashed")
        self.forge.merged[merged] = 5
        return merged


def test_what_was_reviewed_is_what_runs(tmp_path: Path, start_emulator: StartEmulator) -> None:
    with forge_server() as forge:
        story = Story(tmp_path, forge, start_emulator)
        work = story.work
        work.repo.git("checkout", "-q", "-b", "change")
        work.replace("prompts/about.md.j2", "Say", "Tell")
        first = story.push(1)
        assert first.exit_code == 0, first.log
        work.write_rows([f"Text {number}." for number in range(5)])
        work.replace("prompts/about.md.j2", "Tell", "Report")
        work.replace("batchforge.yml", "rows_rerun: 3", "rows_rerun: 2")
        tripped = story.push(2)
        assert tripped.exit_code == 5, tripped.log
        work.replace("batchforge.yml", "rows_rerun: 2", "rows_rerun: 3")
        approved = story.push(3)
        assert approved.exit_code == 0, approved.log
        (body,) = forge.own()
        marker = Marker.of(body)
        assert marker is not None
        assert marker.plan_hash == approved.outputs["plan-hash"] != first.outputs["plan-hash"]

        merged = story.squash()
        submitted = story.runner("submit", merged).run("push", {}, sha=merged, run=4, command="submit")
        assert submitted.exit_code == 0, submitted.log
        assert (submitted.outputs["pending"], submitted.outputs["rows"]) == ("true", "5")

        story.machines_vanish()
        elsewhere = story.runner("collect", merged)
        assert not elsewhere.folder.joinpath(".batchforge").exists()
        assert not elsewhere.folder.joinpath("target").exists()
        collected = _until_collected(elsewhere)
        rows = [json.loads(line) for line in (elsewhere.folder / "outputs/answers.jsonl").read_text().splitlines()]
        assert len(rows) == 5
        assert story.emulator.counters().batches_created == 1
        assert 0 < float(collected.outputs["cost"]) <= float(approved.outputs["cost-at-most"])
        results = json.loads((elsewhere.folder / "target/run_results.json").read_text())
        assert results["run_id"] == collected.outputs["run-id"]
        again = story.runner("again", merged).run("push", {}, sha=merged, run=5, command="submit")
        assert (again.exit_code, again.outputs["rows"]) == (0, "0")


def test_more_than_was_reviewed_is_refused_and_said(tmp_path: Path, start_emulator: StartEmulator) -> None:
    with forge_server() as forge:
        story = Story(tmp_path, forge, start_emulator)
        story.work.repo.git("checkout", "-q", "-b", "change")
        story.work.replace("prompts/about.md.j2", "Say", "Tell")
        story.push(1)
        merged = story.squash()
        story.work.write_rows([f"Unseen {number}." for number in range(4)])
        later = story.work.repo.commit("rows that nobody reviewed")
        forge.merged[later] = 5
        refused = story.runner("submit", later).run("push", {}, sha=later, command="submit")
        assert refused.exit_code == 5, refused.log
        assert "BF807 about: 4 requests are not in the plan" in refused.log
        assert story.emulator.counters().batches_created == 0
        forge.artifacts = {name: data.replace(b"plan", b"plot") for name, data in forge.artifacts.items()}
        gone = story.runner("gone", merged).run("push", {}, sha=merged, command="submit")
        assert gone.exit_code == 2
        assert "BF961" in gone.log
        forge.artifacts, forge.artifact_source = {}, 2
        assert story.runner("none", merged).run("push", {}, sha=merged, command="submit").exit_code == 2


def _until_collected(runner: ActionRunner) -> StepResult:
    event: dict[str, Any] = {"schedule": "17 * * * *"}
    for _ in range(20):
        ended = runner.run("schedule", event, command="collect")
        assert ended.exit_code == 0, ended.log
        if ended.outputs["pending"] == "false":
            break
    return ended
