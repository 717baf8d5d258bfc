"""The form of a Messages request: parameters in, what is wrong with their names and values out. Knows no models.

Written by hand rather than as a JSON Schema: a content block is judged by its own type, so that a wrong field is named,
instead of "is not valid under any of the given schemas".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from batchforge.errors import Severity
from batchforge.nearest import did_you_mean

Path: TypeAlias = tuple[str | int, ...]
"""Where in the request: ("messages", 0, "content", 1, "text")."""


@dataclass(frozen=True, slots=True)
class Fault:
    code: str
    path: Path
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR


Form: TypeAlias = Callable[[Any, Path], Iterator[Fault]]
"""Judges one value."""

UNKNOWN = "BF401"
WRONG = "BF402"


def kind_of(value: Any) -> str:
    """The value's kind in the words of a person who writes YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value!r}" if len(value) <= 40 else "a text"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def _wrong(path: Path, value: Any, wanted: str, hint: str = "") -> Fault:
    return Fault(WRONG, path, f"must be {wanted}, and is {kind_of(value)}", hint)


def text(*, visible: bool = False) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield _wrong(path, value, "a text", "Put it in quotes." if isinstance(value, bool | int | float) else "")
        elif visible and not value.strip():
            yield Fault(WRONG, path, "holds nothing but white space")

    return form


def matching(pattern: str, wanted: str) -> Form:
    compiled = re.compile(pattern)

    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield _wrong(path, value, wanted)

    return form


