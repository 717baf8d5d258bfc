"""Files of a commit are read as those of a folder are, and the folder is not touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from batchforge.errors import ProjectError
from batchforge.review.git_objects import Repository
from batchforge.review.git_tree import GitTree, RowsTree, find_moved_project
from batchforge.source_tree import SourceTree
from tests.git_repository import GitRepository
from tests.project_files import write_files

FILES: dict[str, str | bytes] = {
    "a.md": "one\n",
    "jobs/b.yml": "b",
    "jobs/x/c.yml": "c",
    "jobs/.hidden.yml": "h",
    "data/rows.csv": "id\n1\n",
    ".gitignore": "data/large*\n",
}


@contextmanager
def tree_of(root: Path, commit: str = "HEAD", prefix: str | None = None) -> Iterator[GitTree]:
    with Repository(root) as repository:
        found = repository.commit(commit)
        assert found is not None
        with closing(GitTree(root, repository, found, repository.prefix if prefix is None else prefix)) as tree:
            yield tree


@contextmanager
def rows_of(root: Path) -> Iterator[RowsTree]:
    with tree_of(root) as tree, Repository(root) as repository:
        yield RowsTree(tree, SourceTree(root), repository)


def test_a_commit_is_read_whatever_the_folder_holds_now(tmp_path: Path) -> None:
    repo = GitRepository(tmp_path, FILES)
    write_files(tmp_path, {"a.md": "two\n", "jobs/new.yml": "n"})
    (tmp_path / "jobs/b.yml").unlink()
    with tree_of(tmp_path) as tree:
        assert tree.read_text("a.md") == "one\n"
        assert tree.glob("jobs/**/*") == ["jobs/b.yml", "jobs/x/c.yml"]
        assert tree.glob("jobs/.*") == ["jobs/.hidden.yml"]
        assert tree.exists("jobs/b.yml")
        assert not tree.exists("jobs/new.yml")
        assert not tree.exists("jobs")
        copy = tree.local_path("data/rows.csv")
        assert copy.read_bytes() == b"id\n1\n"
        assert copy.name == "rows.csv"
    assert not copy.exists()
    assert repo.git("status", "--porcelain") == "M a.md\n D jobs/b.yml\n?? jobs/new.yml"


def test_a_project_in_a_folder_of_the_repository_sees_only_its_own_files(tmp_path: Path) -> None:
    GitRepository(tmp_path, {"llm/a.md": "inner", "a.md": "outer"})
    with tree_of(tmp_path / "llm") as tree:
        assert tree.read_text("a.md") == "inner"
        assert tree.glob("**") == ["a.md"]


def test_a_missing_file_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    GitRepository(tmp_path, FILES)
    with tree_of(tmp_path) as tree, pytest.raises(ProjectError) as error:
        tree.read_text("jobs/bb.yml")
    assert error.value.problems[0].code == "BF121"
    assert "jobs/b.yml" in error.value.problems[0].hint


def test_links_are_followed_inside_and_refused_outside(tmp_path: Path) -> None:
    repo = GitRepository(tmp_path, {"prompts/a.md": "a", "top.md": "t"})
    (tmp_path / "prompts/b.md").symlink_to("a.md")
    (tmp_path / "linked").symlink_to("prompts")
    (tmp_path / "out.md").symlink_to("../secret.md")
    (tmp_path / "round.md").symlink_to("round.md")
    repo.commit()
    with tree_of(tmp_path) as tree:
        assert tree.read_text("prompts/b.md") == "a"
        assert tree.read_text("linked/a.md") == "a"
        assert not tree.exists("round.md")
        with pytest.raises(ProjectError) as error:
            tree.read_text("out.md")
    assert error.value.problems[0].code == "BF123"


def test_files_of_a_submodule_are_read_at_the_commit_that_the_older_side_had(tmp_path: Path) -> None:
    library = GitRepository(tmp_path / "library", {"rules.md": "old rules"})
    repo = GitRepository(tmp_path / "repo", {"a.md": "a"})
    repo.git("submodule", "--quiet", "add", str(library.root), "prompts/common")
    repo.commit("with a submodule")
    submodule = GitRepository.__new__(GitRepository)
    submodule.root = repo.root / "prompts/common"
    submodule.commit("new rules", {"rules.md": "new rules"})
    repo.commit("submodule moved")
    with tree_of(repo.root, "HEAD~1") as tree:
        assert tree.read_text("prompts/common/rules.md") == "old rules"
    with tree_of(repo.root) as tree:
        assert tree.read_text("prompts/common/rules.md") == "new rules"
        assert tree.glob("prompts/**/*.md") == ["prompts/common/rules.md"]


def test_a_submodule_that_is_not_here_is_named(tmp_path: Path) -> None:
    library = GitRepository(tmp_path / "library", {"rules.md": "rules"})
    repo = GitRepository(tmp_path / "repo", {"a.md": "a"})
    repo.git("submodule", "--quiet", "add", str(library.root), "common")
    repo.commit()
    clone = repo.clone(tmp_path / "clone")
    with tree_of(clone) as tree, pytest.raises(ProjectError) as error:
        tree.read_text("common/rules.md")
    assert error.value.problems[0].code == "BF175"
    assert "common" in str(error.value)


def test_rows_that_git_does_not_hold_are_one_snapshot_for_both_sides(tmp_path: Path) -> None:
    GitRepository(tmp_path, FILES)
    write_files(tmp_path, {"data/rows.csv": "id\n2\n", "data/large.csv": "id\n3\n", "data/added.csv": "id\n4\n"})
    with rows_of(tmp_path) as rows:
        assert rows.local_path("data/rows.csv").read_text() == "id\n1\n"
        assert rows.local_path("data/large.csv") == tmp_path / "data/large.csv"
        assert rows.glob("data/*.csv") == ["data/large.csv", "data/rows.csv"]
        assert rows.glob("other/*.csv") == []


def test_a_pointer_of_large_file_storage_is_read_from_the_work_tree(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
    GitRepository(tmp_path, {"data/rows.csv": pointer})
    write_files(tmp_path, {"data/rows.csv": "id\n1\n"})
    with rows_of(tmp_path) as rows:
        assert rows.local_path("data/rows.csv").read_text() == "id\n1\n"


def test_an_object_that_a_partial_clone_lacks_is_told(tmp_path: Path) -> None:
    repo = GitRepository(tmp_path, FILES)
    with Repository(repo.root) as repository, pytest.raises(ProjectError) as error:
        repository.read("0" * 40)
    assert error.value.problems[0].code == "BF174"


def test_a_project_whose_folder_was_renamed_is_found(tmp_path: Path) -> None:
    repo = GitRepository(tmp_path, {"old/batchforge.yml": "name: a\n"})
    commit = repo.git("rev-parse", "HEAD")
    with Repository(repo.root) as repository:
        assert find_moved_project(repository, commit, "batchforge.yml", {"new"}) == "old"
        assert find_moved_project(repository, commit, "batchforge.yml", {"old"}) is None
