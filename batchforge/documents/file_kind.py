"""The first bytes of a file -> what it is. Its name is not asked; it only tells when the two disagree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["pdf", "image", "text"]

HEAD_BYTES = 4096
PDF_MARK = b"%PDF-"
_PDF_MARK_WITHIN = 1024
"""Readers look for the mark in so many bytes: some writers put something before it."""

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_OTHERS = {
    b"PK\x03\x04": "a ZIP file, as Word, Excel and PowerPoint write them",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office file",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"BM": "a BMP image",
    b"\x1f\x8b": "a gzip file",
    b"\x00\x00\x00\x1cftyp": "a video or a HEIC image",
    b"\x00\x00\x00\x18ftyp": "a video or a HEIC image",
    b"\x00\x00\x00 ftyp": "a video or a HEIC image",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"{\\rtf": "an RTF document",
    b"%!PS": "a PostScript document",
}
ENDINGS: dict[str, Kind] = {
    ".pdf": "pdf",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".gif": "image",
    ".webp": "image",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
}
"""Endings that promise one of the kinds."""
NAMES: dict[Kind, str] = {"pdf": "a PDF", "image": "an image", "text": "text"}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the content is. Where it is nothing that the API takes, `kind` is None and `name` says what it seems."""

    kind: Kind | None
    media_type: str
    name: str


def sniff(head: bytes) -> Sniffed:
    """`head` holds the file's first HEAD_BYTES bytes."""
    for mark, media_type in _IMAGES.items():
        if head.startswith(mark):
            return Sniffed("image", media_type, NAMES["image"])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Sniffed("image", "image/webp", NAMES["image"])
    if PDF_MARK in head[: _PDF_MARK_WITHIN + len(PDF_MARK)] and not _is_quoted(head):
        return Sniffed("pdf", "application/pdf", NAMES["pdf"])
    for mark, name in _OTHERS.items():
        if head.startswith(mark):
            return Sniffed(None, "", name)
    if b"\0" in head:
        return Sniffed(None, "", "neither a PDF, an image nor text")
    return Sniffed("text", "text/plain", NAMES["text"])


def _is_quoted(head: bytes) -> bool:
    """A text that speaks of PDFs: the mark stands in the middle of a line of words."""
    before = head.partition(PDF_MARK)[0]
    line = before.rpartition(b"\n")[2]
    return bool(line.strip()) and line.isascii() and b"\0" not in before


def promised_kind(path: str) -> Kind | None:
    """What the file's name says it is."""
    return ENDINGS.get(PurePosixPath(path).suffix.lower())
