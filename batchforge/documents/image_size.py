"""An image file -> its width and height, read from its headers; None where it is damaged or cut off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

_TAIL_BYTES = 1 << 20
"""How far from its end a JPEG's last mark is looked for: cameras write something behind it."""
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})

Size = tuple[int, int]


def image_size(file: BinaryIO, media_type: str, size_bytes: int) -> Size | None:
    try:
        size = _READERS[media_type](file, size_bytes)
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _png(file: BinaryIO, size_bytes: int) -> Size | None:
    size, at = None, 8
    while at + 12 <= size_bytes:
        length, kind = struct.unpack(">I4s", _read_at(file, at, 8))
        if kind == b"IHDR":
            width, height = struct.unpack(">II", _read_at(file, at + 8, 8))
            size = width, height
        if kind == b"IEND":
            return size
        at += 12 + length
    return None


def _gif(file: BinaryIO, size_bytes: int) -> Size | None:
    width, height = struct.unpack("<HH", _read_at(file, 6, 4))
    return (width, height) if b"\x3b" in _read_at(file, max(13, size_bytes - 64), 64) else None


def _jpeg(file: BinaryIO, size_bytes: int) -> Size | None:
    size = None
    for mark, at in _jpeg_segments(file):
        if mark in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", _read_at(file, at + 3, 4))
            size = width, height
        if mark == _JPEG_SCAN:
            start = max(at, size_bytes - _TAIL_BYTES)
            return size if b"\xff\xd9" in _read_at(file, start, _TAIL_BYTES) else None
    return None


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(mark, where its length stands)"""
    at = 2
    while True:
        head = _read_at(file, at, 4)
        if head[0] != 0xFF:
            return
        mark = head[1]
        if mark == 0xFF or mark in _WITHOUT_LENGTH:
            at += 1 if mark == 0xFF else 2
            continue
        yield mark, at + 2
        at += 2 + int.from_bytes(head[2:4], "big")


def _webp(file: BinaryIO, size_bytes: int) -> Size | None:
    head = _read_at(file, 0, 30)
    if int.from_bytes(head[4:8], "little") + 8 > size_bytes + 1:  # some writers count a padding byte
        return None
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


_READERS: dict[str, Callable[[BinaryIO, int], Size | None]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
}


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
