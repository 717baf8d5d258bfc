"""Files come as they are, prompts with their line ends made equal, and nothing comes from outside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchforge.errors import ProjectError
from batchforge.source_tree import SourceTree
from tests.project_files import write_files


def code_of(error: pytest.ExceptionInfo[ProjectError]) -> str:
    return error.value.problems[0].code


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    files: dict[str, str | bytes] = {
        "a.md": b"\xef\xbb\xbfone\r\ntwo\rthree\n\n",
        "jobs/b.yml": "b",
        "jobs/x/c.yml": "c",
        "jobs/x/y/d.yml": "d",
        "jobs/x/e.yaml": "e",
        "jobs/.hidden.yml": "h",
        "jobs/.git/f.yml": "f",
        "data/[1].csv": "1",
    }
    return SourceTree(write_files(tmp_path / "project", files))


def test_text_has_plain_line_ends_and_no_byte_order_mark(tree: SourceTree) -> None:
    assert tree.read_text("a.md") == "one\ntwo\nthree\n\n"


def test_bytes_are_untouched(tree: SourceTree) -> None:
    assert tree.read_bytes("a.md") == b"\xef\xbb\xbfone\r\ntwo\rthree\n\n"
    with tree.open_binary("a.md") as file:
        assert file.read(3) == b"\xef\xbb\xbf"


def test_text_that_is_not_utf_8_is_refused_at_its_byte(tree: SourceTree) -> None:
    (tree.root / "latin.md").write_bytes("eins\nzwöi é".encode() + b" caf\xe9")
    with pytest.raises(ProjectError) as error:
        tree.read_text("latin.md")
    assert code_of(error) == "BF112"
    assert str(error.value.problems[0].location) == "latin.md:2:11"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("jobs/**/*.yml", ["jobs/b.yml", "jobs/x/c.yml", "jobs/x/y/d.yml"]),
        ("jobs/*.yml", ["jobs/b.yml"]),
        ("jobs/*/*.y*ml", ["jobs/x/c.yml", "jobs/x/e.yaml"]),
        ("**/d.yml", ["jobs/x/y/d.yml"]),
        ("**", ["a.md", "data/[1].csv", "jobs/b.yml", "jobs/x/c.yml", "jobs/x/e.yaml", "jobs/x/y/d.yml"]),
        ("jobs/**/y/*", ["jobs/x/y/d.yml"]),
        ("jobs/**/**/*.yml", ["jobs/b.yml", "jobs/x/c.yml", "jobs/x/y/d.yml"]),
        ("jobs/.*", ["jobs/.hidden.yml"]),
        ("jobs/[a-c].yml", ["jobs/b.yml"]),
        ("a.md", ["a.md"]),
        ("jobs", []),
        ("nothing/*", []),
        ("a.md/*", []),
    ],
)
def test_a_glob_finds_files_in_sorted_order(tree: SourceTree, pattern: str, found: list[str]) -> None:
    assert tree.glob(pattern) == found


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "jobs/../../secret", "~/secret", "C:/x", "jobs\\x", "", ".", "a\0b", "jobs/.."]
)
def test_a_path_that_leads_out_is_refused(tree: SourceTree, path: str) -> None:
    for read in (tree.read_text, tree.exists, tree.local_path, tree.glob):
        with pytest.raises(ProjectError) as error:
            read(path)
        assert code_of(error) == "BF122"


def test_dots_and_doubled_slashes_do_not_matter(tree: SourceTree) -> None:
    assert tree.read_text("./jobs//x/./c.yml") == "c"
    assert tree.glob("./jobs/x/*.yml") == ["jobs/x/c.yml"]


def test_a_symbolic_link_that_leads_out_is_refused(tree: SourceTree, tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text("s")
    (tmp_path / "project-2").mkdir()
    (tree.root / "jobs/link.yml").symlink_to(tmp_path / "secret.yml")
    (tree.root / "out").symlink_to(tmp_path / "project-2")
    for read in (tree.read_text, tree.exists, tree.local_path):
        for path in ("jobs/link.yml", "out/x", "out"):
            with pytest.raises(ProjectError) as error:
                read(path)
            assert code_of(error) == "BF123"
    with pytest.raises(ProjectError) as error:
        tree.glob("jobs/*.yml")
    assert code_of(error) == "BF123"


def test_a_symbolic_link_within_the_project_is_followed(tree: SourceTree) -> None:
    (tree.root / "jobs/link.yml").symlink_to("b.yml")
    (tree.root / "loop").symlink_to(".")
    assert tree.read_text("jobs/link.yml") == "b"
    assert tree.glob("jobs/*.yml") == ["jobs/b.yml", "jobs/link.yml"]
    assert "loop/a.md" not in tree.glob("**/*.md")


def test_a_project_below_a_symbolic_link_is_read(tree: SourceTree, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree.root)
    assert SourceTree(tmp_path / "alias").read_text("jobs/b.yml") == "b"


def test_a_missing_file_names_the_nearest_one(tree: SourceTree) -> None:
    with pytest.raises(ProjectError) as error:
        tree.read_text("jobs/x/c.yaml")
    assert code_of(error) == "BF121"
    assert error.value.problems[0].hint == "Did you mean `jobs/x/c.yml`?"


def test_a_folder_is_not_read_as_a_file(tree: SourceTree) -> None:
    with pytest.raises(ProjectError) as error:
        tree.read_text("jobs")
    assert code_of(error) == "BF124"
    assert not tree.exists("jobs")


def test_a_file_name_that_is_not_utf_8_is_refused(tree: SourceTree) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tree.root) + b"/jobs/caf\xe9.yml")).write_text("x")
    except OSError:
        return  # a file system that knows only UTF-8 cannot have such a name
    with pytest.raises(ProjectError) as error:
        tree.glob("jobs/*.yml")
    assert str(error.value) == "BF125 The name of `jobs/caf\\udce9.yml` is not UTF-8."
