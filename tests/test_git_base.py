"""What a change is compared with: the merge base, in every kind of history and clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.errors import BatchForgeError
from batchforge.review.git_base import Revision, find_base, find_head
from batchforge.review.git_objects import Repository
from tests.git_repository import GitRepository, run_git

FILES: dict[str, str | bytes] = {"a.txt": "one\n"}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repo", FILES)


def base_of(folder: Path, name: str | None = None, head: str | None = None, **environment: str) -> Revision:
    with Repository(folder) as repository:
        return find_base(repository, find_head(repository, head), name, environment)


def code_of(folder: Path, name: str | None = None, head: str | None = None) -> str:
    with pytest.raises(BatchForgeError) as error:
        base_of(folder, name, head)
    return error.value.problems[0].code


def test_a_branch_is_compared_with_where_it_left_main(repo: GitRepository) -> None:
    fork = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("on the branch", {"a.txt": "two\n"})
    repo.git("checkout", "-q", "main")
    repo.commit("on main", {"b.txt": "b\n"})
    repo.git("checkout", "-q", "edit")
    assert base_of(repo.root) == Revision("main", fork)


def test_after_main_was_merged_in_the_base_is_the_merged_commit(repo: GitRepository) -> None:
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("on the branch", {"a.txt": "two\n"})
    repo.git("checkout", "-q", "main")
    tip = repo.commit("on main", {"b.txt": "b\n"})
    repo.git("checkout", "-q", "edit")
    repo.git("merge", "-q", "--no-edit", "main")
    assert base_of(repo.root).commit == tip


def test_on_main_itself_the_uncommitted_changes_are_what_is_new(repo: GitRepository) -> None:
    (repo.root / "a.txt").write_text("changed\n")
    with Repository(repo.root) as repository:
        head = find_head(repository, None)
    assert head.is_dirty
    assert base_of(repo.root).commit == head.commit


def test_a_squash_merge_leaves_the_branch_its_old_base(repo: GitRepository) -> None:
    fork = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("one", {"a.txt": "two\n"})
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--squash", "edit")
    squashed = repo.commit("squashed")
    assert base_of(repo.root, "main", "edit").commit == fork
    assert base_of(repo.root, "HEAD~1").commit == fork
    assert base_of(repo.root).commit == squashed


def test_the_remote_main_branch_comes_before_a_stale_local_one(repo: GitRepository, tmp_path: Path) -> None:
    clone = repo.clone(tmp_path / "clone")
    tip = repo.commit("later", {"b.txt": "b\n"})
    run_git(clone, "fetch", "-q")
    run_git(clone, "checkout", "-q", "-b", "edit", "origin/main")
    assert base_of(clone) == Revision("origin/HEAD", tip)


def test_a_runner_says_which_branch_the_change_is_meant_for(repo: GitRepository, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "-b", "release")
    release = repo.commit("released", {"r.txt": "r\n"})
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("edit", {"a.txt": "two\n"})
    clone = repo.clone(tmp_path / "clone")
    assert base_of(clone, GITHUB_BASE_REF="release") == Revision("origin/release", release)
    assert base_of(clone, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="release").commit == release


def test_a_shallow_clone_says_that_its_history_ends_too_early(repo: GitRepository, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("one", {"a.txt": "two\n"})
    repo.commit("two", {"a.txt": "three\n"})
    clone = repo.clone(tmp_path / "clone", "--depth", "1", "--no-single-branch")
    assert code_of(clone, "origin/main") == "BF173"
    run_git(clone, "fetch", "-q", "--unshallow")
    assert base_of(clone, "origin/main").commit == repo.git("rev-parse", "main")


def test_the_merge_commit_of_a_pull_request_tells_its_base_in_a_clone_of_depth_one(
    repo: GitRepository, tmp_path: Path
) -> None:
    repo.git("checkout", "-q", "-b", "edit")
    repo.commit("one", {"a.txt": "two\n"})
    repo.git("checkout", "-q", "main")
    tip = repo.commit("meanwhile", {"b.txt": "b\n"})
    repo.git("checkout", "-q", "--detach")
    repo.git("merge", "-q", "--no-ff", "--no-edit", "edit")
    repo.git("branch", "pull", "HEAD")
    clone = repo.clone(tmp_path / "clone", "--depth", "1", "--branch", "pull")
    run_git(clone, "fetch", "-q", "--depth", "1", "origin", "main:refs/remotes/origin/main")
    assert base_of(clone, "origin/main").commit == tip


def test_without_a_branch_to_compare_with_it_says_what_it_looked_for(repo: GitRepository) -> None:
    repo.git("branch", "-m", "trunk")
    with pytest.raises(BatchForgeError, match="looked for main, master") as error:
        base_of(repo.root)
    assert error.value.problems[0].code == "BF171"
    assert base_of(repo.root, "trunk").commit


def test_a_name_that_means_nothing_is_refused(repo: GitRepository) -> None:
    assert code_of(repo.root, "mian") == "BF172"
    assert code_of(repo.root, "--help") == "BF172"
    assert code_of(repo.root, head="gone") == "BF172"


def test_histories_that_do_not_meet_are_told(repo: GitRepository) -> None:
    repo.git("checkout", "-q", "--orphan", "other")
    repo.commit("another beginning", {"c.txt": "c\n"})
    assert code_of(repo.root, "main") == "BF173"


def test_outside_of_git_and_before_the_first_commit_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert code_of(tmp_path) == "BF170"
    run_git(tmp_path, "init", "-q")
    assert code_of(tmp_path) == "BF171"
