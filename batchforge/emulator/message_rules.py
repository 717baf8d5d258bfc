"""Rules about the conversation: who may say what, in which order, how long, and with which images and documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.shapes import Refused
from batchforge.emulator.tokens import count_input_tokens, decoded, image_size, pdf_pages, tokens_at_most

Block = Mapping[str, Any]
Message = Mapping[str, Any]

IMAGE_BYTES = 10 * 1024 * 1024
IMAGE_PIXELS = 8000
MANY_IMAGES = 20
MANY_IMAGES_PIXELS = 2000
LONG_CONTEXT_TOKENS = 1_000_000
# System messages inside the conversation came with Opus 4.8; these are older, or known to refuse them.
_NO_SYSTEM_MESSAGES = frozenset(
    {
        "claude-sonnet-5",
        "claude-opus-4-7",
        "claude-mythos-preview",
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        "claude-opus-4-5-20251101",
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5-20250929",
    }
)


def check_messages(params: Mapping[str, Any], model: EmulatedModel, *, strict_version: bool, structured: bool) -> None:
    messages = params["messages"]
    if not messages:
        raise Refused("at least one message is required", "messages")
    _check_system(params.get("system"))
    _check_last_message(messages, model, structured=structured)
    simple = True
    for at, message in enumerate(messages):
        _check_role(message, model, at)
        _check_content(message, at, last=at == len(messages) - 1)
        simple = simple and isinstance(message["content"], str)
    if not simple:
        _check_blocks(messages, model, strict_version=strict_version, structured=structured)
    _check_length(params, model)


def _check_system(system: Any) -> None:
    if isinstance(system, list) and any(not block["text"] for block in system):
        raise Refused("text content blocks must be non-empty", "system")


def _check_role(message: Message, model: EmulatedModel, at: int) -> None:
    if message["role"] != "system":
        return
    if model.id in _NO_SYSTEM_MESSAGES:
        raise Refused("role 'system' is not supported on this model")
    if at == 0:
        raise Refused("use the top-level 'system' parameter for the initial system prompt", "messages", at)
    if not isinstance(message["content"], str) and any(block["type"] != "text" for block in message["content"]):
        raise Refused("system messages can only contain text", "messages", at, "content")


def _check_content(message: Message, at: int, *, last: bool) -> None:
    content = message["content"]
    if not content:
        if last and message["role"] == "assistant":
            return
        raise Refused(
            "all messages must have non-empty content except for the optional final assistant message", "messages", at
        )
    texts = (content,) if isinstance(content, str) else [b["text"] for b in content if b["type"] == "text"]
    for text in texts:
        if not text:
            raise Refused("text content blocks must be non-empty", "messages")
        if text.isspace():
            raise Refused("text content blocks must contain non-whitespace text", "messages")


def _check_last_message(messages: Sequence[Message], model: EmulatedModel, *, structured: bool) -> None:
    last = messages[-1]
    if last["role"] != "assistant" or _goes_on_by_itself(last):
        return
    if not model.takes_prefill or structured:
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
            if not model.takes_prefill
            else "assistant message prefill is not supported with `output_config.format`"
        )
    text = last["content"] if isinstance(last["content"], str) else last["content"][-1].get("text", "")
    if text and text != text.rstrip():
        raise Refused("final assistant content cannot end with trailing whitespace", "messages")


def _goes_on_by_itself(message: Message) -> bool:
    """A turn that the server paused in the middle of its own tools is sent back as it is."""
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "server_tool_use" for block in content)


def _check_blocks(messages: Sequence[Message], model: EmulatedModel, *, strict_version: bool, structured: bool) -> None:
    _check_places(messages, strict_version=strict_version)
    _check_tool_pairs(messages)
    if structured and any(_cites(block) for _, block in _all_blocks(messages)):
        raise Refused("citations are not supported with structured outputs", "output_config", "format")
    _check_media(messages, model)


Path = tuple[str | int, ...]


def _all_blocks(messages: Sequence[Message]) -> Iterator[tuple[Path, Block]]:
    """Every block with its path, those inside tool results and documents among them."""
    for at, message in enumerate(messages):
        if isinstance(message["content"], list):
            yield from _with_inner(("messages", at, "content"), message["content"])


def _with_inner(path: Path, blocks: Sequence[Block]) -> Iterator[tuple[Path, Block]]:
    for index, block in enumerate(blocks):
        here = (*path, index)
        yield here, block
        inner = block["source"].get("content") if block["type"] == "document" else block.get("content")
        if block["type"] in ("tool_result", "document", "search_result") and isinstance(inner, list):
            yield from _with_inner((*here, block["type"], "content"), inner)


def _cites(block: Block) -> bool:
    citations = block.get("citations")
    return isinstance(citations, dict) and bool(citations.get("enabled"))


def _check_places(messages: Sequence[Message], *, strict_version: bool) -> None:
    for at, message in enumerate(messages):
        if isinstance(message["content"], str):
            continue
        for index, block in enumerate(message["content"]):
            _check_place(block, message["role"], ("messages", at, "content", index), strict_version=strict_version)


def _check_place(block: Block, role: str, path: Path, *, strict_version: bool) -> None:
    kind = block["type"]
    if kind in ("thinking", "redacted_thinking") and role != "assistant":
        raise Refused("thinking blocks may only be in `assistant` messages", *path[:-1])
    if kind in ("tool_use", "server_tool_use") and role != "assistant":
        raise Refused(f"`{kind}` blocks can only be in `assistant` messages", *path[:-2])
    if kind == "tool_result" and role != "user":
        raise Refused("`tool_result` blocks can only be in `user` messages", *path[:-2])
    if not strict_version:
        return
    if kind == "document" and role == "assistant":
        raise Refused("document blocks are not permitted directly in assistant messages", *path)
    if role == "user":
        _check_no_citations(block, path)


def _check_no_citations(block: Block, path: Path) -> None:
    if block["type"] == "text" and block.get("citations"):
        raise Refused("citations are not permitted on text blocks in user messages", *path, "text", "citations")
    if block["type"] == "search_result":
        for index, inner in enumerate(block["content"]):
            _check_no_citations(inner, (*path, "search_result", "content", index))


def _check_tool_pairs(messages: Sequence[Message]) -> None:
    """Each call is answered in the next turn, and each answer has its call in the turn before."""
    seen: set[str] = set()
    asked: dict[str, int] = {}
    role = ""
    for at, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else ()
        if message["role"] != role and message["role"] == "assistant":
            _check_answered(asked)
            asked = {}
        role = message["role"]
        for index, block in enumerate(blocks):
            if block["type"] == "tool_use":
                if block["id"] in seen:
                    raise Refused("`tool_use` ids must be unique", "messages", at, "content", index)
                seen.add(block["id"])
                asked[block["id"]] = at
            elif block["type"] == "tool_result" and asked.pop(block["tool_use_id"], None) is None:
                raise Refused(
                    f"unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message.",
                    "messages",
                    at,
                    "content",
                    index,
                )
    _check_answered(asked)


def _check_answered(asked: Mapping[str, int]) -> None:
    if asked:
        raise Refused(
            f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(asked)}. Each "
            "`tool_use` block must have a corresponding `tool_result` block in the next message.",
            "messages",
            next(iter(asked.values())),
        )


def _check_media(messages: Sequence[Message], model: EmulatedModel) -> None:
    media = [(path, block) for path, block in _all_blocks(messages) if block["type"] in ("image", "document")]
    if not media:
        return
    images = [(path, block) for path, block in media if block["type"] == "image"]
    pages = sum(_check_document(path, block, model) for path, block in media if block["type"] == "document")
    most = 600 if model.context_window_tokens >= LONG_CONTEXT_TOKENS else 100
    if pages + len(images) > most:
        raise Refused(f"Too much media: {pages} document pages + {len(images)} images > {most}", "messages")
    pixels = MANY_IMAGES_PIXELS if len(images) > MANY_IMAGES else IMAGE_PIXELS
    for path, block in images:
        _check_image((*path, "image"), block["source"], pixels)


def _check_image(path: Path, source: Mapping[str, Any], pixels: int) -> None:
    _check_url(source)
    if source["type"] != "base64":
        return
    data = decoded(source["data"])
    if data is None:
        raise Refused("Input should be valid base64", *path, "source", "base64", "data")
    if len(source["data"]) > IMAGE_BYTES:
        raise Refused(
            f"image exceeds 10 MB maximum: {len(source['data'])} bytes > {IMAGE_BYTES} bytes", *path, "source", "base64"
        )
    size, kind = image_size(data), media_type_of_image(data)
    if size is None or kind is None:
        raise Refused("Could not process image")
    if kind != source["media_type"]:
        raise Refused(
            f"The image was specified using the {source['media_type']} media type, but the image appears to be a "
            f"{kind} image",
            *path,
            "source",
            "base64",
        )
    if max(size) > pixels:
        _refuse_size((*path, "source", "base64", "data"), pixels)


def _refuse_size(path: Path, pixels: int) -> None:
    many = "" if pixels == IMAGE_PIXELS else " for many-image requests"
    refused = Refused(f"At least one of the image dimensions exceed max allowed size{many}: {pixels} pixels", *path)
    refused.details = {
        "error_code": "image_dimensions_too_large",
        "max_side_length_pixels": pixels,
        "paths": [".".join(str(step) for step in path)],
    }
    raise refused


def media_type_of_image(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data.startswith(b"GIF8"):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _check_document(path: Path, block: Block, model: EmulatedModel) -> int:
    """Pages of a PDF that is in the request; 0 of anything else."""
    source = block["source"]
    _check_url(source)
    if source["type"] != "base64":
        return 0
    data = decoded(source["data"])
    if data is None:
        raise Refused("Input should be valid base64", *path, "document", "source", "base64", "data")
    if not data.startswith(b"%PDF-"):
        raise Refused("The PDF specified was not valid.", *path, "document", "source", "base64", "data")
    if is_encrypted(data):
        raise Refused("The PDF specified is password protected.", *path, "document", "source", "base64", "data")
    pages, most = pdf_pages(data), 600 if model.context_window_tokens >= LONG_CONTEXT_TOKENS else 100
    if pages > most:
        raise Refused(f"A maximum of {most} PDF pages may be provided.", *path, "document", "source", "base64", "data")
    return pages


def is_encrypted(pdf: bytes) -> bool:
    return b"/Encrypt " in pdf or b"/Encrypt\n" in pdf


def _check_url(source: Mapping[str, Any]) -> None:
    """Nothing is fetched here; names under .invalid are those that nobody can fetch."""
    if source["type"] != "url":
        return
    try:
        scheme, host = urlsplit(source["url"]).scheme, urlsplit(source["url"]).hostname
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host:
        raise Refused("Only HTTPS URLs are supported.")
    if host.endswith(".invalid"):
        raise Refused("Unable to download the file. Please verify the URL and try again.")


def _check_length(params: Mapping[str, Any], model: EmulatedModel) -> None:
    if tokens_at_most(params) <= model.context_window_tokens:
        return
    tokens = count_input_tokens(params, model)
    if tokens > model.context_window_tokens:
        raise Refused(f"prompt is too long: {tokens} tokens > {model.context_window_tokens} maximum")
