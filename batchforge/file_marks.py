"""Files -> marks by which it is seen later, mostly without reading them, whether their content is still the same."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from batchforge.source_tree import SourceTree

SETTLED_AFTER_NS = 2_000_000_000
"""A file can be written twice within one tick of its file system's clock, so a younger one is known by content only."""
LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
"""Where times and sizes are those of this machine. A file elsewhere (NFS, SMB, FUSE) is known by content only."""
_MOUNTS = Path("/proc/self/mountinfo")
_CHUNK_BYTES = 1 << 20


class FileMark(NamedTuple):
    path: str
    """Project-relative."""
    stat: tuple[int, int, int, int, int]
    """Device, inode, size, time of the last change of the content and of the inode, in ns."""
    is_settled: bool
    """Whether `stat` tells the content: the last change lay far enough back, on a disk of this machine."""
    sha256: str


def mark_files(tree: SourceTree, paths: Iterable[str]) -> list[FileMark]:
    """To be called before the files are read: what is read after it cannot be older than the mark."""
    return [_mark(tree, path) for path in paths]


def are_unchanged(marks: Sequence[FileMark], tree: SourceTree, paths: Sequence[str]) -> bool:
    """Whether these are the same files with the same content as when they were marked."""
    return [mark.path for mark in marks] == list(paths) and all(_is_unchanged(mark, tree) for mark in marks)


def _mark(tree: SourceTree, path: str) -> FileMark:
    stat = _stat(tree, path)
    is_old = time.time_ns() - max(stat[3:]) > SETTLED_AFTER_NS
    return FileMark(path, stat, is_old and is_on_local_disk(tree.local_path(path)), _sha256(tree, path))


def is_on_local_disk(path: Path, mounts: Path = _MOUNTS) -> bool:
    """By the mount that the file lies below (proc_pid_mountinfo(5)). False where that cannot be told, as on macOS."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    file_system, longest = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        folder = Path(before.split()[4].replace("\\040", " "))
        if path.resolve().is_relative_to(folder) and len(folder.parts) >= longest:
            file_system, longest = after.split()[0], len(folder.parts)
    return file_system in LOCAL_FILE_SYSTEMS


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
