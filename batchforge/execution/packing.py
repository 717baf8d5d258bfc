"""Planned rows -> batches within the limits of count and bytes, their bodies spooled to private files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchforge.planning.plan_rows import PlannedRow
from batchforge.requests.fingerprint import custom_id
from batchforge.spec import BatchLimits
from batchforge.state.records import IntendedRequest

_HEAD, _TAIL = b'{"requests":[', b"]}"


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch that is ready to go: its requests, and its body in a file."""

    requests: Sequence[IntendedRequest]
    body: Path
    size_bytes: int

    def discard(self) -> None:
        self.body.unlink(missing_ok=True)


def pack(rows: Iterable[tuple[PlannedRow, bytes]], limits: BatchLimits, folder: Path) -> Iterator[PackedBatch]:
    """One batch at a time; a request that would break a limit opens the next one.

    Args:
        rows: each row with the JSON of its `params`.
        folder: where bodies are spooled; each file belongs to whoever takes the batch.
    """
    packer = _Packer(folder)
    try:
        for planned, params in rows:
            request, head = _intended(planned)
            if not packer.fits(len(head) + len(params) + 1, limits):
                yield packer.finish()
            packer.add(request, head, params)
        if packer.requests:
            yield packer.finish()
    finally:
        packer.abandon()


def _intended(planned: PlannedRow) -> tuple[IntendedRequest, bytes]:
    """The request, and what stands before its params in the body."""
    row, pieces = planned.row, planned.pieces
    assert row.request_id is not None
    assert pieces is not None
    head = b'{"custom_id":"%b","params":' % custom_id(row.request_id, row.ordinal).encode()
    return IntendedRequest(row.request_id, row.ordinal, pieces), head


class _Packer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._path = folder
        self._size = 0
        self.requests: list[IntendedRequest] = []

    def fits(self, line_bytes: int, limits: BatchLimits) -> bool:
        """The first request of a batch always does: one that is too large for any was blocked before."""
        size = self._size + 1 + line_bytes + len(_TAIL)
        return not self.requests or (len(self.requests) < limits.max_requests and size <= limits.max_bytes)

    def add(self, request: IntendedRequest, head: bytes, params: bytes) -> None:
        if self._file is None:
            self._open()
        # The params are long and not copied together with the rest.
        self._write(b"," + head if self.requests else head)
        self._write(params)
        self._write(b"}")
        self.requests.append(request)

    def finish(self) -> PackedBatch:
        assert self._file is not None
        self._write(_TAIL)
        self._file.close()
        packed = PackedBatch(self.requests, self._path, self._size)
        self._file, self.requests, self._size = None, [], 0
        return packed

    def abandon(self) -> None:
        """Forget a batch that was not finished."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.json"
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb", buffering=1 << 20)
        self._write(_HEAD)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)


def remove_left_over_bodies(folder: Path) -> None:
    """Delete the bodies that dead processes left behind: what was sent is known from state, never from them."""
    for path in folder.glob("*.json"):
        pid = path.name.partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
