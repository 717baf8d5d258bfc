"""Deterministic token counts: a text by its classes of bytes, tools and images by the published numbers.

Counts are plausible, not Claude's: of two tokenizer families, the newer one gives about 30 % more. Every count of a
text is at most its number of UTF-8 bytes, and a prompt's count is the sum of its blocks' counts, so usage adds up.
"""

from __future__ import annotations

import binascii
import math
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchforge.emulator.json_bytes import json_bytes
from batchforge.emulator.models import EmulatedModel

# Bytes of one class weigh the same, in hundredths of a token. Continuation bytes of UTF-8 weigh nothing.
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = b"0123456789"
_BLANKS = b" \t\r\n"
_PUNCTUATION = bytes(byte for byte in range(128) if byte not in _LETTERS + _DIGITS + _BLANKS)
_TWO_BYTE_LEADS = bytes(range(0xC2, 0xE0))
_THREE_BYTE_LEADS = bytes(range(0xE0, 0xF0))
_FOUR_BYTE_LEADS = bytes(range(0xF0, 0xF5))


def _all_but(kept: bytes) -> bytes:
    return bytes(byte for byte in range(256) if byte not in kept)


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    letter: int
    digit: int
    blank: int
    punctuation: int
    two_bytes: int
    three_bytes: int
    four_bytes: int

    def count(self, data: bytes) -> int:
        letters = len(data.translate(None, _BUT_LETTERS))
        digits = len(data.translate(None, _BUT_DIGITS))
        blanks = len(data.translate(None, _BUT_BLANKS))
        weight = letters * self.letter + digits * self.digit + blanks * self.blank
        rest = len(data) - letters - digits - blanks
        if rest:
            weight += self._weight_of_the_rest(data.translate(None, _LETTERS + _DIGITS + _BLANKS))
        return (weight + 99) // 100

    def _weight_of_the_rest(self, data: bytes) -> int:
        punctuation = len(data.translate(None, _BUT_PUNCTUATION))
        weight = punctuation * self.punctuation
        if punctuation < len(data):
            weight += len(data.translate(None, _BUT_TWO_BYTE_LEADS)) * self.two_bytes
            weight += len(data.translate(None, _BUT_THREE_BYTE_LEADS)) * self.three_bytes
            weight += len(data.translate(None, _BUT_FOUR_BYTE_LEADS)) * self.four_bytes
        return weight


_BUT_LETTERS, _BUT_DIGITS, _BUT_BLANKS = _all_but(_LETTERS), _all_but(_DIGITS), _all_but(_BLANKS)
_BUT_PUNCTUATION = _all_but(_PUNCTUATION)
_BUT_TWO_BYTE_LEADS, _BUT_THREE_BYTE_LEADS = _all_but(_TWO_BYTE_LEADS), _all_but(_THREE_BYTE_LEADS)
_BUT_FOUR_BYTE_LEADS = _all_but(_FOUR_BYTE_LEADS)

_OLD = _Tokenizer(letter=25, digit=42, blank=6, punctuation=60, two_bytes=60, three_bytes=110, four_bytes=230)
_NEW = _Tokenizer(letter=32, digit=55, blank=8, punctuation=79, two_bytes=78, three_bytes=143, four_bytes=299)

MESSAGE_TOKENS = 4
"""What the frame of one message costs."""
PROMPT_TOKENS = 3
"""What the frame of a whole prompt costs."""
TOOL_TOKENS = 12
SCHEMA_TOKENS = 160
"""The hidden instructions that come with an output schema, beside the schema itself."""
DOCUMENT_TOKENS = 20
PDF_PAGE_TOKENS = 2_200
UNSEEN_PDF_PAGES = 3
"""Pages of a PDF whose bytes are not in the request."""
UNSEEN_IMAGE_TOKENS = 1_369
"""An image whose bytes are not in the request counts as 1036 x 1036 pixels."""


def count_text(text: str, model: EmulatedModel) -> int:
    if not text:
        return 0
    # A lone surrogate is legal JSON and three bytes long.
    return (_NEW if model.new_tokenizer else _OLD).count(text.encode("utf-8", "surrogatepass"))


def count_json(value: object, model: EmulatedModel) -> int:
    return (_NEW if model.new_tokenizer else _OLD).count(json_bytes(value))


def count_block(block: Mapping[str, Any], model: EmulatedModel) -> int:
    """Tokens of one content block of a message or a system prompt."""
    if block["type"] == "text":
        return count_text(block["text"], model)
    counter = _COUNTERS.get(block["type"], _count_other)
    return counter(block, model)


def count_tool(tool: Mapping[str, Any], model: EmulatedModel) -> int:
    described = {key: value for key, value in tool.items() if key != "cache_control"}
    return TOOL_TOKENS + count_json(described, model)


def count_output_format(output_format: Mapping[str, Any] | None, model: EmulatedModel) -> int:
    return SCHEMA_TOKENS + count_json(output_format["schema"], model) if output_format else 0


# Tokens of the hidden system prompt that makes tools work: (auto or none, any or tool).
_TOOL_PROMPT_TOKENS: Mapping[str, tuple[int, int]] = {
    "claude-opus-5": (286, 406),
    "claude-opus-4-8": (290, 410),
    "claude-opus-4-7": (675, 804),
    "claude-sonnet-5": (354, 474),
    "claude-opus-4-6": (497, 589),
    "claude-sonnet-4-6": (497, 589),
    "claude-opus-4-5-20251101": (496, 588),
    "claude-sonnet-4-5-20250929": (496, 588),
    "claude-haiku-4-5-20251001": (496, 588),
}
# Newer models have published none; they take those of the latest model that has.
_UNPUBLISHED_TOOL_PROMPT_TOKENS = (286, 406)


