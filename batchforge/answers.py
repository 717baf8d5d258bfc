"""A message and what its job asked for -> the answer's values, or why it is none. Succeeded is not yet answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

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
        self._has_tools, self._has_citations = has_tools, has_citations
        self.columns = (*_columns(output, has_tools), *((CITATIONS,) if has_citations else ()))
        self._normalise = _normaliser(output.schema) if output.schema is not None else None
        self._first_error = _checker(output.schema) if output.schema is not None else None

    def read(self, result: RequestResult) -> Answer:
        blocks = _blocks(result.message)
        text = "".join(b.get("text", "") for b in blocks if b.get("type") == "text")
        if result.kind is not ResultKind.ANSWERED:
            return Answer(result.kind.value, {}, text, _reason(result))
        values: dict[str, Any] = {"_tool_calls": _tool_calls(blocks)} if self._has_tools else {}
        if self._has_citations:
            values[CITATIONS] = _citations(blocks)
        if self._output.schema is None or (self._has_tools and not text):
            return Answer("answered", values | {self._output.text_column: text}, text)
        return self._structured(text, values)

    def _structured(self, text: str, values: dict[str, Any]) -> Answer:
        assert self._normalise is not None
        assert self._first_error is not None
        try:
            # json, not msgspec: numbers beyond 64 bits stay exact.
            value = json.loads(text)
        except ValueError as exc:
            return Answer(INVALID, {}, text, f"the answer is not JSON: {exc}")
        value = self._normalise(value)
        error = self._first_error(value)
        if error is not None:
            return Answer(INVALID, {}, text, error)
        fields = value if isinstance(value, dict) else {self._output.text_column: value}
        return Answer("answered", values | {column: fields.get(column) for column in self._answer_columns()}, text)

    def _answer_columns(self) -> Sequence[str]:
        return [column for column in self.columns if column not in ("_tool_calls", CITATIONS)]


def column_kinds(output: OutputSpec) -> dict[str, str]:
    """Column of the answer -> its type for Parquet: text, integer, number, boolean, json, or a list such as text[]."""
    if output.schema is None:
        return {output.text_column: "text"}
    properties = output.schema.get("properties", {})
    return {name: kind for name, schema in properties.items() if (kind := _kind(schema)) is not None}


def _kind(schema: Mapping[str, Any]) -> str | None:
    simple = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "object": "json"}
    kind = schema.get("type")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        item = _kind(schema["items"])
        return f"{item}[]" if item and not item.endswith("[]") and item != "json" else "json"
    return simple.get(kind) if isinstance(kind, str) else None


def _columns(output: OutputSpec, has_tools: bool) -> tuple[str, ...]:
    schema = output.schema
    named = tuple(schema["properties"]) if schema and schema.get("type") == "object" and "properties" in schema else ()
    return (named or (output.text_column,)) + (("_tool_calls",) if has_tools else ())


def _blocks(message: bytes | None) -> list[dict[str, Any]]:
    content = msgspec.json.decode(message).get("content") if message else None
    return [block for block in content or [] if isinstance(block, dict)]


def _tool_calls(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": b.get("name"), "input": b.get("input")} for b in blocks if b.get("type") == "tool_use"]


def _citations(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the answer rests on, in its order: each place as the API names it, with the part of the answer it is for."""
    return [
        {"answer": block.get("text"), **citation}
        for block in blocks
        if block.get("type") == "text"
        for citation in block.get("citations") or ()
    ]


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
