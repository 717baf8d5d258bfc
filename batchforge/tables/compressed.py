"""A file -> its bytes, unpacked as its ending says (.gz, .zst), in steps and within limits; half a file is an error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.options import COMPRESSED_ENDINGS

STEP_BYTES = 1 << 18
ZSTD_STEP_BYTES = 1 << 11
"""A few bytes of zstd can stand for 128 KB, so small steps keep what comes out of one within bounds."""
MAX_WINDOW_BYTES = 1 << 27
"""How far back zstd may refer; it is held in memory."""
TRUSTED_BYTES, MAX_RATIO = 1 << 30, 200
"""A file that unpacks to more than the first, and to so many times its size, is no table."""


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def open_unpacked(path: Path, shown_as: str) -> BinaryIO:
    ending = path.suffix.lower()
    if ending not in COMPRESSED_ENDINGS:
        return path.open("rb", buffering=STEP_BYTES)
    make, step_bytes = (_gzip, 1 << 16) if ending == ".gz" else (_zstd(shown_as), ZSTD_STEP_BYTES)
    raw = _Unpacked(path.open("rb", buffering=STEP_BYTES), make, step_bytes, shown_as)
    return cast(BinaryIO, io.BufferedReader(cast(Any, raw), buffer_size=STEP_BYTES))


class _Unpacked(io.RawIOBase):
    """One member after the other, as a file of any length."""

    def __init__(self, file: BinaryIO, make: Callable[[], _Unpacker], step_bytes: int, shown_as: str) -> None:
        self._file, self._make, self._step_bytes, self._shown_as = file, make, step_bytes, shown_as
        self._unpacker: _Unpacker | None = None
        self._left = memoryview(b"")
        self._read_bytes = self._unpacked_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            step = self._next_step()
            if step is None:
                return 0
            self._left = memoryview(step)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()

    def _next_step(self) -> bytes | None:
        data = self._unpacker.unused_data if self._unpacker is not None and self._unpacker.eof else b""
        data = data or self._file.read(self._step_bytes)
        if not data:
            if self._unpacker is not None and not self._unpacker.eof:
                raise self._damaged("it ends in the middle")
            return None
        if self._unpacker is None or self._unpacker.eof:
            self._unpacker = self._make()
        return self._unpack(self._unpacker, data)

    def _unpack(self, unpacker: _Unpacker, data: bytes) -> bytes:
        try:
            step = unpacker.decompress(data)
        except Exception as exc:
            raise self._damaged(str(exc)) from exc
        self._read_bytes += len(data)
        self._unpacked_bytes += len(step)
        if self._unpacked_bytes > max(TRUSTED_BYTES, MAX_RATIO * self._read_bytes):
            raise BatchForgeError(
                "BF216",
                f"the file unpacks to more than {MAX_RATIO} times its size, so it is taken for no table",
                location=Location(self._shown_as),
                hint="If it is one, unpack it yourself and read that file.",
            )
        return step

    def _damaged(self, reason: str) -> BatchForgeError:
        message = f"the file cannot be unpacked: {reason}"
        hint = "Was it copied as a whole? Write it anew."
        return BatchForgeError("BF216", message, location=Location(self._shown_as), hint=hint)


def _gzip() -> _Unpacker:
    return cast(_Unpacker, zlib.decompressobj(wbits=31))


def _zstd(shown_as: str) -> Callable[[], _Unpacker]:
    try:
        import zstandard
    except ImportError as exc:
        raise BatchForgeError(
            "BF237",
            "a .zst file needs zstandard, which is not installed",
            location=Location(shown_as),
            hint="pip install 'batchforge[zstd]', or pack the file with gzip.",
        ) from exc
    return lambda: cast(_Unpacker, zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj())
