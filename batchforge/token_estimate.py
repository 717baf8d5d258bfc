"""Texts and requests -> how many tokens they are, estimated offline, and an upper bound on it.

A text is measured by counting what drives its tokens (letters, words, digits, punctuation, lines, other scripts) and
weighing the counts. The weights were fitted to public recordings of real requests with their billed tokens, and to
public measurements of how the two tokenizer families differ. On recorded answers (English prose, Markdown, code) the
estimate is mostly within 10 %; for other languages in Latin letters within 25 %, for other scripts within 30 %.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from operator import mul
from typing import Any

from batchforge.claude_models import ModelInfo, TokenizerFamily, ToolPromptTokens

TYPICAL_ERROR = 0.15
"""Relative error to state beside an estimate, until a job has results of its own to learn from."""

COUNTED = (
    "words", "letters", "capitals after capitals", "numbers", "digits", "marks", "runs of marks", "line ends",
    "pairs of spaces",
    "accented", "greek", "cyrillic", "right to left", "indic", "typographic", "kana", "chinese", "hangul", "emoji",
)  # fmt: skip

WEIGHTS: dict[TokenizerFamily, tuple[float, ...]] = {
    "v1": (
        0.476, 0.136, 1.23, 1.33, 0.106, 0.208, 0.578, 1.35, 0.2,
        2.99, 1.46, 0.67, 1.5, 1.9, 0.777, 1.43, 0.92, 1.13, 4.22,
    ),
    # The newer tokenizer pays by the letter instead of by the word, and treats all else as the older one does.
    "v2": (
        0.0, 0.346, 1.23, 1.33, 0.106, 0.208, 0.578, 1.35, 0.2,
        1.5, 1.46, 0.67, 1.5, 1.9, 0.777, 1.43, 0.92, 1.13, 4.22,
    ),
}  # fmt: skip
"""Tokens for each thing in COUNTED."""


def _classes(members: Mapping[bytes, Iterable[int]], other: bytes) -> bytes:
    """A translation table that turns each byte into the letter of its class."""
    table = bytearray(other * 256)
    for letter, codes in members.items():
        for code in codes:
            table[code] = letter[0]
    return bytes(table)


_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789"
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_OTHER_SCRIPTS = {  # by the first byte of a character in UTF-8, in the order of COUNTED
    b"l": range(0xC2, 0xCC),
    b"g": range(0xCC, 0xD0),
    b"y": range(0xD0, 0xD5),
    b"r": range(0xD5, 0xE0),
    b"i": range(0xE0, 0xE2),
    b"p": range(0xE2, 0xE3),
    b"k": range(0xE3, 0xE4),
    b"c": range(0xE4, 0xEA),
    b"h": range(0xEA, 0xF0),
    b"e": range(0xF0, 0xF5),
}
_CHARACTERS = _classes(
    {b"a": _LETTERS, b"A": _LETTERS.upper(), b"0": _DIGITS, b" ": b" \t", b"\n": b"\n\r", **_OTHER_SCRIPTS}, b"."
)
# Three coarser ones, to find where words, numbers and runs of marks begin.
_IN_WORDS = _classes({b"a": _LETTERS + _LETTERS.upper() + bytes(range(0xC3, 0xC9))}, b" ")
_IN_NUMBERS = _classes({b"0": _DIGITS}, b" ")
_MARKS = _classes({b".": b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}, b" ")


def count_text(text: str | bytes) -> tuple[int, ...]:
    """The counts of a text (bytes: UTF-8), in the order of COUNTED; without the other scripts where it is ASCII.

    Everything is counted by translating bytes and searching in them, which is fast: about 20 ns a character.
    """
    data = _utf8(text)
    is_ascii = data.isascii()
    characters = data.translate(_CHARACTERS) if is_ascii else data.translate(_CHARACTERS, _CONTINUATION_BYTES)
    # Without its small letters a text is short, and the humps of a camelCase name are capitals side by side.
    rest = characters.translate(None, b"a")
    digits, marks = rest.count(b"0"), data.translate(_MARKS)
    counts = (
        _runs(data.translate(_IN_WORDS, b"" if is_ascii else _CONTINUATION_BYTES), b"a"),
        len(characters) - len(rest) + rest.count(b"A"),
        rest.count(b"AA"),
        _runs(data.translate(_IN_NUMBERS), b"0") if digits else 0,
        digits,
        marks.count(b"."),
        _runs(marks, b"."),
        rest.count(b"\n"),
        characters.count(b"  "),
    )
    return counts if is_ascii else counts + tuple(map(rest.count, _OTHER_SCRIPTS))


def _runs(data: bytes, letter: bytes) -> int:
    return data.count(b" " + letter) + data.startswith(letter)


def tokens_of_counts(counts: tuple[int, ...], family: TokenizerFamily) -> float:
    return float(sum(map(mul, counts, WEIGHTS[family])))


def estimate_text_tokens(text: str | bytes, family: TokenizerFamily) -> float:
    """Tokens of a text (bytes: UTF-8) alone, without the message around it. Never more than one a byte."""
    data = _utf8(text)
    return min(tokens_of_counts(count_text(data), family), float(len(data)))


def estimate_json_text_tokens(piece: bytes, family: TokenizerFamily) -> float:
    """Tokens of a text that is given as a JSON string, with its quotes and escapes, as compiled rows keep theirs."""
    text: str = json.loads(piece)
    return estimate_text_tokens(text, family)


def _utf8(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


# What the API adds around the texts; measured on public recordings.
FIRST_MESSAGE_TOKENS = 7
FURTHER_MESSAGE_TOKENS = 4
TOOL_CALL_TOKENS: dict[TokenizerFamily, int] = {"v1": 27, "v2": 16}
"""Around each tool_use and each tool_result."""
OUTPUT_FORMAT_TOKENS: dict[TokenizerFamily, int] = {"v1": 130, "v2": 152}
"""The hidden instructions that come with an output format, without its schema."""
THINKING_BUDGET_TOKENS = 29
"""The hidden instructions that come with `thinking: {type: enabled}`."""
TOOL_PROMPT_TOKENS: dict[TokenizerFamily, ToolPromptTokens] = {
    "v1": ToolPromptTokens(auto=496, forced=588),
    "v2": ToolPromptTokens(auto=286, forced=406),
}
"""For models of which no figure is published: that of the nearest model of the family."""


def estimate_params_tokens(params: Mapping[str, Any], model: ModelInfo | None) -> float:
    """Input tokens of a whole request: its texts, the project's files and what the API adds around them. Images and
    documents that stand in the job as the API takes them are not counted.

    An unknown model counts like the newest ones.
    """
    family: TokenizerFamily = model.tokenizer if model else "v2"
    messages = params.get("messages") or ()
    parts = len(messages) + bool(params.get("system"))
    tokens = float(FIRST_MESSAGE_TOKENS + max(parts - 1, 0) * FURTHER_MESSAGE_TOKENS)
    tokens += _content_tokens(params.get("system"), family)
    tokens += sum(_content_tokens(message.get("content"), family) for message in messages)
    tokens += _tools_tokens(params, model, family) + _output_format_tokens(params, family)
    if (params.get("thinking") or {}).get("type") == "enabled":
        tokens += THINKING_BUDGET_TOKENS
    return tokens


def _content_tokens(content: Any, family: TokenizerFamily) -> float:
    if isinstance(content, str):
        return estimate_text_tokens(content, family)
    return sum(_block_tokens(block, family) for block in content or ())


def _block_tokens(block: Mapping[str, Any], family: TokenizerFamily) -> float:
    if "_file" in block:
        return float(block["_file"].get("tokens", 0.0))
    match block.get("type"):
        case "text":
            return estimate_text_tokens(block["text"], family)
        case "tool_use":
            return TOOL_CALL_TOKENS[family] + _json_tokens([block.get("name"), block.get("input")], family)
        case "tool_result":
            return TOOL_CALL_TOKENS[family] + _content_tokens(block.get("content"), family)
        case "document" | "search_result":
            return sum(estimate_text_tokens(text, family) for text in _texts_within(block))
    return 0.0


def _texts_within(value: Any) -> Iterator[str]:
    """Texts of a document or a search result: `title`, `context`, `text`, and `data` where it is plain text."""
    if isinstance(value, Mapping):
        is_binary = value.get("type") == "base64"
        for name, item in value.items():
            if isinstance(item, str) and name in ("title", "context", "text", "data", "content") and not is_binary:
                yield item
            elif not isinstance(item, str):
                yield from _texts_within(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_within(item)


def _tools_tokens(params: Mapping[str, Any], model: ModelInfo | None, family: TokenizerFamily) -> float:
    tools = params.get("tools")
    if not tools:
        return 0.0
    prompt = (model.tool_prompt_tokens if model else None) or TOOL_PROMPT_TOKENS[family]
    is_forced = (params.get("tool_choice") or {}).get("type") in ("any", "tool")
    seen = ({name: tool[name] for name in ("name", "description", "input_schema") if name in tool} for tool in tools)
    return (prompt.forced if is_forced else prompt.auto) + sum(_json_tokens(tool, family) for tool in seen)


def _output_format_tokens(params: Mapping[str, Any], family: TokenizerFamily) -> float:
    output_format = (params.get("output_config") or {}).get("format")
    if not output_format:
        return 0.0
    return OUTPUT_FORMAT_TOKENS[family] + _json_tokens(output_format.get("schema"), family)


def _json_tokens(value: Any, family: TokenizerFamily) -> float:
    return estimate_text_tokens(json.dumps(value, ensure_ascii=False), family)


FIXED_BOUND_TOKENS = 100
TOOLS_BOUND_TOKENS = 1_000
OUTPUT_FORMAT_BOUND_TOKENS = 400


def upper_bound_tokens(body_bytes: int, *, has_tools: bool = True, has_output_format: bool = True) -> int:
    """No request of text has more input tokens than this, given the size of its JSON body.

    A token stands for at least one byte of text, and JSON only makes a text longer; the frame around a message or a
    tool call takes more bytes in JSON than tokens in the prompt. What the API adds once (its own instructions for
    tools and output formats) is less than the constants. See `unbounded_inputs` for what this does not hold for.
    """
    tokens = body_bytes + FIXED_BOUND_TOKENS
    return tokens + has_tools * TOOLS_BOUND_TOKENS + has_output_format * OUTPUT_FORMAT_BOUND_TOKENS


def unbounded_inputs(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Why no upper bound on the input follows from the body's size; empty where one does."""
    reasons = {f"the tool {tool['type']}" for tool in params.get("tools") or () if _runs_at_the_server(tool)}
    if params.get("mcp_servers"):
        reasons.add("MCP servers")
    for message in params.get("messages") or ():
        content = message.get("content")
        blocks = () if isinstance(content, str) else content or ()
        media = (block for block in blocks if block.get("type") in ("image", "document") and "_file" not in block)
        reasons |= {f"{block['type']} blocks" for block in media}
    return tuple(sorted(reasons))


def _runs_at_the_server(tool: Mapping[str, Any]) -> bool:
    return str(tool.get("type") or "").startswith(
        ("web_search", "web_fetch", "code_execution", "tool_search", "advisor")
    )
