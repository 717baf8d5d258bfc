"""JSON text <-> values, nothing lost on the way: equal names, NaN, overflowing numbers, half characters are refused."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec


class JsonProblem(ValueError):
    """What is wrong, in words; `offset` is where, in characters from the start of the text (None: unknown)."""

    def __init__(self, reason: str, offset: int | None = None, *, maybe_cut: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.maybe_cut = maybe_cut
        """The text may only be incomplete: more of it could make it valid."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise JsonProblem(f"the name '{twice}' stands twice in one object")
    return values


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise JsonProblem(f"the number {text} is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise JsonProblem(f"{name} is not JSON; write null or leave the value out")


_BLANKS = re.compile(r"[ \t\r\n]*")
_encode = msgspec.json.Encoder().encode
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
CUT_MARGIN_CHARS = 16
"""A token that was cut at the end of the text makes the decoder stop at most this far before it."""


def decode_json(text: str) -> Any:
    value, end = decode_json_at(text, end_of_blanks(text, 0))
    rest = end_of_blanks(text, end)
    if rest < len(text):
        raise JsonProblem("there is more text after the JSON value", rest)
    return value


def end_of_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def decode_json_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as exc:
        cut = exc.msg.startswith("Unterminated string") or exc.pos >= len(text) - CUT_MARGIN_CHARS
        raise JsonProblem(_in_words(exc.msg), exc.pos, maybe_cut=cut) from exc
    except RecursionError as exc:
        raise JsonProblem("it is nested too deeply") from exc
    except JsonProblem:
        raise
    except ValueError as exc:
        raise JsonProblem("a number in it has too many digits") from exc
    if text.find("\\ud", start, end) >= 0 or text.find("\\uD", start, end) >= 0:
        _refuse_half_characters(value)
    return value, end


def _refuse_half_characters(value: Any) -> None:
    """An escape like \\ud83d without its second half cannot be sent as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise JsonProblem(
            f"the escape \\u{ord(exc.object[exc.start]):04x} is half a character (an unpaired surrogate)"
        ) from exc


def encode_json(value: Any) -> bytes:
    """Compact JSON. What is only half a character becomes the replacement character: UTF-8 has no place for it."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return whole_characters(text).encode()


def whole_characters(text: str) -> str:
    return text if text.isascii() else _HALF_CHARACTER.sub("\ufffd", text)


def _in_words(message: str) -> str:
    words = {
        "Expecting value": "a value is missing",
        "Expecting property name enclosed in double quotes": "a name in double quotes is missing",
        "Expecting ',' delimiter": "a comma or a closing bracket is missing",
        "Expecting ':' delimiter": "a colon is missing",
        "Unterminated string starting at": "a text is never closed",
        "Invalid control character at": "a text holds a raw control character, which JSON wants escaped",
        "Invalid \\escape": "a text holds a backslash that escapes nothing",
        "Invalid \\uXXXX escape": "a \\u escape has no four hex digits",
        "Illegal trailing comma before end of object": "a comma stands before the closing brace",
        "Illegal trailing comma before end of array": "a comma stands before the closing bracket",
    }
    return words.get(message.rstrip(": "), message)
