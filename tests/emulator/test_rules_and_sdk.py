"""Every field that the official SDK can send is known: a wrong value is refused for itself, not as an extra."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
from anthropic import types
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase

from batchforge.emulator.rules import Endpoint, check_params

# Sent as headers.
HEADERS = {"user_profile_id", "workspace_id"}
WRONG = {"wrong": ["type"]}


def refusal(params: dict[str, Any], endpoint: Endpoint = "messages") -> str:
    fault = check_params(params, api_version="2026-10-21", endpoint=endpoint, betas=frozenset())
    return "" if fault is None else fault.message


def asked(**changes: Any) -> dict[str, Any]:
    base = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
    return {**base, **changes}


@pytest.mark.parametrize("name", sorted({*MessageCreateParamsBase.__annotations__} - HEADERS))
def test_every_field_of_a_message_is_known(name: str) -> None:
    assert "Extra inputs" not in refusal(asked(**{name: WRONG})).replace("wrong: Extra inputs", "")


@pytest.mark.parametrize("name", sorted({*MessageCountTokensParams.__annotations__} - HEADERS))
def test_every_field_of_a_count_is_known(name: str) -> None:
    counted = {key: value for key, value in asked().items() if key != "max_tokens"}
    message = refusal({**counted, name: WRONG}, "count_tokens")
    assert "Extra inputs" not in message.replace("wrong: Extra inputs", "")


def _variants(union: Any) -> Iterator[tuple[str, type]]:
    """Each typed dict of a union with the value of its `type`."""
    for variant in get_args(union):
        hints = get_type_hints(variant)
        for tag in _literals(hints.get("type")):
            yield tag, variant


def _literals(hint: Any) -> list[str]:
    found = [arg for arg in get_args(hint) if isinstance(arg, str)]
    return found or [text for arg in get_args(hint) if get_args(arg) for text in _literals(arg)]


BLOCKS = dict(_variants(types.content_block_param.ContentBlockParam))
TOOLS = dict(_variants(types.tool_union_param.ToolUnionParam))
FILLED: dict[str, Any] = {
    "text": "x", "source": {"type": "url", "url": "https://example.com"}, "id": "a", "name": "a", "input": {},
    "tool_use_id": "a", "content": [], "signature": "x", "thinking": "x", "data": "x", "file_id": "a", "title": "t",
}  # fmt: skip


def test_the_sdk_has_the_blocks_and_tools_that_are_looked_at() -> None:
    assert {"text", "image", "document", "tool_result", "web_search_tool_result"} <= BLOCKS.keys()
    assert {"custom", "bash_20250124", "web_search_20260318", "browser_toolset_20260801"} <= TOOLS.keys()


@pytest.mark.parametrize(
    ("tag", "name"), [(tag, name) for tag, kind in sorted(BLOCKS.items()) for name in kind.__annotations__]
)
def test_every_field_of_every_block_is_known(tag: str, name: str) -> None:
    kind = BLOCKS[tag]
    required = {field: FILLED[field] for field in kind.__required_keys__ if field != "type"}  # type: ignore[attr-defined]
    if tag == "search_result":
        required["source"] = "s"
    block = {**required, "type": tag, **({} if name == "type" else {name: WRONG})}
    message = refusal(asked(messages=[{"role": "user", "content": [block]}]))
    assert f"{name}: Extra inputs" not in message
    assert "does not match any of the expected tags" not in message.split(f"{tag}.")[0]


@pytest.mark.parametrize(
    ("tag", "name"), [(tag, name) for tag, kind in sorted(TOOLS.items()) for name in kind.__annotations__]
)
def test_every_field_of_every_tool_is_known(tag: str, name: str) -> None:
    kind = TOOLS[tag]
    hints = get_type_hints(kind)
    tool: dict[str, Any] = {"type": tag}
    if "name" in kind.__annotations__:
        tool["name"] = next(iter(_literals(hints["name"])), "a")
    if tag == "custom":
        tool["input_schema"] = {"type": "object"}
    assert refusal(asked(tools=[tool])) == ""
    message = refusal(asked(tools=[{**tool, **({} if name == "type" else {name: WRONG})}]))
    assert f"{name}: Extra inputs" not in message
