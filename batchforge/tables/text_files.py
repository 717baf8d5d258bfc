"""A text file -> a stream of decoded text: the BOM dropped, line ends untouched, bad bytes named by their line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.compressed import open_unpacked
from batchforge.tables.options import MAX_ROW_CHARS

CHUNK_BYTES = 1 << 18
_UTF8 = codecs.lookup("utf-8").name


@contextmanager
def open_text(path: Path, shown_as: str, encoding: str) -> Iterator[TextIOWrapper]:
    """Lines end at \\n only, so that a lone \\r stays inside its line and can be judged by who parses it."""
    name = _codec(encoding)
    with open_unpacked(path, shown_as) as binary:
        text = TextIOWrapper(binary, encoding="utf-8-sig" if name == _UTF8 else name, errors="strict", newline="\n")
        try:
            yield text
        except UnicodeError as exc:
            raise _undecodable(path, shown_as, name) from exc


def lines_of(text: TextIOWrapper, shown_as: str) -> Iterator[str]:
    """Its lines; a file that is one endless line is refused before it fills the memory."""
    number = 0
    while line := text.readline(MAX_ROW_CHARS):
        number += 1
        if len(line) == MAX_ROW_CHARS:
            message = f"the line is longer than {MAX_ROW_CHARS:,} characters"
            hint = "Is `format:` right? JSON that is not one object a line is `format: json`."
            raise BatchForgeError("BF206", message, location=Location(shown_as, number), hint=hint)
        yield line


def read_text(path: Path, shown_as: str, encoding: str) -> str:
    with open_text(path, shown_as, encoding) as text:
        return text.read()


def _codec(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding:
            raise LookupError(encoding)
    except LookupError as exc:
        raise BatchForgeError(
            "BF203",
            f"there is no text encoding '{encoding}'",
            hint="Common ones are utf-8, utf-16, cp1252 (Windows) and latin-1.",
        ) from exc
    return info.name


def _undecodable(path: Path, shown_as: str, encoding: str) -> BatchForgeError:
    line, reason = _first_bad_byte(path, shown_as, encoding)
    return BatchForgeError(
        "BF203",
        f"the file is not {encoding}: {reason}",
        location=Location(shown_as, line),
        hint="Save the file as UTF-8, or name its encoding, e.g. `encoding: cp1252` (Windows) or `encoding: utf-16`.",
    )


def _first_bad_byte(path: Path, shown_as: str, encoding: str) -> tuple[int, str]:
    """Decoders say where in their chunk they failed, not on which line; so the file is read again to count."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_unpacked(path, shown_as) as binary:
        while True:
            chunk = binary.read(CHUNK_BYTES)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as exc:
                before = exc.object[: exc.start].decode(encoding, errors="replace")
                return line + before.count("\n"), f"byte 0x{exc.object[exc.start]:02x} ({exc.reason})"
            except UnicodeError as exc:
                return line, str(exc)
            if not chunk:
                return line, "it changed while it was read"
