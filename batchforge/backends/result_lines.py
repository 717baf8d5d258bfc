"""One line of a results file, or one message -> `RequestResult`, without going through the SDK's models.

The message is kept byte for byte; only what decides its kind is decoded (8 times faster than the typed decoder).
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchforge.results import RequestResult, ResultKind, Usage


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _ServerToolUse(msgspec.Struct):
    web_search_requests: int | None = None


class _Usage(msgspec.Struct):
    """Servers that only resemble the API leave fields out, or null."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    inference_geo: str | None = None
    server_tool_use: _ServerToolUse | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Error(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _ErrorResponse(msgspec.Struct):
    """The API nests the error twice; a server that nests it once is understood too."""

    error: _Error | None = None
    type: str = "api_error"
    message: str = ""
    request_id: str | None = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"")
    error: _ErrorResponse | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_KINDS_WITHOUT_MESSAGE = {"canceled": ResultKind.CANCELED, "expired": ResultKind.EXPIRED}


class UnreadableLine(ValueError):
    """A line that names no request: the stream was cut, or it is not the API that answers."""


class _Name(msgspec.Struct):
    custom_id: str


def parse_result_line(line: bytes) -> RequestResult:
    """A whole line of an unknown form is kept as an error of its request: it may hold an answer that was paid.

    Raises:
        UnreadableLine: not a result line.
    """
    try:
        decoded = _decode_line(line)
        if decoded.result.type == "succeeded":
            return message_result(decoded.custom_id, bytes(decoded.result.message))
    except msgspec.DecodeError as exc:
        return _unreadable(line, exc)
    kind = _KINDS_WITHOUT_MESSAGE.get(decoded.result.type)
    if kind is not None:
        return RequestResult(decoded.custom_id, kind)
    return _errored(decoded.custom_id, decoded.result)


def _unreadable(line: bytes, reason: msgspec.DecodeError) -> RequestResult:
    try:
        name = msgspec.json.decode(line, type=_Name)
    except msgspec.DecodeError as exc:
        raise UnreadableLine(f"{exc}, after {len(line):,} bytes of a line") from exc
    return RequestResult(
        name.custom_id,
        ResultKind.ERRORED,
        message=line,
        error_type="unreadable_result",
        error_message=f"the result has a form that this version does not know: {reason}",
    )


def message_result(custom_id: str, message: bytes) -> RequestResult:
    """The result that a message is.

    Raises:
        msgspec.DecodeError: not a message.
    """
    decoded = _decode_message(message)
    usage = decoded.usage or _Usage()
    return RequestResult(
        custom_id,
        _kind(decoded),
        usage=_usage(usage),
        message=message,
        message_id=decoded.id,
        model=decoded.model,
        stop_reason=decoded.stop_reason,
        inference_geo=usage.inference_geo,
    )


def _errored(custom_id: str, result: _Result) -> RequestResult:
    response = result.error or _ErrorResponse(message=f"result of unknown type {result.type!r}")
    error: Any = response.error or response
    return RequestResult(
        custom_id,
        ResultKind.ERRORED,
        error_type=error.type,
        error_message=error.message,
        api_request_id=response.request_id,
    )


def _kind(message: _Message) -> ResultKind:
    has_answer = any(b.text or b.type not in {"text", "thinking", "redacted_thinking"} for b in message.content)
    match message.stop_reason:
        case "refusal":
            return ResultKind.REFUSED
        case "max_tokens":
            return ResultKind.TRUNCATED if has_answer or not message.content else ResultKind.THINKING_ONLY
        case "model_context_window_exceeded":
            return ResultKind.CONTEXT_EXCEEDED
        case "pause_turn":
            return ResultKind.PAUSED
        case _:
            return ResultKind.ANSWERED if has_answer else ResultKind.EMPTY


def _usage(usage: _Usage) -> Usage:
    written = usage.cache_creation_input_tokens or 0
    # A server that does not split its writes by life is taken to have written for five minutes, the default.
    split = usage.cache_creation or _CacheCreation(ephemeral_5m_input_tokens=written)
    return Usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.cache_read_input_tokens or 0,
        split.ephemeral_5m_input_tokens,
        split.ephemeral_1h_input_tokens,
        (usage.server_tool_use.web_search_requests or 0) if usage.server_tool_use else 0,
    )
