"""Files that appear whole or not at all, whoever else reads or writes them at the same time."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, is_durable: bool = False) -> Iterator[Path]:
    """A place beside `path`, this writer's own, to write to; at the end it takes the place of `path`, and its mode.
    Where writing fails, what was there stays. Leftovers of processes that were killed are removed.

    Raises:
        OSError: the file cannot take its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident():x}.partial")
    try:
        yield partial
        if path.exists():
            shutil.copymode(path, partial)
        if is_durable:
            _make_durable(partial)
        partial.replace(path)
        if is_durable:
            _make_durable(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """A reader sees the old file or the new one, never half of it."""
    with whole_file(path) as partial:
        partial.write_bytes(data)


@contextmanager
def alone_at(lock: Path) -> Iterator[None]:
    """One process (or thread) of this machine at a time; the others wait. The lock goes with its process.

    A folder whose file system has no locks is used without: there, two at once are told by their errors.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as handle:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_durable(path: Path) -> None:
    """A file's bytes, or the names in a folder, survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Of writers that were killed. Those of living processes are theirs."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial*"):
        writer = leftover.name.removeprefix(f".{path.name}.").split(".")[0]
        if writer.isdigit() and not is_running(int(writer)):
            leftover.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
