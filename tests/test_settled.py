"""What is settled is not looked at again, and anything that could change an answer unsettles it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from batchforge.file_marks import are_unchanged, mark_files
from batchforge.source_tree import SourceTree

LONG_AGO_S = 1_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    (tmp_path / "rows.csv").write_text("id,text\n1,one\n")
    return SourceTree(tmp_path)


def test_an_untouched_file_is_unchanged(tree: SourceTree) -> None:
    os.utime(tree.root / "rows.csv", (LONG_AGO_S, LONG_AGO_S))
    assert are_unchanged(mark_files(tree, ["rows.csv"]), tree, ["rows.csv"])


def test_a_file_with_the_same_size_and_time_but_other_content_has_changed(tree: SourceTree) -> None:
    marks, path = mark_files(tree, ["rows.csv"]), tree.root / "rows.csv"
    before = path.stat()
    path.write_text("id,text\n1,two\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not are_unchanged(marks, tree, ["rows.csv"])


def test_a_file_that_was_rewritten_with_the_same_content_is_unchanged(tree: SourceTree) -> None:
    marks, path = mark_files(tree, ["rows.csv"]), tree.root / "rows.csv"
    other = path.with_name("other.csv")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    assert are_unchanged(marks, tree, ["rows.csv"])


def test_a_young_file_is_known_by_its_content_only(tree: SourceTree) -> None:
    (mark,) = mark_files(tree, ["rows.csv"])
    assert not mark.is_settled
    assert time.time_ns() >= mark.stat[3]


def test_another_list_of_files_has_changed(tree: SourceTree) -> None:
    marks = mark_files(tree, ["rows.csv"])
    (tree.root / "more.csv").write_text("id,text\n2,two\n")
    assert not are_unchanged(marks, tree, ["more.csv", "rows.csv"])
    assert not are_unchanged(marks, tree, [])


def test_a_file_that_is_gone_has_changed(tree: SourceTree) -> None:
    marks = mark_files(tree, ["rows.csv"])
    (tree.root / "rows.csv").unlink()
    assert not are_unchanged(marks, tree, ["rows.csv"])
