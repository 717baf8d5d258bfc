"""Which jobs and rows a change asks anew, in every kind of history and clone that reviewers and runners have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import BatchForgeError
from batchforge.review.diff_values import ProjectDiff
from tests.git_repository import GitRepository, run_git
from tests.reviewing import ReviewedProject

Found = dict[str, tuple[str, int, int]]


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    """Two jobs on main; on `change` the prompt of one is edited, while main gets a row that the branch lacks."""
    project = ReviewedProject(tmp_path / "repo")
    quiet = {"system": "Count the words.", "output": {"file": "outputs/quiet.jsonl"}}
    project.write_job("quiet", max_tokens=None, description="How many words.", **quiet)
    project.repo.commit("a second job")
    git = project.repo.git
    git("checkout", "-q", "-b", "change")
    project.replace("prompts/about.md.j2", "Say", "Tell")
    project.repo.commit("an edit")
    git("checkout", "-q", "main")
    project.write_rows(["A red bicycle.", "A blue boat.", "A green train.", "A kite."])
    project.repo.commit("meanwhile, a row")
    git("checkout", "-q", "change")
    return project


def clone_of(project: ReviewedProject, folder: Path, *options: str) -> Path:
    """As from a forge, whose main branch is main."""
    project.repo.git("checkout", "-q", "main")
    return project.repo.clone(folder, *options)


def found(diff: ProjectDiff) -> Found:
    """Job -> what became of it, rows that ask something else, new rows."""
    return {
        job.job: (job.status.value, job.rows.changed if job.rows else 0, job.rows.new if job.rows else 0)
        for job in diff.jobs
    }


def at(folder: Path, **options: Any) -> Found:
    """The same in another clone."""
    elsewhere = ReviewedProject.__new__(ReviewedProject)
    elsewhere.root = folder
    return found(elsewhere.review(**options))


THE_EDIT: Found = {"about": ("modified", 3, 0), "quiet": ("unchanged", 0, 0)}


def test_a_branch_is_held_against_where_it_left_main(project: ReviewedProject) -> None:
    assert found(project.review()) == THE_EDIT


def test_what_is_not_committed_counts_and_a_named_head_leaves_it_out(project: ReviewedProject) -> None:
    project.write_job("quiet", max_tokens=None, system="Count the words and the lines.",
                      output={"file": "outputs/quiet.jsonl"})  # fmt: skip
    assert found(project.review()) == {"about": ("modified", 3, 0), "quiet": ("modified", 3, 0)}
    assert found(project.review(head="HEAD")) == THE_EDIT


def test_main_that_was_merged_into_the_branch_is_not_the_changes_doing(project: ReviewedProject) -> None:
    project.repo.git("merge", "-q", "--no-edit", "main")
    assert found(project.review()) == {"about": ("modified", 4, 0), "quiet": ("unchanged", 0, 0)}


def test_a_merge_commit_and_a_squash_hold_the_edit_alone(project: ReviewedProject) -> None:
    git, merged = project.repo.git, {"about": ("modified", 4, 0), "quiet": ("unchanged", 0, 0)}
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "--no-edit", "change")
    assert found(project.review(base="HEAD^1")) == merged
    git("reset", "-q", "--hard", "HEAD^1")
    git("merge", "-q", "--squash", "change")
    project.repo.commit("squashed")
    assert found(project.review(base="HEAD~1")) == merged
    assert found(project.review(base="main", head="change")) == THE_EDIT


def test_a_pull_requests_merge_commit_is_enough_in_a_clone_of_depth_one(
    project: ReviewedProject, tmp_path: Path
) -> None:
    project.repo.git("checkout", "-q", "--detach", "main")
    project.repo.git("merge", "-q", "--no-ff", "--no-edit", "change")
    project.repo.git("branch", "pull", "HEAD")
    clone = clone_of(project, tmp_path / "clone", "--depth", "1", "--branch", "pull")
    run_git(clone, "fetch", "-q", "--depth", "1", "origin", "main:refs/remotes/origin/main")
    assert at(clone) == {"about": ("modified", 4, 0), "quiet": ("unchanged", 0, 0)}


def test_a_history_that_ends_too_early_says_how_to_get_the_rest(project: ReviewedProject, tmp_path: Path) -> None:
    clone = clone_of(project, tmp_path / "clone", "--depth", "1", "--no-single-branch", "--branch", "change")
    with pytest.raises(BatchForgeError, match="BF173") as error:
        at(clone)
    assert "fetch-depth: 0" in error.value.problems[0].hint
    run_git(clone, "fetch", "-q", "--unshallow")
    assert at(clone) == THE_EDIT


def test_a_clone_without_older_files_fetches_them_or_says_which_is_missing(
    project: ReviewedProject, tmp_path: Path
) -> None:
    project.repo.git("config", "uploadpack.allowFilter", "true")
    clone = clone_of(project, tmp_path / "clone", "--filter=blob:none", "--branch", "change")
    assert at(clone) == THE_EDIT
    run_git(clone, "remote", "set-url", "origin", str(tmp_path / "gone"))
    offline = clone_of(project, tmp_path / "offline", "--filter=blob:none", "--branch", "change")
    run_git(offline, "remote", "set-url", "origin", str(tmp_path / "gone"))
    with pytest.raises(BatchForgeError, match="BF174"):
        at(offline)


def test_renamed_jobs_files_and_folders_ask_nothing_anew(project: ReviewedProject) -> None:
    git = project.repo.git
    git("checkout", "-q", "main")
    git("checkout", "-q", "-b", "tidy")
    git("mv", "jobs/quiet.yml", "jobs/words.yml")
    git("mv", "prompts/about.md.j2", "prompts/summary.md.j2")
    project.replace("jobs/about.yml", "about.md.j2", "summary.md.j2")
    project.repo.commit("tidy")
    diff = project.review()
    assert {job.job: job.status.value for job in diff.jobs} == {"about": "unchanged", "words": "renamed"}
    assert diff.asking_jobs == []


def test_a_project_in_a_submodule_is_compared_in_its_own_history(project: ReviewedProject, tmp_path: Path) -> None:
    project.repo.git("checkout", "-q", "main")
    outer = GitRepository(tmp_path / "outer", {"README.md": "outer"})
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(project.root), "llm")
    outer.commit("with a project")
    inner = outer.root / "llm"
    run_git(inner, "checkout", "-q", "change")
    assert at(inner) == THE_EDIT
    run_git(inner, "remote", "remove", "origin")
    run_git(inner, "branch", "-q", "-D", *(name for name in ("main",) if run_git(inner, "branch", "--list", name)))
    with pytest.raises(BatchForgeError, match="in this submodule"):
        at(inner)


def test_without_a_base_and_outside_of_git_it_says_so(project: ReviewedProject) -> None:
    project.repo.git("branch", "-m", "main", "trunk")
    with pytest.raises(BatchForgeError, match="BF171"):
        project.review()
    assert found(project.review(base="trunk")) == THE_EDIT
    project.repo.git("checkout", "-q", "--orphan", "fresh")
    project.repo.commit("another beginning")
    with pytest.raises(BatchForgeError, match="BF173"):
        project.review(base="trunk")
    shutil.rmtree(project.path(".git"))
    with pytest.raises(BatchForgeError, match="BF170"):
        project.review()
