"""A prompt as the cache sees it: blocks in the order tools, system, messages, each with the prefix that ends there.

Tools and system are the same bytes in most requests of a batch, so what was read of them is remembered by those bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from batchforge.emulator.json_bytes import json_bytes
from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.tokens import (
    MESSAGE_TOKENS,
    PROMPT_TOKENS,
    count_block,
    count_output_format,
    count_text,
    count_tool,
    tool_prompt_tokens,
)

DEFAULT_TTL = "5m"
TTL_S: Mapping[str, int] = {"5m": 300, "1h": 3600}
_DIGEST_BYTES = 16
_HEADS_REMEMBERED = 64
_LONGEST_REMEMBERED = 200_000
"""Bytes of a head: longer ones are read anew, so that what is remembered stays small."""


@dataclass(frozen=True, slots=True)
class Position:
    """One block's end: the digest of everything up to here, and its tokens."""

    digest: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A cache breakpoint: the index of its position and the life it asks for."""

    index: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Prompt:
    input_tokens: int
    positions: Sequence[Position]
    """As far as the last mark; empty without marks, since nobody asks then."""
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class _Head:
    """Tools and system."""

    digest: bytes
    tokens: int
    positions: tuple[Position, ...]
    marks: tuple[Mark, ...]


def read_prompt(params: Mapping[str, Any], model: EmulatedModel) -> Prompt:
    """Counts and prefixes of valid params."""
    head = _head(params, model)
    automatic = params.get("cache_control")
    if automatic or _marked(params["messages"]):
        return _read_all(params, model, head, automatic)
    tokens = head.tokens + PROMPT_TOKENS + _forced_tool_tokens(params, model)
    for message in params["messages"]:
        tokens += MESSAGE_TOKENS + _content_tokens(message["content"], model)
    return Prompt(tokens, head.positions if head.marks else (), head.marks)


def _content_tokens(content: Any, model: EmulatedModel) -> int:
    if isinstance(content, str):
        return count_text(content, model)
    return sum(count_block(block, model) for block in content)


def _marked(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        _mark_of(block) is not None
        for message in messages
        if not isinstance(message["content"], str)
        for block in message["content"]
    )


def _mark_of(block: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A block's own mark, or one inside a tool result, which ends where its block ends."""
    mark: Mapping[str, Any] | None = block.get("cache_control")
    if mark is None and block["type"] == "tool_result" and isinstance(block.get("content"), list):
        return next((_mark_of(inner) for inner in reversed(block["content"]) if _mark_of(inner)), None)
    return mark


def _read_all(
    params: Mapping[str, Any], model: EmulatedModel, head: _Head, automatic: Mapping[str, Any] | None
) -> Prompt:
    positions, marks = list(head.positions), list(head.marks)
    digest = _chain(head.digest, _message_settings(params, model))
    tokens = head.tokens + _forced_tool_tokens(params, model)
    last_cacheable = len(positions) - 1 if positions else None
    for message in params["messages"]:
        tokens += MESSAGE_TOKENS
        digest = _chain(digest, message["role"].encode())
        for block in blocks_of(message["content"]):
            tokens += count_block(block, model)
            digest = _chain(digest, block_bytes(block))
            positions.append(Position(digest, tokens))
            if is_cacheable(block):
                last_cacheable = len(positions) - 1
            if (mark := _mark_of(block)) is not None:
                marks.append(Mark(len(positions) - 1, ttl_s(mark)))
    if automatic and last_cacheable is not None and all(mark.index != last_cacheable for mark in marks):
        marks.append(Mark(last_cacheable, ttl_s(automatic)))
    return Prompt(tokens + PROMPT_TOKENS, positions, marks)


def blocks_of(content: Any) -> Sequence[Mapping[str, Any]]:
    """A string is short for one text block."""
    return ({"type": "text", "text": content},) if isinstance(content, str) else content


def is_cacheable(block: Mapping[str, Any]) -> bool:
    if block["type"] == "text":
        return bool(block["text"])
    return block["type"] not in ("thinking", "redacted_thinking")


def ttl_s(mark: Mapping[str, Any]) -> int:
    return TTL_S[mark.get("ttl") or DEFAULT_TTL]


