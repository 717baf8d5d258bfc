"""Answers by plain, deterministic rules that admit what they are: no model runs, and the text says so."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from batchforge.emulator.answers import Answer, Block, Params, finish, json_text, last_user_text, system_text
from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.schema_values import About, excerpt, stems, value_for

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# What a model spends on thinking at each effort, in tokens.
_THINKING_TOKENS: Mapping[str, int] = {"low": 40, "medium": 90, "high": 180, "xhigh": 400, "max": 800}
_FITTING_WORDS = 2
"""Words that a tool must share with the request to be called without being forced."""


class RuleAnswers:
    """The emulator's own answers: the same for the same request."""

    def answer(self, params: Params, model: EmulatedModel, custom_id: str | None) -> Answer:
        if params["max_tokens"] == 0:
            return Answer((), "max_tokens", 0)
        text = last_user_text(params)
        content = answer_content(params, model, text)
        if not thinks(params, model):
            return finish(content, params, model)
        thinking_tokens = _thinking_tokens(params, model, text)
        thinking = _thinking_block(params, model, text)
        return finish((thinking, *content), params, model, thinking_tokens=thinking_tokens)


def answer_content(params: Params, model: EmulatedModel, text: str) -> tuple[Block, ...]:
    """Blocks after the thinking."""
    tool = _tool_to_call(params, text)
    if tool is not None:
        return (_tool_use(tool, params, text),)
    output_format = (params.get("output_config") or {}).get("format")
    if output_format is not None:
        value = value_for(output_format["schema"], About(text, system_text(params)))
        return ({"type": "text", "text": json_text(value)},)
    return ({"type": "text", "text": _free_text(params, model, text)},)


def _free_text(params: Params, model: EmulatedModel, text: str) -> str:
    words = len(text.split())
    return (
        f"This answer is emulated: no model was run. {model.display_name} was asked with {words} "
        f"{'word' if words == 1 else 'words'}, beginning: {excerpt(text)}"
    )


def thinks(params: Params, model: EmulatedModel) -> bool:
    if _forced(params):
        return False
    kind = (params.get("thinking") or {}).get("type")
    return model.thinks_by_default if kind is None else kind in ("adaptive", "enabled")


def _thinking_tokens(params: Params, model: EmulatedModel, text: str) -> int:
    effort = (params.get("output_config") or {}).get("effort") or model.effort_default or "high"
    tokens = _THINKING_TOKENS[effort] + len(text) % 23
    budget = (params.get("thinking") or {}).get("budget_tokens")
    return tokens if budget is None else min(tokens, budget)


def _thinking_block(params: Params, model: EmulatedModel, text: str) -> Block:
    default = "omitted" if model.new_tokenizer else "summarized"
    display = (params.get("thinking") or {}).get("display") or default
    thought = f"Emulated thinking about: {excerpt(text)}" if display == "summarized" else ""
    return {"type": "thinking", "thinking": thought, "signature": _signature(text)}


def _signature(text: str) -> str:
    return "Eq" + b64encode(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=48).digest()).decode()


def _forced(params: Params) -> bool:
    return (params.get("tool_choice") or {}).get("type") in ("any", "tool")


def _tool_to_call(params: Params, text: str) -> Mapping[str, Any] | None:
    tools = [tool for tool in params.get("tools") or () if "input_schema" in tool]
    choice = params.get("tool_choice") or {"type": "auto"}
    if not tools or choice["type"] == "none":
        return None
    if choice["type"] == "tool":
        return next((tool for tool in tools if tool["name"] == choice["name"]), None)
    best, shared = _fitting_tool(tools, text)
    if choice["type"] == "any":
        return best
    return best if shared >= _FITTING_WORDS and not _answers_a_tool(params) else None


def _fitting_tool(tools: list[Mapping[str, Any]], text: str) -> tuple[Mapping[str, Any], int]:
    words = stems(text)
    shared = [len(words & _tool_words(tool["name"], tool.get("description", ""))) for tool in tools]
    best = max(shared)
    return tools[shared.index(best)], best


@lru_cache(maxsize=512)
def _tool_words(name: str, description: str) -> frozenset[bytes]:
    return stems(f"{name} {description}")


def _answers_a_tool(params: Params) -> bool:
    """The last turn brings a result, so it is time to speak."""
    content = params["messages"][-1]["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)


def _tool_use(tool: Mapping[str, Any], params: Params, text: str) -> Block:
    value = value_for(tool["input_schema"], About(text, system_text(params)))
    return {
        "type": "tool_use",
        "id": f"toolu_01{_letters(tool['name'] + text)}",
        "name": tool["name"],
        "input": value if isinstance(value, dict) else {},
        "caller": {"type": "direct"},
    }


def _letters(text: str) -> str:
    number = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=17).digest(), "big")
    letters = []
    for _ in range(22):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)