def tool_prompt_tokens(model: EmulatedModel, *, forced: bool) -> int:
    return _TOOL_PROMPT_TOKENS.get(model.id, _UNPUBLISHED_TOOL_PROMPT_TOKENS)[forced]


def count_input_tokens(params: Mapping[str, Any], model: EmulatedModel) -> int:
    """Tokens of the whole prompt of valid params."""
    from batchforge.emulator.prompt import read_prompt

    return read_prompt(params, model).input_tokens


_TOKENS_OF_A_FRAME = 2_000
"""More than the hidden prompts and the frame of a message together."""
_TOKENS_OF_A_MEDIUM = 10_000
"""More than an image takes, or a document beside its text."""


def tokens_at_most(params: Mapping[str, Any]) -> int:
    """A bound without counting: a token is at least a byte, and a character at most four."""
    tools, system = params.get("tools"), params.get("system") or ""
    bound = _TOKENS_OF_A_FRAME + (len(json_bytes(tools)) if tools else 0)
    bound += len(json_bytes(params["output_config"])) if params.get("output_config") else 0
    bound += 4 * len(system) if isinstance(system, str) else _at_most_of_blocks(system)
    for message in params["messages"]:
        content = message["content"]
        bound += MESSAGE_TOKENS
        bound += 4 * len(content) if isinstance(content, str) else _at_most_of_blocks(content)
    return bound


def _at_most_of_blocks(blocks: Iterable[Mapping[str, Any]]) -> int:
    return sum(
        4 * len(block["text"]) if block["type"] == "text" else len(json_bytes(block)) + _TOKENS_OF_A_MEDIUM
        for block in blocks
    )


def image_tokens(width: int, height: int, model: EmulatedModel) -> int:
    """Patches of 28 x 28 pixels, after the image was scaled down to what the model takes."""
    long_edge, most = (2576, 4784) if model.new_tokenizer else (1568, 1568)
    scale = min(1.0, long_edge / max(width, height, 1))
    tokens = _patches(width * scale, height * scale)
    while tokens > most:
        scale *= math.sqrt(most / tokens) * 0.999
        tokens = _patches(width * scale, height * scale)
    return tokens


def _patches(width: float, height: float) -> int:
    return max(1, math.ceil(width / 28)) * max(1, math.ceil(height / 28))


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, JPEG or WebP; None if it is none of them."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    return None


# Start-of-frame markers carry the size; C4, C8 and CC are other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        if data[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def pdf_pages(data: bytes) -> int:
    """Page objects of a PDF; at least one, since pages can hide in compressed object streams."""
    pages = data.count(b"/Type /Page") + data.count(b"/Type/Page")
    nodes = data.count(b"/Type /Pages") + data.count(b"/Type/Pages")
    return max(1, pages - nodes)


def decoded(data: object) -> bytes | None:
    """The bytes of a base64 string; None if it is not base64."""
    try:
        return b64decode(data, validate=True) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _count_image(block: Mapping[str, Any], model: EmulatedModel) -> int:
    source = block["source"]
    size = image_size(decoded(source["data"]) or b"") if source["type"] == "base64" else None
    return image_tokens(*size, model) if size else UNSEEN_IMAGE_TOKENS


def _count_document(block: Mapping[str, Any], model: EmulatedModel) -> int:
    labels = count_text(block.get("title") or "", model) + count_text(block.get("context") or "", model)
    return DOCUMENT_TOKENS + labels + _count_document_source(block["source"], model)


def _count_document_source(source: Mapping[str, Any], model: EmulatedModel) -> int:
    match source["type"]:
        case "text":
            return count_text(source["data"], model)
        case "content":
            return _count_content(source["content"], model)
        case "base64":
            return PDF_PAGE_TOKENS * pdf_pages(decoded(source["data"]) or b"")
        case _:
            return PDF_PAGE_TOKENS * UNSEEN_PDF_PAGES


def _count_content(content: Any, model: EmulatedModel) -> int:
    if isinstance(content, str):
        return count_text(content, model)
    return sum(count_block(block, model) for block in content or ())


def _count_tool_use(block: Mapping[str, Any], model: EmulatedModel) -> int:
    return TOOL_TOKENS + count_text(block["name"], model) + count_json(block["input"], model)


def _count_tool_result(block: Mapping[str, Any], model: EmulatedModel) -> int:
    return TOOL_TOKENS + _count_content(block.get("content"), model)


def _count_search_result(block: Mapping[str, Any], model: EmulatedModel) -> int:
    labels = count_text(block["title"], model) + count_text(block["source"], model)
    return DOCUMENT_TOKENS + labels + _count_content(block["content"], model)


def _count_thinking(block: Mapping[str, Any], model: EmulatedModel) -> int:
    return count_text(block["thinking"], model)


def _count_nothing(block: Mapping[str, Any], model: EmulatedModel) -> int:
    return 0


def _count_other(block: Mapping[str, Any], model: EmulatedModel) -> int:
    return count_json({key: value for key, value in block.items() if key != "cache_control"}, model)


_COUNTERS: Mapping[str, Callable[[Mapping[str, Any], EmulatedModel], int]] = {
    "image": _count_image,
    "document": _count_document,
    "tool_use": _count_tool_use,
    "tool_result": _count_tool_result,
    "search_result": _count_search_result,
    "thinking": _count_thinking,
    "redacted_thinking": _count_nothing,
    "container_upload": _count_nothing,
}
