"""A finished message as the server-sent events that a stream of it would have been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

EVENT_STREAM = "text/event-stream; charset=utf-8"
PIECE_CHARACTERS = 40
_DELTA_USAGE = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def stream_events(message: dict[str, Any]) -> Iterator[bytes]:
    yield _event("message_start", {"message": _opening(message)})
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
        if index == 0:
            yield _event("ping", {})
    yield _event("message_delta", {"delta": _stop(message), "usage": _final_usage(message["usage"])})
    yield _event("message_stop", {})


def _opening(message: dict[str, Any]) -> dict[str, Any]:
    """The message before its first word."""
    usage = {key: value for key, value in message["usage"].items() if key != "output_tokens_details"}
    nothing_yet: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    return {**message, **nothing_yet, "usage": {**usage, "output_tokens": 1}}


def _stop(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}


def _final_usage(usage: dict[str, Any]) -> dict[str, Any]:
    final = {key: usage[key] for key in _DELTA_USAGE}
    return {**final, "output_tokens_details": usage["output_tokens_details"]}


def _block_events(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    start, deltas = _parts(block)
    yield _event("content_block_start", {"index": index, "content_block": start})
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta})
    yield _event("content_block_stop", {"index": index})


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and what is added to it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use" | "server_tool_use":
            pieces = ["", *_pieces(msgspec.json.encode(block["input"]).decode())]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case _:
            return block, []


def _pieces(text: str) -> list[str]:
    return [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"type": name, **data}))
