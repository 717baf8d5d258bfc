"""Rows of a batch that end otherwise than answered, by the scenario's rules; drawn from seed, batch and custom_id."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from batchforge.emulator.api_fault import ApiFault, fault_of_type
from batchforge.emulator.scenario import RowRule, Scenario

BROKEN_TEXT = "This text is not what the schema asks for."
REFUSAL = {
    "type": "refusal",
    "category": "general_harms",
    "explanation": "The emulator was told to refuse this row.",
}


class RowRules:
    def __init__(self, scenario: Scenario, submissions: Callable[[str, int], int]) -> None:
        self._rules = scenario.rows
        self._seed = scenario.seed
        self._submissions = submissions

    def find(self, custom_id: str, batch_no: int) -> RowRule | None:
        """The first rule that hits the row."""
        for number, rule in enumerate(self._rules):
            if self._hits(number, rule, custom_id, batch_no):
                return rule
        return None

    def _hits(self, number: int, rule: RowRule, custom_id: str, batch_no: int) -> bool:
        if rule.custom_id and not re.search(rule.custom_id, custom_id):
            return False
        if not draw(rule.share, self._seed, number, batch_no, custom_id):
            return False
        return rule.submissions is None or self._submissions(custom_id, batch_no) <= rule.submissions


def draw(share: float, *of: object) -> bool:
    """The same answer for the same things; True for the given share of all things."""
    if share >= 1.0:
        return True
    digest = sha256("\x1f".join(map(str, of)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def row_fault(rule: RowRule) -> ApiFault | None:
    return fault_of_type(rule.error_type, rule.message) if rule.outcome == "errored" else None


def spoiled(message: dict[str, Any], rule: RowRule, max_tokens: int) -> dict[str, Any]:
    """The message as the rule wants it: billed, and no use."""
    match rule.outcome:
        case "refused":
            return {**message, "content": [], "stop_reason": "refusal", "stop_details": REFUSAL}
        case "schema_breaking":
            return {**message, "content": [*_thinking(message), {"type": "text", "text": BROKEN_TEXT}]}
        case "cut":
            return {**_with_output_tokens(message, max_tokens), "content": _cut(message), "stop_reason": "max_tokens"}
        case "thinking_only":
            blocks = _thinking(message) or [{"type": "thinking", "thinking": "", "signature": "ZW11bGF0b3I="}]
            return {**_with_output_tokens(message, max_tokens), "content": blocks, "stop_reason": "max_tokens"}
        case "empty":
            return {**_with_output_tokens(message, 2), "content": [], "stop_reason": "end_turn"}
        case _:
            return message


def _thinking(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == "thinking"]


def _cut(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Half of the text, as if max_tokens had come in the middle of it."""
    return [
        {**block, "text": block["text"][: len(block["text"]) // 2]} if block["type"] == "text" else block
        for block in message["content"]
        if block["type"] != "tool_use"
    ]


def _with_output_tokens(message: dict[str, Any], output_tokens: int) -> dict[str, Any]:
    return {**message, "usage": {**message["usage"], "output_tokens": output_tokens}}
