"""Files -> marks by which it is seen later, mostly without reading them, whether their content is still the same."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchforge.source_tree import SourceTree

SETTLED_AFTER_NS = 2_000_000_000
"""A file can be written twice within one tick of its file system's clock, so a younger one is known by content only."""
_CHUNK_BYTES = 1 << 20


class FileMark(NamedTuple):
    path: str
    """Project-relative."""
    stat: tuple[int, int, int, int, int]
    """Device, inode, size, time of the last change of the content and of the inode, in ns."""
    is_settled: bool
    """Whether the last change lay far enough back for `stat` to tell the content."""
    sha256: str


def mark_files(tree: SourceTree, paths: Iterable[str]) -> list[FileMark]:
    """To be called before the files are read: what is read after it cannot be older than the mark."""
    return [_mark(tree, path) for path in paths]


def are_unchanged(marks: Sequence[FileMark], tree: SourceTree, paths: Sequence[str]) -> bool:
    """Whether these are the same files with the same content as when they were marked."""
    return [mark.path for mark in marks] == list(paths) and all(_is_unchanged(mark, tree) for mark in marks)


def _mark(tree: SourceTree, path: str) -> FileMark:
    stat = _stat(tree, path)
    is_settled = time.time_ns() - max(stat[3:]) > SETTLED_AFTER_NS
    return FileMark(path, stat, is_settled, _sha256(tree, path))


def _is_unchanged(mark: FileMark, tree: SourceTree) -> bool:
    if not tree.exists(mark.path):
        return False
    return (mark.is_settled and _stat(tree, mark.path) == mark.stat) or _sha256(tree, mark.path) == mark.sha256


def _stat(tree: SourceTree, path: str) -> tuple[int, int, int, int, int]:
    found = os.stat(tree.local_path(path))  # noqa: PTH116 - a link counts as what it leads to
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(tree: SourceTree, path: str) -> str:
    digest = hashlib.sha256()
    with tree.open_binary(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
