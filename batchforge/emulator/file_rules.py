"""Rules about uploaded files that a request names: they must be there, of the right kind, sound, and not too large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchforge.emulator.api_fault import ApiFault, invalid_request, not_found
from batchforge.emulator.file_store import FileStore, StoredFile
from batchforge.emulator.message_rules import (
    IMAGE_PIXELS,
    LONG_CONTEXT_TOKENS,
    MANY_IMAGES,
    MANY_IMAGES_PIXELS,
    is_encrypted,
    media_type_of_image,
)
from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.tokens import decoded, image_size, pdf_pages

_DOCUMENTS = ("application/pdf", "text/plain")
_IMAGES = ("image/gif", "image/jpeg", "image/png", "image/webp")


def check_files(
    params: Mapping[str, Any], model: EmulatedModel, workspace: str, files: FileStore, now_s: float
) -> ApiFault | None:
    """The refusal of a request because of a file that it names."""
    blocks = [block for block in _media(params["messages"]) if block["source"].get("type") == "file"]
    pages = 0
    images = sum(block["type"] == "image" for block in _media(params["messages"]))
    for block in blocks:
        file_id = block["source"]["file_id"]
        file = files.find(file_id, workspace)
        if file is None or file.is_expired(now_s):
            return not_found(f"File not found: {file_id}")
        content = files.content_file(file_id).read_bytes()
        fault = _wrong_kind(block, file) or _unreadable(file, content, many_images=images > MANY_IMAGES)
        if fault is not None:
            return fault
        pages += pdf_pages(content) if file.mime_type == "application/pdf" else 0
    most = 600 if model.context_window_tokens >= LONG_CONTEXT_TOKENS else 100
    if blocks and pages + (total := images + _inline_pages(params)) > most:
        return invalid_request(f"messages: Too much media: {pages} document pages + {total} images > {most}")
    return None


def _wrong_kind(block: Mapping[str, Any], file: StoredFile) -> ApiFault | None:
    if file.mime_type in (_IMAGES if block["type"] == "image" else _DOCUMENTS):
        return None
    return invalid_request(f"File {file.id} of type {file.mime_type} cannot be used in a block of type {block['type']}")


def _unreadable(file: StoredFile, content: bytes, *, many_images: bool) -> ApiFault | None:
    if file.mime_type == "text/plain":
        return None
    if file.mime_type == "application/pdf":
        if not content.startswith(b"%PDF-"):
            return invalid_request("The PDF specified was not valid.")
        return invalid_request("The PDF specified is password protected.") if is_encrypted(content) else None
    size = image_size(content)
    if size is None or media_type_of_image(content) != file.mime_type:
        return invalid_request("Could not process image")
    pixels = MANY_IMAGES_PIXELS if many_images else IMAGE_PIXELS
    if max(size) > pixels:
        return invalid_request(f"At least one of the image dimensions exceed max allowed size: {pixels} pixels")
    return None


def _inline_pages(params: Mapping[str, Any]) -> int:
    sources = [block["source"] for block in _media(params["messages"]) if block["type"] == "document"]
    return sum(pdf_pages(decoded(source["data"]) or b"") for source in sources if source.get("type") == "base64")


def _media(messages: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] in ("image", "document") and isinstance(block.get("source"), dict):
                yield block
