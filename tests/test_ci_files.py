"""Workflow files of `init --ci`: whole, pinned, without inputs in a shell, and filled in from the project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchforge.cli import COMMANDS, run_command
from batchforge.commands import ci
from tests.action_runner import ACTION
from tests.builders import TREE
from tests.git_repository import GitRepository, run_git
from tests.project_files import FILES, write_files

GITHUB = sorted((TREE / "projects/ci/github").glob("*.yml"))
ROWS = {"data/tickets.tsv": "id\ttext\n1\tx\n"}


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_a_workflow_calls_what_is_there_and_pins_what_is_not_ours(path: Path) -> None:
    for step in steps(path):
        name, _, ref = step["uses"].partition("@")
        if name == "batchforge/batchforge":
            assert step["with"].keys() <= ACTION["inputs"].keys()
            assert step["with"]["command"] in ci._COMMANDS
        else:
            assert re.fullmatch("[0-9a-f]{40}", ref)
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"]
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in path.read_text()


def test_only_workflows_that_need_it_see_the_key() -> None:
    with_key = {path.stem for path in GITHUB if "ANTHROPIC_API_KEY" in path.read_text()}
    assert with_key == {"batchforge-submit", "batchforge-collect"}
    comment = yaml.safe_load((TREE / "projects/ci/github/batchforge-comment.yml").read_text())
    assert not [step for step in comment["jobs"]["comment"]["steps"] if "checkout" in step["uses"]]


def broken_rules(schema: str, *paths: Path) -> str:
    """What the published schema of a forge objects to; empty for nothing."""
    more = ["--data-transform", "gitlab-ci"] if schema == "gitlab-ci" else []
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        *more,
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_workflows_pipeline_and_action_are_as_the_published_schemas_say(tmp_path: Path) -> None:
    assert broken_rules("github-workflows", *GITHUB) == ""
    assert broken_rules("github-actions", TREE / "action.yml") == ""
    assert broken_rules("gitlab-ci", TREE / "projects/ci/gitlab/batchforge.gitlab-ci.yml") == ""
    spoilt = tmp_path / "spoilt.yml"
    spoilt.write_text(GITHUB[0].read_text().replace("runs-on:", "run-on:"))
    assert "run-on" in broken_rules("github-workflows", spoilt)


@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_init_ci_finds_out_what_it_can_and_overwrites_nothing(forge: str, tmp_path: Path) -> None:
    target = "  local: {type: emulator}\n"
    project = str(FILES["batchforge.yml"]).replace(target, f"{target}  live: {{type: claude}}\n")
    files = {**FILES, **ROWS, "batchforge.yml": project}
    repo = GitRepository(tmp_path, {f"data jobs/{name}": text for name, text in files.items()})
    run_git(tmp_path, "branch", "-m", "main", "trunk")
    words = ["init", str(repo.root / "data jobs"), "--ci", forge]
    assert run_command(words) == 0
    text = "".join(
        path.read_text() for path in tmp_path.rglob("*.yml") if "batchforge-" in path.name or forge == "gitlab"
    )
    assert "live" in text
    assert '"data jobs"' in text
    assert "./data jobs/target/ci" in text
    if forge == "github":
        assert "branches: [trunk]" in text
        written = sorted((tmp_path / ".github/workflows").iterdir())
        assert len(written) == len(GITHUB)
        assert broken_rules("github-workflows", *written) == ""
    else:
        assert broken_rules("gitlab-ci", tmp_path / "batchforge.gitlab-ci.yml") == ""
    assert run_command(words) == 2


def test_init_ci_takes_the_branch_that_the_remote_calls_its_main_one(tmp_path: Path) -> None:
    repo = GitRepository(tmp_path / "up", dict(FILES) | ROWS)
    run_git(repo.root, "branch", "-m", "main", "develop")
    run_git(repo.root, "branch", "master")
    run_git(tmp_path, "clone", "-q", str(repo.root), str(tmp_path / "clone"))
    assert run_command(["init", str(tmp_path / "clone"), "--ci", "github"]) == 0
    written = "".join(path.read_text() for path in (tmp_path / "clone/.github/workflows").iterdir())
    assert "branches: [develop]" in written


@pytest.mark.parametrize(
    ("state", "github", "gitlab"),
    [
        ("s3://team/tickets", "extras: object-store", "'batchforge[object-store]=="),
        ("postgresql://{{ env_var('LOGIN') }}@db.example/state", "extras: postgres", "'batchforge[postgres]=="),
        ("sqlite:////mnt/volume/state.db", "", " batchforge=="),
    ],
)
def test_what_a_shared_state_needs_is_installed(state: str, github: str, gitlab: str, tmp_path: Path) -> None:
    prod = f'  prod: {{type: claude, state: "{state}"}}\n'
    project = str(FILES["batchforge.yml"]).replace("targets:\n", f"targets:\n{prod}", 1)
    write_files(tmp_path, {**FILES, **ROWS, "batchforge.yml": project})
    run_git(tmp_path, "init", "-q", "-b", "main")
    for forge in ("github", "gitlab"):
        assert run_command(["init", str(tmp_path), "--ci", forge]) == 0
    written = sorted((tmp_path / ".github/workflows").iterdir())
    assert broken_rules("github-workflows", *written) == ""
    assert broken_rules("gitlab-ci", tmp_path / "batchforge.gitlab-ci.yml") == ""
    for path in written:
        assert ("extras:" in path.read_text()) == bool(github and "comment" not in path.name)
        assert github in path.read_text() or "comment" in path.name
    assert gitlab in (tmp_path / "batchforge.gitlab-ci.yml").read_text()


def test_init_ci_says_what_is_left_to_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = "  local: {type: emulator}\n"
    project = str(FILES["batchforge.yml"]).replace(target, f"{target}  live: {{type: claude}}\n")
    write_files(tmp_path, {**FILES, **ROWS, "batchforge.yml": project})
    for forge, words in (("github", "environment `batchforge`"), ("gitlab", "BATCHFORGE_GITLAB_TOKEN")):
        assert run_command(["init", str(tmp_path), "--ci", forge]) == 0
        said = capsys.readouterr().out
        assert words in said
        assert "give live a `state:` that runners share" in said


def test_hooks_of_pre_commit_call_commands_that_are_there() -> None:
    hooks = yaml.safe_load((TREE / ".pre-commit-hooks.yaml").read_text())
    for hook in hooks:
        assert hook["entry"].split()[1] in COMMANDS
        assert re.search(hook["files"], "sub/prompts/a.md.j2")
        assert hook["pass_filenames"] is False


def test_jobs_of_gitlab_call_steps_that_are_there() -> None:
    pipeline = yaml.safe_load((TREE / "projects/ci/gitlab/batchforge.gitlab-ci.yml").read_text())
    called = [line.split()[2] for job in pipeline.values() for line in job.get("script", []) if "batchforge ci" in line]
    assert called == ["diff", "submit", "collect"]
    reports = pipeline["batchforge-review"]["artifacts"]["reports"]
    assert reports["codequality"].endswith("target/ci/gl-code-quality-report.json")
