"""The body of a batch's creation: where each request's params lie in it, or the API's words for what is wrong.

Params stay bytes: only what stands around them is checked here; what is in them, when they are processed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import msgspec

from batchforge.emulator.api_fault import ApiFault, invalid_request
from batchforge.emulator.http_messages import NOT_JSON, json_error

MAX_REQUESTS = 100_000
MAX_BODY_BYTES = 256 * 1024 * 1024
CUSTOM_ID_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"
MAX_CUSTOM_ID_LENGTH = 64
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[_Item]


_DECODER = msgspec.json.Decoder(_Envelope)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of a batch: its params are `size_bytes` of the body from `first_byte`."""

    custom_id: str
    first_byte: int
    size_bytes: int


def read_envelope(body: bytes | mmap, *, takes_duplicates: bool = False) -> list[Entry] | ApiFault:
    """The entries of a body, in its order."""
    try:
        items = _DECODER.decode(body).requests
    except msgspec.ValidationError:
        return _find_fault(body)
    except NOT_JSON as error:
        return invalid_request(json_error(error, memoryview(body)))
    fault = _check_items(items, takes_duplicates=takes_duplicates)
    return fault if fault is not None else list(_entries(items, body))


def _check_items(items: list[_Item], *, takes_duplicates: bool) -> ApiFault | None:
    if (fault := _check_length(len(items))) is not None:
        return fault
    seen: set[str] = set()
    for number, item in enumerate(items):
        if not _CUSTOM_ID.fullmatch(item.custom_id):
            return invalid_request(f"requests.{number}.custom_id: {_wrong_custom_id(item.custom_id)}")
        if bytes(memoryview(item.params)[:1]) != b"{":
            return invalid_request(f"requests.{number}.params: Input should be a valid dictionary")
        seen.add(item.custom_id)
    if len(seen) < len(items) and not takes_duplicates:
        return _duplicate(items)
    return None


def _check_length(count: int) -> ApiFault | None:
    if not count:
        return invalid_request("requests: List should have at least 1 item after validation, not 0")
    if count > MAX_REQUESTS:
        return invalid_request(f"requests: List should have at most {MAX_REQUESTS} items after validation, not {count}")
    return None


def _duplicate(items: list[_Item]) -> ApiFault:
    seen: set[str] = set()
    for item in items:
        if item.custom_id in seen:
            break
        seen.add(item.custom_id)
    return invalid_request(
        f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {item.custom_id}"
    )


def _wrong_custom_id(custom_id: str) -> str:
    if len(custom_id) > MAX_CUSTOM_ID_LENGTH:
        return f"String should have at most {MAX_CUSTOM_ID_LENGTH} characters"
    return f"String should match pattern '{CUSTOM_ID_PATTERN}'"


def _entries(items: list[_Item], body: bytes | mmap) -> Iterator[Entry]:
    at = 0
    for item in items:
        view = memoryview(item.params)
        at = _place(view, body, at)
        yield Entry(item.custom_id, at, len(view))
        at += len(view)


def _place(params: memoryview, body: bytes | mmap, at: int) -> int:
    """Where the params lie: usually right behind the next key of that name."""
    start = body.find(b"{", body.find(b'"params"', at) + 8)
    content = bytes(params)
    if body[start : start + len(content)] == content:
        return start
    # A key with an escape in it, or a custom_id that says "params": then the bytes themselves are searched.
    return body.find(content, at)


def _find_fault(body: bytes | mmap) -> ApiFault:
    """The slow way, only for bodies that are known to be wrong: the first fault in the body's order."""
    try:
        data = msgspec.json.decode(body)
    except NOT_JSON as error:
        return invalid_request(json_error(error, memoryview(body)))
    if not isinstance(data, dict):
        return invalid_request("Input should be a valid dictionary")
    if "requests" not in data:
        return invalid_request("requests: Field required")
    if not isinstance(data["requests"], list):
        return invalid_request("requests: Input should be a valid list")
    if (fault := _check_length(len(data["requests"]))) is not None:
        return fault
    for number, item in enumerate(data["requests"]):
        if (words := _wrong_item(item)) is not None:
            return invalid_request(f"requests.{number}{words}")
    extra = next(key for key in data if key != "requests")
    return invalid_request(f"{extra}: Extra inputs are not permitted")


def _wrong_item(item: Any) -> str | None:
    if not isinstance(item, dict):
        return ": Input should be a valid dictionary"
    for key in ("custom_id", "params"):
        if key not in item:
            return f".{key}: Field required"
    custom_id = item["custom_id"]
    if not isinstance(custom_id, str):
        return ".custom_id: Input should be a valid string"
    if not _CUSTOM_ID.fullmatch(custom_id):
        return f".custom_id: {_wrong_custom_id(custom_id)}"
    if not isinstance(item["params"], dict):
        return ".params: Input should be a valid dictionary"
    extra = next((key for key in item if key not in ("custom_id", "params")), None)
    return None if extra is None else f".{extra}: Extra inputs are not permitted"
