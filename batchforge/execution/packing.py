"""Planned rows -> batches within the limits of count and bytes, their bodies spooled to private files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from batchforge.planning.plan_rows import PlannedRow
from batchforge.requests.fingerprint import custom_id
from batchforge.spec import BatchLimits
from batchforge.state.records import Intended
from batchforge.whole_file import is_running

_HEAD, _TAIL = b'{"requests":[', b"]}"
_BUFFER_BYTES = 1 << 20
_BETWEEN = b"\0"
"""No JSON holds it, so texts are told apart by it."""


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch that is ready to go: its requests, and its body in a file."""

    requests: Sequence[Intended]
    body: Path
    size_bytes: int
    _texts: BinaryIO

    def discard(self) -> None:
        """Its requests have no texts any more."""
        self.body.unlink(missing_ok=True)
        self._texts.close()


class _SpooledRequest:
    """A request whose texts lie in a file: those of one batch can be 256 MB."""

    __slots__ = ("_size", "_start", "_texts", "ordinal", "request_id")

    def __init__(self, request_id: bytes, ordinal: int, texts: BinaryIO, start: int, size: int) -> None:
        self.request_id, self.ordinal = request_id, ordinal
        self._texts, self._start, self._size = texts, start, size

    @property
    def pieces(self) -> tuple[bytes, ...]:
        return tuple(os.pread(self._texts.fileno(), self._size, self._start).split(_BETWEEN))


def pack(rows: Iterable[tuple[PlannedRow, bytes]], limits: BatchLimits, folder: Path) -> Iterator[PackedBatch]:
    """One batch at a time; a request that would break a limit opens the next one.

    Args:
        rows: each row with the JSON of its `params`.
        folder: where bodies are spooled; each file belongs to whoever takes the batch.
    """
    packer = _Packer(folder)
    try:
        for planned, params in rows:
            head = _head(planned)
            if not packer.fits(len(head) + len(params) + 1, limits):
                yield packer.finish()
            packer.add(planned, head, params)
        if packer.requests:
            yield packer.finish()
    finally:
        packer.abandon()


def _head(planned: PlannedRow) -> bytes:
    """What stands before its params in the body."""
    row = planned.row
    assert row.request_id is not None
    return b'{"custom_id":"%b","params":' % custom_id(row.request_id, row.ordinal).encode()


class _Packer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._path = folder
        self._size = self._texts_size = 0
        self._texts: BinaryIO | None = None
        self.requests: list[_SpooledRequest] = []

    def fits(self, line_bytes: int, limits: BatchLimits) -> bool:
        """The first request of a batch always does: one that is too large for any was blocked before."""
        size = self._size + 1 + line_bytes + len(_TAIL)
        return not self.requests or (len(self.requests) < limits.max_requests and size <= limits.max_bytes)

    def add(self, planned: PlannedRow, head: bytes, params: bytes) -> None:
        if self._file is None:
            self._open()
        # The params are long and not copied together with the rest.
        self._write(b"," + head if self.requests else head)
        self._write(params)
        self._write(b"}")
        self._remember(planned)

    def finish(self) -> PackedBatch:
        assert self._file is not None
        assert self._texts is not None
        self._write(_TAIL)
        self._file.close()
        self._texts.flush()
        packed = PackedBatch(self.requests, self._path, self._size, self._texts)
        self._file, self._texts, self.requests, self._size, self._texts_size = None, None, [], 0, 0
        return packed

    def abandon(self) -> None:
        """Forget a batch that was not finished."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
        if self._texts is not None:
            self._texts.close()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.json"
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb", buffering=_BUFFER_BYTES)
        # It has no name, so that nothing of it stays, whatever happens.
        texts = TemporaryFile(dir=self._folder, buffering=_BUFFER_BYTES)  # noqa: SIM115 - closed by discard()
        self._texts = cast("BinaryIO", texts)
        self._write(_HEAD)

    def _remember(self, planned: PlannedRow) -> None:
        row, pieces = planned.row, planned.pieces
        assert row.request_id is not None
        assert pieces is not None
        assert self._texts is not None
        data = _BETWEEN.join(pieces)
        self._texts.write(data)
        self.requests.append(_SpooledRequest(row.request_id, row.ordinal, self._texts, self._texts_size, len(data)))
        self._texts_size += len(data)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)


def remove_left_over_bodies(folder: Path) -> None:
    """Delete the bodies that dead processes left behind: what was sent is known from state, never from them."""
    for path in folder.glob("*.json"):
        pid = path.name.partition("-")[0]
        if pid.isdigit() and not is_running(int(pid)):
            path.unlink(missing_ok=True)
