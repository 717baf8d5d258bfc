"""The text or the tool calls of an answer -> the value that its fields are taken from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batchforge.spec import AnswerSource

Block = Mapping[str, Any]
Check = Callable[[Any], str | None]
_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_MAX_TRIES = 1_000
_DECODER = json.JSONDecoder()
_NUMBER_TYPES = ("integer", "number")


class NoValue(Exception):
    """There is none where it should be; in words."""


def value_in(source: AnswerSource, blocks: Sequence[Block], text: str, schema: Mapping[str, Any], check: Check) -> Any:
    """
    Raises:
        NoValue
    """
    match source.kind:
        case "structured":
            return _whole_json(text)
        case "json":
            return _json_in_prose(text, check)
        case "xml":
            return _fields_of(schema, lambda name, part: _tagged(name, part, text))
        case "regex":
            return _groups(source.pattern, text, schema)
    return _tool_input(source.tool, blocks)


def _whole_json(text: str) -> Any:
    try:
        # json, not msgspec: numbers beyond 64 bits stay exact.
        return json.loads(text)
    except ValueError as exc:
        raise NoValue(f"the answer is not JSON: {exc}") from exc


def _json_in_prose(text: str, check: Check) -> Any:
    """The last value that fits; where none does, the last one that there is."""
    found: list[Any] = []
    for value in _json_values(text):
        found.append(value)
    if not found:
        raise NoValue("there is no JSON in the answer")
    return next((value for value in reversed(found) if check(value) is None), found[-1])


def _json_values(text: str) -> Iterator[Any]:
    fenced = [match[1] for match in _FENCE.finditer(text)]
    for part in fenced or [text]:
        yield from _values_from(part)
    if fenced:
        yield from _values_from(_FENCE.sub("", text))


def _values_from(text: str) -> Iterator[Any]:
    at = tries = 0
    while tries < _MAX_TRIES and (opening := _OPENING.search(text, at)):
        tries += 1
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            at = opening.end()
        else:
            yield value


def _fields_of(schema: Mapping[str, Any], find: Callable[[str, Mapping[str, Any]], Any]) -> dict[str, Any]:
    """The fields that are there: one that is missing is left out, so that the schema says whether it may be."""
    found = {name: find(name, part) for name, part in schema.get("properties", {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def _tagged(name: str, schema: Mapping[str, Any], text: str) -> Any:
    """What stands between the field's tags, the last time they are there; of a list, each time."""
    inside = re.findall(rf"<{re.escape(name)}>(.*?)</{re.escape(name)}>", text, re.DOTALL)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return [_typed(each, items) for each in inside]
    return _typed(inside[-1], schema) if inside else None


def _groups(pattern: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    match = re.search(pattern, text)
    if match is None:
        raise NoValue("the pattern of `from` is not in the answer")
    groups = match.groupdict()
    return _fields_of(schema, lambda name, part: None if groups.get(name) is None else _typed(groups[name], part))


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """A text as its field's type; as it stands where it is none, which the check then tells."""
    text, kind = text.strip(), schema.get("type")
    if kind == "object":
        return _fields_of(schema, lambda name, part: _tagged(name, part, text))
    if kind == "boolean":
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.casefold(), text)
    if kind in _NUMBER_TYPES or kind == "array":
        try:
            return json.loads(text.replace(",", "") if kind in _NUMBER_TYPES else text)
        except ValueError:
            return text
    return text


def _tool_input(name: str, blocks: Sequence[Block]) -> Any:
    calls = [block.get("input") for block in blocks if block.get("type") == "tool_use" and block.get("name") == name]
    if not calls:
        raise NoValue(f"the tool {name} was not called")
    return calls[-1]
