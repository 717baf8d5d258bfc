"""Files that appear whole or not at all, whoever else reads or writes them at the same time."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, *, is_durable: bool = False) -> Iterator[Path]:
    """A place beside `path`, this writer's own, to write to; at the end it takes the place of `path`, and its mode.
    Where writing fails, what was there stays. Leftovers of processes that were killed are removed.

    Raises:
        OSError: the file cannot take its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident():x}.partial")
    try:
        yield partial
        with suppress(FileNotFoundError):
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
def alone_at(lock: Path, timeout_s: float = 300.0) -> Iterator[None]:
    """One process (or thread) of this machine at a time; the others wait. The lock goes with its process.

    A folder whose file system has no locks is used without: there, two at once are told by their errors.

    Raises:
        TimeoutError: another one is there for longer than `timeout_s`.
    """
    with _locked(lock, time.monotonic() + timeout_s):
        yield


def _locked(lock: Path, deadline: float) -> BinaryIO:
    """The file that holds the lock; closing it gives the lock back."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("wb")
        try:
            _wait_for(handle, deadline)
            if _is_at(handle, lock):
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()  # it was removed while we waited, so the next one would not meet us there


def _wait_for(handle: BinaryIO, deadline: float) -> None:
    pause_s = 0.01
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process does not end writing it") from exc
        except OSError:
            return
        else:
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.2)


def _is_at(handle: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _make_durable(path: Path) -> None:
    """A file's bytes, or the names in a folder, survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """What writers of this file that were killed have left beside it. What belongs to living ones stays."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial*"):
        process, thread = leftover.name.removeprefix(f".{path.name}.").split(".")[:2]
        if process.isdigit() and not _is_written(int(process), thread):
            leftover.unlink(missing_ok=True)


def _is_written(process: int, thread: str) -> bool:
    # In a container, every process may have the number that the killed one had.
    if process == os.getpid():
        return thread in {f"{each.ident:x}" for each in threading.enumerate() if each.ident is not None}
    return is_running(process)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
