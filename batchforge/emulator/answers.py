"""Answers: what a source of answers gives for a request, and how an answer is cut to what the request allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from batchforge.emulator.api_fault import ApiFault
from batchforge.emulator.json_bytes import json_bytes
from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.tokens import TOOL_TOKENS, count_input_tokens, count_json, count_text, tokens_at_most

Params = Mapping[str, Any]
Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a Message that a model makes."""

    content: Sequence[Block]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None


class AnswerSource(Protocol):
    """Where answers come from. Params are valid; the custom_id is None outside batches."""

    def answer(self, params: Params, model: EmulatedModel, custom_id: str | None) -> Answer | ApiFault: ...


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens an answer may have, and why it stops when they are spent."""

    tokens: int
    when_spent: str = "max_tokens"


def room_for(params: Params, model: EmulatedModel) -> Room:
    """max_tokens, or what the prompt leaves of the context window."""
    most: int = params["max_tokens"]
    if tokens_at_most(params) + most <= model.context_window_tokens:
        return Room(most)
    left = model.context_window_tokens - count_input_tokens(params, model)
    return Room(most) if most <= left else Room(left, "model_context_window_exceeded")


def finish(
    content: Sequence[Block],
    params: Params,
    model: EmulatedModel,
    *,
    thinking_tokens: int = 0,
    stop_reason: str | None = None,
    stop_details: Mapping[str, Any] | None = None,
) -> Answer:
    """Stopped at a stop sequence, cut to its room (which thinking takes first), and counted."""
    room = room_for(params, model)
    if thinking_tokens >= room.tokens:
        thought = tuple(block for block in content if block["type"] == "thinking")
        return Answer(thought, room.when_spent, room.tokens, room.tokens)
    kept: list[Block] = []
    spent = thinking_tokens
    for block in content:
        block, stop_sequence = _stopped(block, params.get("stop_sequences"))
        tokens = _output_tokens(block, model)
        if tokens > room.tokens - spent:
            kept.extend(_cut(block, room.tokens - spent, model))
            return Answer(tuple(kept), room.when_spent, room.tokens, thinking_tokens)
        if not _is_empty(block):
            kept.append(block)
        spent += tokens
        if stop_sequence is not None:
            return Answer(tuple(kept), "stop_sequence", max(spent, 1), thinking_tokens, stop_sequence)
    stop_reason = stop_reason or ("tool_use" if any(block["type"] == "tool_use" for block in kept) else "end_turn")
    return Answer(tuple(kept), stop_reason, max(spent, 1), thinking_tokens, stop_details=stop_details)


def _stopped(block: Block, sequences: Sequence[str] | None) -> tuple[Block, str | None]:
    """The block up to the first stop sequence in it."""
    if not sequences or block["type"] != "text":
        return block, None
    text = block["text"]
    found = [(at, sequence) for sequence in sequences if (at := text.find(sequence)) >= 0]
    if not found:
        return block, None
    at, sequence = min(found)
    return {**block, "text": text[:at]}, sequence


def _is_empty(block: Block) -> bool:
    """The API never answers with an empty text."""
    return block["type"] == "text" and not block["text"]


def _output_tokens(block: Block, model: EmulatedModel) -> int:
    """Thinking is counted by itself: its tokens are not those of what is shown of it."""
    if block["type"] == "text":
        return count_text(block["text"], model)
    if block["type"] in ("thinking", "redacted_thinking"):
        return 0
    if block["type"] == "tool_use":
        return TOOL_TOKENS + count_text(block["name"], model) + count_json(block["input"], model)
    return count_json(block, model)


def _cut(block: Block, room: int, model: EmulatedModel) -> Sequence[Block]:
    """What of a block fits. Of a call nothing but its name can be shown, since half an input is no JSON."""
    if room <= 0:
        return ()
    if block["type"] == "text":
        text = cut_text(block["text"], room, model)
        return ({**block, "text": text},) if text else ()
    return ({**block, "input": {}},) if block["type"] == "tool_use" else ()


def cut_text(text: str, tokens: int, model: EmulatedModel) -> str:
    """The longest beginning of the text of at most so many tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count_text(text[:middle], model) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def last_user_text(params: Params) -> str:
    """The text of the last user turn; of tool results, where that is all there is."""
    for message in reversed(params["messages"]):
        if message["role"] == "user":
            return text_of(message["content"])
    return ""


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (_block_text(block) for block in content or ())))


def _block_text(block: Block) -> str:
    match block["type"]:
        case "text":
            return str(block["text"])
        case "tool_result" | "search_result":
            return text_of(block.get("content"))
        case "document":
            source = block["source"]
            return str(source["data"]) if source["type"] == "text" else text_of(source.get("content"))
    return ""


def system_text(params: Params) -> str:
    return text_of(params.get("system"))


def json_text(value: object) -> str:
    return json_bytes(value).decode()