def boolean(value: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(value, bool):
        yield _wrong(path, value, "true or false")


def anything(value: Any, path: Path) -> Iterator[Fault]:
    yield from ()


def mapping(value: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield _wrong(path, value, "a mapping")


def whole_number(at_least: int) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            yield _wrong(path, value, f"a whole number of {at_least:,} or more")

    return form


def number(low: float, high: float) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            yield _wrong(path, value, f"a number from {low:g} to {high:g}")

    return form


def one_of(*allowed: str) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if value not in allowed:
            hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
            yield _wrong(path, value, f"one of {', '.join(allowed)}", hint)

    return form


def optional(inner: Form) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if value is not None:
            yield from inner(value, path)

    return form


def list_of(inner: Form, *, filled: bool = False) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, list | tuple):
            yield _wrong(path, value, "a list")
            return
        if filled and not value:
            yield Fault(WRONG, path, "is an empty list")
        for index, item in enumerate(value):
            yield from inner(item, (*path, index))

    return form


def text_or(inner: Form) -> Form:
    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield from inner(value, path)

    return form


def record(
    required: Mapping[str, Form], optional_fields: Mapping[str, Form] | None = None, *, open: bool = False
) -> Form:
    """A mapping with these fields and no others, unless it is `open`."""
    known = {**required, **(optional_fields or {})}

    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield _wrong(path, value, "a mapping")
            return
        for name in required:
            if name not in value:
                yield Fault(WRONG, path, f"has no '{name}'")
        for name, item in value.items():
            if name in known:
                yield from known[name](item, (*path, name))
            elif not open:
                hint = did_you_mean(str(name), known) or f"It takes {', '.join(known)}."
                yield Fault(UNKNOWN, (*path, name), "is not a field that the API knows here", hint)

    return form


def by_type(forms: Mapping[str, Form], *, default: str | None = None) -> Form:
    """A mapping that is judged by its `type`."""

    def form(value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield _wrong(path, value, "a mapping")
            return
        kind = value.get("type") or default
        if kind is None:
            yield Fault(WRONG, path, "has no 'type'", f"A type is one of {', '.join(forms)}.")
        elif kind in forms:
            yield from forms[kind](value, path)
        else:
            hint = did_you_mean(str(kind), forms) or f"A type is one of {', '.join(forms)}."
            yield Fault(UNKNOWN, (*path, "type"), f"'{kind}' is not a type that the API knows here", hint)

    return form


CACHE_CONTROL = optional(record({"type": one_of("ephemeral")}, {"ttl": one_of("5m", "1h")}))
_TYPE = {"type": anything}
_CACHED = {"cache_control": CACHE_CONTROL}
_CITATIONS_SWITCH = optional(record({}, {"enabled": boolean}))

_IMAGE_MEDIA = one_of("image/jpeg", "image/png", "image/gif", "image/webp")
_URL_SOURCE = record({**_TYPE, "url": text(visible=True)})
_FILE_SOURCE = record({**_TYPE, "file_id": text(visible=True)})
_IMAGE_SOURCE = by_type(
    {
        "base64": record({**_TYPE, "media_type": _IMAGE_MEDIA, "data": text(visible=True)}),
        "url": _URL_SOURCE,
        "file": _FILE_SOURCE,
    }
)
_TEXT_BLOCK = record({**_TYPE, "text": text()}, {**_CACHED, "citations": optional(list_of(mapping))})
_IMAGE_BLOCK = record({**_TYPE, "source": _IMAGE_SOURCE}, {**_CACHED, "transformations": optional(mapping)})
_DOCUMENT_SOURCE = by_type(
    {
        "base64": record({**_TYPE, "media_type": one_of("application/pdf"), "data": text(visible=True)}),
        "text": record({**_TYPE, "media_type": one_of("text/plain"), "data": text()}),
        "content": record(
            {**_TYPE, "content": text_or(list_of(by_type({"text": _TEXT_BLOCK, "image": _IMAGE_BLOCK})))}
        ),
        "url": _URL_SOURCE,
        "file": _FILE_SOURCE,
    }
)
_DOCUMENT_BLOCK = record(
    {**_TYPE, "source": _DOCUMENT_SOURCE},
    {**_CACHED, "citations": _CITATIONS_SWITCH, "context": optional(text()), "title": optional(text())},
)
_SEARCH_RESULT_BLOCK = record(
    {**_TYPE, "source": text(), "title": text(), "content": list_of(by_type({"text": _TEXT_BLOCK}))},
    {**_CACHED, "citations": _CITATIONS_SWITCH},
)
_TOOL_RESULT_CONTENT = by_type(
    {
        "text": _TEXT_BLOCK,
        "image": _IMAGE_BLOCK,
        "document": _DOCUMENT_BLOCK,
        "search_result": _SEARCH_RESULT_BLOCK,
        "tool_reference": mapping,
        "browser_state": mapping,
    }
)
_TOOL_RESULT_BLOCK = record(
    {**_TYPE, "tool_use_id": text(visible=True)},
    {
        **_CACHED,
        "content": text_or(list_of(_TOOL_RESULT_CONTENT)),
        "is_error": boolean,
        "toolset_name": optional(text()),
    },
)
_TOOL_USE_BLOCK = record(
    {**_TYPE, "id": text(visible=True), "name": text(visible=True), "input": mapping},
    {**_CACHED, "caller": mapping, "toolset_name": optional(text())},
)
# What server tools leave in a conversation is sent back as it came: only its type is looked at.
_SENT_BACK_BLOCKS: dict[str, Form] = dict.fromkeys(
    (
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "container_upload",
    ),
    mapping,
)
BLOCKS: dict[str, Form] = {
    "text": _TEXT_BLOCK,
    "image": _IMAGE_BLOCK,
    "document": _DOCUMENT_BLOCK,
    "search_result": _SEARCH_RESULT_BLOCK,
    "thinking": record({**_TYPE, "thinking": text(), "signature": text()}),
    "redacted_thinking": record({**_TYPE, "data": text()}),
    "tool_use": _TOOL_USE_BLOCK,
    "tool_result": _TOOL_RESULT_BLOCK,
    **_SENT_BACK_BLOCKS,
}
_MESSAGE = record(
    {"role": one_of("user", "assistant", "system"), "content": text_or(list_of(by_type(BLOCKS), filled=True))}
)

_TOOL_NAME = matching(r"[a-zA-Z0-9_-]{1,128}", "1 to 128 letters, digits, _ and -")
_CUSTOM_TOOL = record(
    {"name": _TOOL_NAME, "input_schema": record({"type": one_of("object")}, open=True)},
    {
        **_CACHED,
        "type": optional(one_of("custom")),
        "description": text(),
        "strict": boolean,
        "allowed_callers": list_of(text()),
        "defer_loading": boolean,
        "eager_input_streaming": optional(boolean),
        "input_examples": list_of(mapping),
    },
)
_VENDOR_TOOL = record({"type": text()}, _CACHED, open=True)
VENDOR_TOOL_TYPES = (
    "bash_20250124",
    "browser_toolset_20260801",
    "code_execution_20250522",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
    "computer_toolset_20260801",
    "memory_20250818",
    "text_editor_20250124",
    "text_editor_20250429",
    "text_editor_20250728",
    "tool_search_tool_bm25",
    "tool_search_tool_bm25_20251119",
    "tool_search_tool_regex",
    "tool_search_tool_regex_20251119",
    "web_fetch_20250910",
    "web_fetch_20260209",
    "web_fetch_20260309",
    "web_fetch_20260318",
    "web_search_20250305",
    "web_search_20260209",
    "web_search_20260318",
)
_TOOL = by_type({"custom": _CUSTOM_TOOL, **dict.fromkeys(VENDOR_TOOL_TYPES, _VENDOR_TOOL)}, default="custom")

_PARALLEL = {"disable_parallel_tool_use": boolean}
_TOOL_CHOICE = by_type(
    {
        "auto": record(_TYPE, _PARALLEL),
        "any": record(_TYPE, _PARALLEL),
        "tool": record({**_TYPE, "name": text(visible=True)}, _PARALLEL),
        "none": record(_TYPE),
    }
)
_DISPLAY = {"display": optional(one_of("summarized", "omitted"))}
_THINKING = by_type(
    {
        "adaptive": record(_TYPE, _DISPLAY),
        "enabled": record({**_TYPE, "budget_tokens": whole_number(1)}, _DISPLAY),
        "disabled": record(_TYPE),
        "between_tools": record(_TYPE),
    }
)
_OUTPUT_CONFIG = record(
    {},
    {
        "effort": optional(one_of("low", "medium", "high", "xhigh", "max")),
        "format": optional(record({"type": one_of("json_schema"), "schema": mapping})),
    },
)
PARAMETERS: dict[str, Form] = {
    "model": text(visible=True),
    "max_tokens": whole_number(1),
    "messages": list_of(_MESSAGE, filled=True),
    "system": text_or(list_of(by_type({"text": _TEXT_BLOCK}))),
    "tools": list_of(_TOOL),
    "tool_choice": _TOOL_CHOICE,
    "thinking": _THINKING,
    "output_config": _OUTPUT_CONFIG,
    "stop_sequences": list_of(text(visible=True)),
    "metadata": record({}, {"user_id": optional(text())}),
    "service_tier": one_of("auto", "standard_only"),
    "inference_geo": optional(text(visible=True)),
    "cache_control": CACHE_CONTROL,
    "container": optional(text_or(mapping)),
    "diagnostics": optional(record({}, {"previous_message_id": optional(text())})),
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": whole_number(0),
    "speed": optional(one_of("standard", "fast")),
}
REQUIRED_PARAMETERS = ("model", "max_tokens", "messages")

BETA_PARAMETERS = {
    "billing_policy": "user-profiles-billing-2026-10-01",
    "compaction": "compact-2026-09-04",
    "context_management": "context-management-2025-06-27",
    "fallback_credit_token": "fallback-credit-2026-07-01",
    "fallbacks": "server-side-fallback-2026-07-01",
    "mcp_servers": "mcp-client-2026-09-15",
    "thread": "message-threads-2026-08-12",
}
"""Parameters that the API takes only with a beta header, and the newest one that we know for it."""

MISPLACED_PARAMETERS = {
    "betas": "It is a header of the whole batch: use the job's setting `betas`.",
    "output_format": "Use the job's setting `output`.",
    "effort": "Use the job's setting `effort`.",
    "user_profile_id": "It is a header: set it in the `headers` of the target.",
    "workspace_id": "Set it for the target in batchforge.yml.",
    "stream": "Answers are stored when they are whole; nothing is streamed.",
}


def parameter_faults(params: Mapping[str, Any], betas: Sequence[str]) -> Iterator[Fault]:
    """All that is wrong with names and values.

    A beta may add parameters, fields and types; with one, what we do not know is left to the API.
    """
    for name in REQUIRED_PARAMETERS:
        if name not in params:
            yield Fault(WRONG, (name,), "is missing")
    for name, value in params.items():
        if name in PARAMETERS:
            faults = PARAMETERS[name](value, (name,))
            yield from (fault for fault in faults if not (betas and fault.code == UNKNOWN))
        elif name in MISPLACED_PARAMETERS or not betas:
            yield _unknown_parameter(name)


def _unknown_parameter(name: str) -> Fault:
    if beta := BETA_PARAMETERS.get(name):
        return Fault(UNKNOWN, (name,), "is taken only with a beta header", f"Add it to the job: `betas: [{beta}]`.")
    hint = MISPLACED_PARAMETERS.get(name) or did_you_mean(name, PARAMETERS)
    return Fault(UNKNOWN, (name,), "is not a parameter of the API", hint)