def block_bytes(block: Mapping[str, Any]) -> bytes:
    """A block's identity: its own keys in any order, what is inside them in the order sent, and no marks."""
    if block["type"] == "text" and not block.get("citations"):
        return b"text\0" + str(block["text"]).encode("utf-8", "surrogatepass")
    return json_bytes({key: _unmarked(block[key]) for key in sorted(block) if key != "cache_control"})


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict) and "cache_control" in value and "type" in value:
        return {key: inner for key, inner in value.items() if key != "cache_control"}
    return value


def _chain(digest: bytes, data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES, key=digest).digest()


_heads: dict[tuple[Any, ...], _Head] = {}


def _head(params: Mapping[str, Any], model: EmulatedModel) -> _Head:
    system, tools = params.get("system"), params.get("tools")
    system_bytes = system if system is None or isinstance(system, str) else json_bytes(system)
    tools_bytes = json_bytes(tools) if tools else b""
    if len(system_bytes or "") + len(tools_bytes) > _LONGEST_REMEMBERED:
        return _read_head(params, model)
    key = (model.id, system_bytes, tools_bytes, _system_settings(params))
    head = _heads.get(key)
    if head is None:
        if len(_heads) >= _HEADS_REMEMBERED:
            _heads.clear()
        head = _heads[key] = _read_head(params, model)
    return head


def _read_head(params: Mapping[str, Any], model: EmulatedModel) -> _Head:
    positions: list[Position] = []
    marks: list[Mark] = []
    digest, tokens = _chain(b"", model.id.encode()), 0
    for block, block_tokens, data in _head_blocks(params, model):
        tokens += block_tokens
        digest = _chain(digest, data)
        if block is None:
            continue
        positions.append(Position(digest, tokens))
        if (mark := block.get("cache_control")) is not None:
            marks.append(Mark(len(positions) - 1, ttl_s(mark)))
    return _Head(digest, tokens, tuple(positions), tuple(marks))


def _head_blocks(
    params: Mapping[str, Any], model: EmulatedModel
) -> Iterator[tuple[Mapping[str, Any] | None, int, bytes]]:
    """Blocks with their tokens and bytes; None stands for what the API itself puts between them."""
    tools = params.get("tools") or ()
    if tools:
        yield None, tool_prompt_tokens(model, forced=False), b"tools"
    for tool in tools:
        yield tool, count_tool(tool, model), block_bytes({"type": "custom", **tool})
    yield None, count_output_format(_output_format(params), model), _system_settings(params)
    for block in blocks_of(params.get("system") or ()):
        yield block, count_block(block, model), block_bytes(block)


def _output_format(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (params.get("output_config") or {}).get("format")


def _system_settings(params: Mapping[str, Any]) -> bytes:
    """What loses the system and messages caches, and keeps that of the tools."""
    output_format, speed, cites = _output_format(params), params.get("speed"), _cites(params["messages"])
    if output_format is None and speed in (None, "standard") and not cites:
        return b"system"
    return json_bytes(["system", output_format, speed, cites])


def _cites(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        (block.get("citations") or {}).get("enabled")
        for message in messages
        if not isinstance(message["content"], str)
        for block in message["content"]
        if block["type"] in ("document", "search_result")
    )


def _message_settings(params: Mapping[str, Any], model: EmulatedModel) -> bytes:
    """What loses the messages cache alone. A default written out is the same as one left out."""
    effort = (params.get("output_config") or {}).get("effort") or model.effort_default
    thinking = params.get("thinking") or _default_thinking(model)
    return json_bytes(["messages", effort, thinking, _tool_choice(params), _has_images(params["messages"])])


def _default_thinking(model: EmulatedModel) -> Mapping[str, Any]:
    return {"type": "adaptive" if model.thinks_by_default else "disabled"}


def _tool_choice(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choice: Mapping[str, Any] | None = params.get("tool_choice")
    return None if choice == {"type": "auto"} else choice


def _has_images(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(block["type"] == "image" for message in messages for block in blocks_of(message["content"]))


def _forced_tool_tokens(params: Mapping[str, Any], model: EmulatedModel) -> int:
    """The longer hidden prompt of a forced tool belongs to the messages: tool_choice leaves the tools cache alone."""
    choice = params.get("tool_choice")
    if not choice or not params.get("tools") or choice["type"] not in ("any", "tool"):
        return 0
    return tool_prompt_tokens(model, forced=True) - tool_prompt_tokens(model, forced=False)
