"""Room on the disk for results, set aside before their requests are paid for; and what a disk's refusals are called.

A disk that fills up while a batch is in flight loses nothing (the API keeps results for 29 days), but a run should not
start what it has no room to finish.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from batchforge.errors import StateError

BYTES_PER_RESULT = 2_000
"""What a stored result takes on average, with its message."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def disk_error(exc: OSError) -> StateError | None:
    """The disk's refusal in our words; None where it was not the disk."""
    place = f" for {exc.filename}" if exc.filename else ""
    if exc.errno in _NO_ROOM:
        hint = "Free some space and run again. Nothing that was paid is lost."
        return StateError("BF504", f"no room on the disk{place}: {exc.strerror}", hint=hint)
    if exc.errno in _NOT_ALLOWED:
        hint = "Check its permissions and run again. Nothing that was paid is lost."
        return StateError("BF505", f"{exc.filename or 'a file'} cannot be written: {exc.strerror}", hint=hint)
    if exc.errno == errno.EIO:
        hint = "Check the disk (dmesg, smartctl), then run again. Nothing that was paid is lost."
        return StateError("BF508", f"the disk failed{place}: {exc.strerror}", hint=hint)
    return None


def reserve(folder: Path, attempt_id: int, requests: int) -> None:
    """Hold room for an attempt's results by a file of that size.

    Raises:
        StateError: BF504 there is no such room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = requests * BYTES_PER_RESULT
    try:
        handle = os.open(_file(folder, attempt_id), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            _allocate(handle, size)
        finally:
            os.close(handle)
    except OSError as exc:
        release(folder, attempt_id)
        if exc.errno not in _NO_ROOM:
            raise StateError(
                "BF505", f"{folder} cannot be written: {exc.strerror}", hint="Check its permissions."
            ) from exc
        raise StateError(
            "BF504",
            f"no room for the results of {requests:,} requests (about {size / 1e6:,.0f} MB) below {folder}",
            hint="Free some space and run again. Nothing of these requests was sent.",
        ) from exc


def release(folder: Path, attempt_id: int) -> None:
    """Give the room back: the results are about to be stored, or will never come."""
    _file(folder, attempt_id).unlink(missing_ok=True)


def release_all_but(folder: Path, open_attempts: set[int]) -> None:
    """Give back what dead processes held for attempts that are over."""
    for path in folder.glob("room-*"):
        number = path.name.removeprefix("room-")
        if number.isdigit() and int(number) not in open_attempts:
            path.unlink(missing_ok=True)


def _file(folder: Path, attempt_id: int) -> Path:
    return folder / f"room-{attempt_id}"


def _allocate(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        # macOS has no posix_fallocate; a file with holes would hold nothing.
        os.pwrite(handle, bytes(size), 0)
