"""The part of a request that stands for a file: its content by hash, and beside it where the file lies.

A piece is the inside of a content block, as JSON members. The block is identified by what comes before `_file`; what
comes after only helps to find, to weigh and to send the file. On the wire the source is replaced by the bytes
themselves or by a file_id.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

_MARK = b',"_file":'
"""Cannot occur inside of a JSON string, where a quote is escaped."""
ESTIMATED_BYTES_PER_TOKEN = 4
_FRAME_BYTES = 200
"""More than a block takes around its source."""

PiecesToWire = Callable[[Sequence[bytes]], Sequence[bytes]]
"""File pieces of one request -> the members that are sent in their places."""


class AboutFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a file beside its content."""

    path: str = ""
    """Project-relative."""
    size_bytes: int = 0
    pages: int = 0
    """Of a PDF."""
    width: int = 0
    """Of an image, in pixels."""
    height: int = 0
    tokens: float = 0.0
    """As estimated."""
    address: str = ""
    """Of the document, where `path` is a local copy of it."""
    most_tokens: int = 0
    """No request has more tokens for the file."""


class _Source(msgspec.Struct, frozen=True):
    media_type: str
    sha256: str


class FileBlock(msgspec.Struct, frozen=True):
    """A piece, read."""

    source: _Source
    file: AboutFile = msgspec.field(name="_file")

    @property
    def media_type(self) -> str:
        return self.source.media_type

    @property
    def sha256(self) -> str:
        return self.source.sha256


_decode = msgspec.json.Decoder(FileBlock).decode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def make_piece(block: Mapping[str, Any], media_type: str, sha256: str, about: AboutFile) -> bytes:
    """`block` holds the members of the content block beside its source."""
    source = {"media_type": media_type, "sha256": sha256}
    members = _encode_sorted({**block, "source": source})[1:-1]
    return members + _MARK + msgspec.json.encode(about)


STAND_IN = make_piece({"type": "document"}, "application/pdf", "0" * 64, AboutFile())
"""For a row's file where there is no row."""


def identity_of(piece: bytes) -> bytes:
    """What the piece asks: equal for equal content, wherever the file lies."""
    return piece.partition(_MARK)[0]


def read_piece(piece: bytes) -> FileBlock:
    return _decode(b"{%b}" % piece)


def file_words(piece: bytes) -> str:
    """For people: which file, and of which content."""
    block = read_piece(piece)
    return f"{block.file.address or block.file.path} ({block.media_type}, sha256 {block.sha256[:12]}…)"


def estimated_bytes(piece: bytes) -> int:
    """The size of a text with as many tokens as the file is estimated to have."""
    return round(read_piece(piece).file.tokens * ESTIMATED_BYTES_PER_TOKEN)


def most_bytes(piece: bytes) -> int:
    """The size of a text that has surely as many tokens as the file."""
    return len(identity_of(piece)) + read_piece(piece).file.most_tokens


def inline_bytes(file: AboutFile) -> int:
    """What the file takes in a body that holds its content."""
    return _FRAME_BYTES + 4 * ((file.size_bytes + 2) // 3)


def with_content(piece: bytes, content: bytes) -> bytes:
    """The members of a block that holds the file's content."""
    media_type = read_piece(piece).media_type
    if media_type == "text/plain":
        text = content.decode("utf-8-sig")
        return _with_source(piece, b'"type":"text","media_type":"text/plain","data":' + msgspec.json.encode(text))
    data = b64encode(content)
    return _with_source(piece, b'"type":"base64","media_type":"%b","data":"%b"' % (media_type.encode(), data))


def with_file_id(piece: bytes, file_id: str) -> bytes:
    """The members of a block that names an uploaded file."""
    return _with_source(piece, b'"type":"file","file_id":' + msgspec.json.encode(file_id))


def with_stand_in_ids(pieces: Sequence[bytes]) -> Sequence[bytes]:
    """Blocks of the form that the API takes, for a check of everything around the files."""
    return [with_file_id(piece, "file_" + read_piece(piece).sha256[:24]) for piece in pieces]


def _with_source(piece: bytes, source: bytes) -> bytes:
    block = msgspec.json.decode(b"{%b}" % identity_of(piece))
    kind = block.pop("type").encode()
    del block["source"]
    rest = msgspec.json.encode(block)[1:-1]
    return b'"type":"%b","source":{%b}' % (kind, source) + (b"," + rest if rest else b"")
