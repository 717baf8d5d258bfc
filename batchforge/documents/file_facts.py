"""A project file -> what it is, its hash, and what the API would count of it; or what is wrong with it, as a problem of
the row that names it."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from batchforge.documents.file_kind import HEAD_BYTES, NAMES, Kind, Sniffed, promised_kind, sniff
from batchforge.documents.image_size import image_size
from batchforge.documents.pdf_pages import count_pages
from batchforge.errors import BatchForgeError
from batchforge.source_tree import SourceTree

MAX_FILE_BYTES = 500 * 1024 * 1024
"""The most that the Files API takes."""
_SAMPLE_BYTES = 1 << 20
"""Of a text, from which its tokens are estimated."""
_REMEMBERED = 256


class FileProblem(Exception):
    """Why a file cannot be sent. A problem of its row, not of the job."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


Copies = Callable[[str], str]
"""The address of a document elsewhere -> the project-relative path of its local copy."""


def no_copies(address: str) -> str:
    raise FileProblem("BF450", f"'{_shown(address)}' is not in the project, and was not fetched")


@dataclass(frozen=True, slots=True)
class FileFacts:
    path: str
    """As it is shown: project-relative, or an address."""
    kind: Kind
    media_type: str
    sha256: str
    size_bytes: int
    pages: int = 0
    """Of a PDF."""
    width: int = 0
    height: int = 0
    text_sample: bytes = b""
    """The start of a text."""
    copy: str = ""
    """The project-relative path of the local copy, where `path` is an address."""


class FileReader:
    """Reads files of the project; those that were read last are not read again while they stay as they are."""

    def __init__(self, tree: SourceTree, copies: Copies = no_copies) -> None:
        self._tree, self._copies = tree, copies
        self._known: OrderedDict[tuple[str, int, int, int], FileFacts] = OrderedDict()

    def read(self, path: str) -> FileFacts:
        """
        Raises:
            FileProblem
        """
        copy = self._copies(path) if "://" in path else ""
        path, local = _shown(path), self._local(copy or path)
        try:
            found = os.stat(local)  # noqa: PTH116 - a link counts as what it leads to
            mark = (path, found.st_ino, found.st_size, found.st_mtime_ns)
            if mark not in self._known:
                self._known[mark] = replace(_read(path, local, found.st_size), copy=copy)
        except OSError as exc:
            raise FileProblem("BF450", f"'{path}' cannot be read: {exc.strerror or type(exc).__name__}") from exc
        self._known.move_to_end(mark)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return self._known[mark]

    def _local(self, path: str) -> Path:
        if not path.strip():
            raise FileProblem("BF450", "the row names no file")
        try:
            local = self._tree.local_path(path)
        except BatchForgeError as exc:
            raise FileProblem("BF450", exc.problems[0].message.rstrip(".")) from exc
        except ValueError as exc:  # a name with a NUL in it
            raise FileProblem("BF450", f"'{path}' is no path: {exc}") from exc
        if not local.exists():
            raise FileProblem("BF450", f"there is no file '{path}'")
        if not local.is_file():
            raise FileProblem("BF450", f"'{path}' is not a file")
        return local


def _shown(path: str) -> str:
    """What stands behind the ? of a URL may be a secret."""
    return path.partition("?")[0] if path.startswith(("https://", "http://")) else path


def _read(path: str, local: Path, size_bytes: int) -> FileFacts:
    if size_bytes == 0:
        raise FileProblem("BF451", f"'{path}' is empty")
    if size_bytes > MAX_FILE_BYTES:
        raise FileProblem("BF456", f"'{path}' has {size_bytes / 1e6:,.0f} MB; the API takes 500 MB")
    with local.open("rb") as file:
        sniffed = sniff(file.read(HEAD_BYTES))
    kind = _checked_kind(path, sniffed)
    if kind == "text":
        return _text_facts(path, local)
    sha256 = _sha256(local)
    if kind == "image":
        return _image_facts(path, local, sniffed, sha256, size_bytes)
    return _pdf_facts(path, local, sha256, size_bytes)


def _checked_kind(path: str, sniffed: Sniffed) -> Kind:
    promised = promised_kind(path)
    if promised is not None and promised != sniffed.kind:
        raise FileProblem("BF454", f"'{path}' is named like {NAMES[promised]}, and its content is {sniffed.name}")
    if sniffed.kind is None:
        raise FileProblem(
            "BF455", f"'{path}' is {sniffed.name}; the API takes PDF, JPEG, PNG, GIF, WebP and UTF-8 text"
        )
    return sniffed.kind


def _sha256(local: Path) -> str:
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pdf_facts(path: str, local: Path, sha256: str, size_bytes: int) -> FileFacts:
    with local.open("rb") as file:
        pages = count_pages(file)
    if pages == "encrypted":
        raise FileProblem("BF452", f"'{path}' is an encrypted PDF, which the API cannot read")
    if pages == "damaged":
        raise FileProblem("BF453", f"'{path}' is a damaged PDF, or only a part of one")
    return FileFacts(path, "pdf", "application/pdf", sha256, size_bytes, pages=pages)


def _image_facts(path: str, local: Path, sniffed: Sniffed, sha256: str, size_bytes: int) -> FileFacts:
    with local.open("rb") as file:
        size = image_size(file, sniffed.media_type, size_bytes)
    if size is None:
        raise FileProblem("BF453", f"'{path}' is a damaged image, or only a part of one")
    return FileFacts(path, "image", sniffed.media_type, sha256, size_bytes, width=size[0], height=size[1])


def _text_facts(path: str, local: Path) -> FileFacts:
    """The whole file must be text: what is not UTF-8 cannot be sent as it is."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8-sig")()
    sample, size_bytes, is_blank = b"", 0, True
    with local.open("rb") as file:
        while chunk := file.read(_SAMPLE_BYTES):
            digest.update(chunk)
            sample = sample or chunk
            text = _decoded(path, decoder, chunk, size_bytes)
            size_bytes += len(chunk)
            is_blank = is_blank and not text.strip()
    _decoded(path, decoder, b"", size_bytes, is_end=True)
    if is_blank:
        raise FileProblem("BF451", f"'{path}' holds nothing but white space")
    return FileFacts(path, "text", "text/plain", digest.hexdigest(), size_bytes, text_sample=sample)


def _decoded(path: str, decoder: codecs.IncrementalDecoder, chunk: bytes, before: int, *, is_end: bool = False) -> str:
    try:
        text = decoder.decode(chunk, is_end)
    except UnicodeDecodeError as exc:
        reason = f"'{path}' is not UTF-8 text: byte 0x{exc.object[exc.start]:02x} near byte {before + exc.start + 1:,}"
        raise FileProblem("BF455", reason) from exc
    if "\0" in text:
        raise FileProblem("BF455", f"'{path}' is neither a PDF, an image nor text")
    return text
