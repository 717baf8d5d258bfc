"""A request's body -> lines that a person reads: a heading for each part, texts as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_TEXTS = ("system", "messages")


def readable_lines(params: Mapping[str, Any]) -> list[str]:
    """Everything but the texts as `name: value`, then each text under [system], [user]."""
    return [*_setting_lines(params), *_prompt_lines(params)]


def _setting_lines(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        if name in _TEXTS:
            continue
        if isinstance(value, dict | list):
            yield f"{name}:"
            yield from (f"  {line}" for line in json.dumps(value, ensure_ascii=False, indent=2).split("\n"))
        else:
            yield f"{name}: {json.dumps(value, ensure_ascii=False)}"


def _prompt_lines(params: Mapping[str, Any]) -> Iterator[str]:
    if params.get("system"):
        yield "[system]"
        yield from _text_lines(params["system"])
    for message in params.get("messages", ()):
        yield f"[{message['role']}]"
        yield from _text_lines(message["content"])


def _text_lines(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.split("\n")
    elif isinstance(value, list):
        for item in value:
            yield from _text_lines(item)
    elif isinstance(value, Mapping):
        if value.get("type") == "text":
            yield from _text_lines(value["text"])
        elif "content" in value:
            yield f"[{value.get('type', '')}]"
            yield from _text_lines(value["content"])
        else:
            yield json.dumps(value, ensure_ascii=False)
