"""A message and what its job asked for -> the answer's values, or why it is none. Succeeded is not yet answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from batchforge.answer_sources import NoValue, value_in
from batchforge.results import RequestResult, ResultKind
from batchforge.spec import JobSpec, OutputSpec

INVALID = "invalid"
"""Status of an answer that breaks the job's schema."""
CITATIONS = "_citations"
"""Column of the places in documents that an answer cites."""

_REASONS = {
    ResultKind.TRUNCATED: "cut at max_tokens; a higher max_tokens asks these rows again",
    ResultKind.THINKING_ONLY: "max_tokens was used up by thinking; raise it, or set `thinking: disabled`",
    ResultKind.CONTEXT_EXCEEDED: "the model's context window was full",
    ResultKind.REFUSED: "the model refused",
    ResultKind.EMPTY: "the answer is empty",
    ResultKind.PAUSED: "the model paused in the middle of using tools",
    ResultKind.EXPIRED: "not processed within 24 hours; not billed, the next run asks again",
    ResultKind.CANCELED: "canceled; not billed, the next run asks again",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one result comes to. `status` is `answered` or why there are no values."""

    status: str
    values: Mapping[str, Any]
    text: str
    """The answer as it came, for the rejected rows."""
    error: str | None = None


def reader_of(spec: JobSpec) -> AnswerReader:
    return AnswerReader(spec.output, has_tools="tools" in spec.params, has_citations=spec.has_citations)


class AnswerReader:
    """Reads answers of one job: parses, normalises the case of labels, and checks against the schema."""

    def __init__(self, output: OutputSpec, *, has_tools: bool, has_citations: bool = False) -> None:
        self._output = output
        self._has_tools = has_tools
        self.columns = _columns(output, has_tools, has_citations)
        self._kept = [name for name in KEPT if name in self.columns]
        self._normalise = _normaliser(output.schema) if output.schema is not None else None
        self._first_error = _checker(output.schema) if output.schema is not None else None

    def read(self, result: RequestResult) -> Answer:
        blocks = _blocks(result.message)
        text = "".join(b.get("text", "") for b in blocks if b.get("type") == "text")
        kept = {name: KEPT[name](blocks) for name in self._kept}
        if result.kind is not ResultKind.ANSWERED:
            return Answer(result.kind.value, kept, text, _reason(result))
        is_other = self._has_tools and not text and self._output.source.kind == "structured"
        if self._output.schema is None or is_other:
            return Answer("answered", kept | {self._output.text_column: text}, text)
        return self._with_fields(blocks, text, kept)

    def _with_fields(self, blocks: Sequence[Mapping[str, Any]], text: str, kept: dict[str, Any]) -> Answer:
        assert self._normalise is not None
        assert self._first_error is not None
        assert self._output.schema is not None
        check = self._first_error
        try:
            value = value_in(self._output.source, blocks, text, self._output.schema, self._error_once_normal)
        except NoValue as exc:
            return Answer(INVALID, kept, text, str(exc))
        value = self._normalise(value)
        error = check(value)
        if error is not None and not (self._output.keeps_invalid and isinstance(value, dict)):
            return Answer(INVALID, kept, text or msgspec.json.encode(value).decode(), error)
        fields = value if isinstance(value, dict) else {self._output.text_column: value}
        columns = [column for column in self.columns if column not in KEPT]
        return Answer("answered", kept | {column: fields.get(column) for column in columns}, text, error)

    def _error_once_normal(self, value: Any) -> str | None:
        assert self._normalise is not None
        assert self._first_error is not None
        return self._first_error(self._normalise(value))


def kept_columns(output: OutputSpec, has_tools: bool, has_citations: bool) -> tuple[str, ...]:
    """Columns of what an answer holds besides its text or fields."""
    names = [f"_{name}" for name in output.keep]
    if has_citations:
        names.append(CITATIONS)
    if has_tools and output.source.kind != "tool":
        names.append("_tool_calls")
    return tuple(dict.fromkeys(names))


def column_kinds(output: OutputSpec) -> dict[str, str]:
    """Column of the answer -> its type for Parquet: text, integer, number, boolean, json, or a list such as text[]."""
    kept = {"_thinking": "text", CITATIONS: "json"}
    if output.schema is None:
        return {output.text_column: "text"} | kept
    properties = output.schema.get("properties", {})
    return kept | {name: kind for name, schema in properties.items() if (kind := _kind(schema)) is not None}


def _kind(schema: Mapping[str, Any]) -> str | None:
    simple = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "object": "json"}
    kind = schema.get("type")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        item = _kind(schema["items"])
        return f"{item}[]" if item and not item.endswith("[]") and item != "json" else "json"
    return simple.get(kind) if isinstance(kind, str) else None


def _columns(output: OutputSpec, has_tools: bool, has_citations: bool) -> tuple[str, ...]:
    schema = output.schema
    named = tuple(schema["properties"]) if schema and schema.get("type") == "object" and "properties" in schema else ()
    return (named or (output.text_column,)) + kept_columns(output, has_tools, has_citations)


def _blocks(message: bytes | None) -> list[dict[str, Any]]:
    content = msgspec.json.decode(message).get("content") if message else None
    return [block for block in content or [] if isinstance(block, dict)]


def _tool_calls(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": b.get("name"), "input": b.get("input")} for b in blocks if b.get("type") == "tool_use"]


def _thinking(blocks: Sequence[Mapping[str, Any]]) -> str | None:
    thoughts = [block.get("thinking", "") for block in blocks if block.get("type") == "thinking"]
    return "\n\n".join(thoughts) if thoughts else None


def _citations(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the answer rests on, in its order: each place as the API names it, with the part of the answer it is for."""
    return [
        {"answer": block.get("text"), **citation}
        for block in blocks
        if block.get("type") == "text"
        for citation in block.get("citations") or ()
    ]


KEPT = {"_thinking": _thinking, CITATIONS: _citations, "_tool_calls": _tool_calls}
"""What becomes a column besides text and fields -> how it is read from the blocks of an answer."""


def _reason(result: RequestResult) -> str:
    if result.kind is ResultKind.ERRORED:
        return f"{result.error_type}: {result.error_message}"
    return _REASONS[result.kind]


def _checker(schema: Mapping[str, Any]) -> Callable[[Any], str | None]:
    """value -> what is wrong with it, in words; None where nothing is."""
    import jsonschema_rs

    validator = jsonschema_rs.validator_for(dict(schema))

    def first_error(value: Any) -> str | None:
        if validator.is_valid(value):
            return None
        error = next(iter(validator.iter_errors(value)))
        place = ".".join(str(step) for step in error.instance_path)
        return f"the answer breaks the schema{f' at {place}' if place else ''}: {error.message[:300]}"

    return first_error


def _normaliser(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The API does not promise the capitals of an enum, so labels get the schema's own spelling."""
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}

    def normalise(value: Any, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return value
        if isinstance(schema.get("$ref"), str):
            return normalise(value, definitions.get(schema["$ref"].rsplit("/", 1)[-1]))
        if isinstance(value, str):
            return _spelled_as(value, schema)
        if isinstance(value, dict):
            properties = schema.get("properties", {})
            return {key: normalise(item, properties.get(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [normalise(item, schema.get("items")) for item in value]
        return value

    return lambda value: normalise(value, schema)


def _spelled_as(value: str, schema: Mapping[str, Any]) -> str:
    labels = [label for label in [*schema.get("enum", ()), schema.get("const")] if isinstance(label, str)]
    for branch in schema.get("anyOf", ()):
        labels += [label for label in branch.get("enum", ()) if isinstance(label, str)]
    if value in labels:
        return value
    folded = [label for label in labels if label.casefold() == value.casefold()]
    return folded[0] if len(folded) == 1 else value
