"""JSONL and JSON files -> rows with the types that they were written with."""

from __future__ import annotations

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.json_text import JsonProblem, decode_json, decode_json_at, end_of_blanks
from batchforge.tables.options import MAX_ROW_CHARS, TableOptions
from batchforge.tables.text_files import lines_of, open_text

_BLANKS = " \t\r\n"
_CHUNK_CHARS = 1 << 18


def read_jsonl(path: Path, shown_as: str, options: TableOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    """One object a line; empty lines are no rows."""
    with open_text(path, shown_as, options.encoding) as text:
        for number, line in enumerate(lines_of(text, shown_as), 1):
            if line.strip(_BLANKS):
                yield number, _object(_decoded(line.rstrip(_BLANKS), shown_as, number), shown_as, number)


def _decoded(line: str, shown_as: str, number: int) -> Any:
    try:
        return decode_json(line)
    except JsonProblem as exc:
        column = None if exc.offset is None else exc.offset + 1
        raise BatchForgeError(
            "BF208",
            f"the line is not JSON: {exc}",
            location=Location(shown_as, number, column),
            hint="Each line must be one JSON object; for one array of objects, set `format: json`.",
        ) from exc


def _object(value: Any, shown_as: str, number: int) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise BatchForgeError(
        "BF208",
        f"a row must be an object, but this is {_name_of(value)}",
        location=Location(shown_as, number),
        hint='Write it as {"text": …}.',
    )


def _name_of(value: Any) -> str:
    names = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def read_json(path: Path, shown_as: str, options: TableOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    """One array of objects, of which only the object at hand is held."""
    with open_text(path, shown_as, options.encoding) as text:
        array = _ArrayReader(text, shown_as)
        if array.next_character() == "":
            return
        array.expect("[", "the file must hold one array of objects")
        while array.next_character() != "]":
            number = array.line
            yield number, _object(array.value(), shown_as, number)
            if array.next_character() != "]":
                array.expect(",", "a comma or the closing bracket of the array is missing")
        array.expect("]", "the array is never closed")
        if array.next_character():
            raise array.error("there is more text after the array")


class _ArrayReader:
    """A window on the text that moves on value by value, and knows the line of its start."""

    def __init__(self, text: TextIOWrapper, shown_as: str) -> None:
        self.line = 1
        self._text = text
        self._shown_as = shown_as
        self._window = ""
        self._at = 0

    def next_character(self) -> str:
        """The next one that is not blank, left in place; empty at the end of the file."""
        while True:
            self._move(end_of_blanks(self._window, self._at))
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._read_more():
                return ""

    def expect(self, character: str, otherwise: str) -> None:
        if self.next_character() != character:
            raise self.error(otherwise)
        self._move(self._at + 1)

    def value(self) -> Any:
        while True:
            try:
                value, end = decode_json_at(self._window, self._at)
            except JsonProblem as exc:
                if exc.maybe_cut and len(self._window) - self._at < MAX_ROW_CHARS and self._read_more():
                    continue
                raise self.error(str(exc), exc.offset) from exc
            self._move(end)
            return value

    def error(self, reason: str, offset: int | None = None) -> BatchForgeError:
        line = self.line if offset is None else self.line + self._window.count("\n", self._at, offset)
        hint = "For one object a line, set `format: jsonl`." if reason.startswith(("the file", "there is")) else ""
        return BatchForgeError("BF208", f"not JSON rows: {reason}", location=Location(self._shown_as, line), hint=hint)

    def _move(self, to: int) -> None:
        self.line += self._window.count("\n", self._at, to)
        self._at = to

    def _read_more(self) -> bool:
        """At least doubles what is left, so that a long value is not decoded again for every chunk."""
        left = self._window[self._at :]
        more = self._text.read(max(_CHUNK_CHARS, len(left)))
        self._window, self._at = left + more, 0
        return bool(more)
