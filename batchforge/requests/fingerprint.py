"""Canonical bytes of a request -> its identity: what counts as a change of the question, and what does not.

`request_id` changes when Claude's answer could change; only such a change may cost money. What only changes price or
route (cache marks, service tier, metadata) is left out, and so is max_tokens, which can only cut an answer.
The canonical form is versioned by the prefix of the custom_id: changing it is a breaking release.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

CUSTOM_ID_PREFIX = "bf1_"

DELIVERY_FIELDS = frozenset(
    {
        "cache_control",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "metadata",
        "service_tier",
        "speed",
        "stream",
        "user_profile_id",
        "workspace_id",
    }
)
"""Top-level body fields that cannot change the answer (max_tokens can cut it, which the planner looks at apart)."""

DELIVERY_BETAS = frozenset({"output-300k-2026-03-24"})
"""Betas that only lift a limit: they are not part of the question."""

_CUSTOM_ID = re.compile(r"bf1_([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])(?:-(00[1-9]|0[1-9][0-9]|[1-9][0-9]{2,}))?")
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")

# Their content is the user's own JSON, in which the order of keys may mean something to the model.
_ORDERED_VALUES = frozenset({"input_schema", "schema", "input"})

_WITH_CONTENT = frozenset({"tool_result", "content"})
"""Types of blocks and sources whose `content` may be a string or blocks."""


def canonical_params(params: Mapping[str, Any], betas: Sequence[str] = ()) -> dict[str, Any]:
    """The part of a request's body that can change the answer, in canonical order and shape.

    Keys are sorted in API objects, but that `messages` come last, as the model reads them: what all rows of a job share
    then comes first and is hashed once. Inside schemas and tool inputs the order is kept. A string `system` or
    `content` is one text block. cache_control is dropped wherever the API takes it. Leaves are passed through as they
    are, so they may stand for text that is not known yet.
    """
    kept = {key: value for key, value in params.items() if key not in DELIVERY_FIELDS}
    if "system" in kept:
        kept["system"] = as_blocks(kept["system"])
    if "messages" in kept:
        kept["messages"] = [{**message, "content": as_blocks(message["content"])} for message in kept["messages"]]
    asked_betas = sorted({beta for beta in betas if beta not in DELIVERY_BETAS})
    if asked_betas:
        kept["betas"] = asked_betas
    return messages_last({key: _canonical(kept[key]) for key in sorted(kept)})


def messages_last(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields, `messages` at the end."""
    ordered = dict(params)
    if "messages" in ordered:
        ordered["messages"] = ordered.pop("messages")
    return ordered


def as_blocks(content: Any) -> Any:
    """A string as the one text block that the API takes it for; blocks as they are."""
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical_member(value, key) for key in sorted(value) if key != "cache_control"}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def _canonical_member(value: Mapping[str, Any], key: str) -> Any:
    member = value[key]
    if key in _ORDERED_VALUES and isinstance(member, Mapping):
        return member
    if key == "content" and value.get("type") in _WITH_CONTENT:
        member = as_blocks(member)
    return _canonical(member)


def request_id(canonical: bytes) -> bytes:
    """32 bytes that name a question: equal questions are paid once."""
    return hashlib.sha256(canonical).digest()


def custom_id(request: bytes, ordinal: int = 0) -> str:
    """The custom_id under which a question is asked: 47 characters of the API's alphabet, `-001` for a further answer.

    >>> custom_id(bytes(32), 1)
    'bf1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-001'
    """
    name = CUSTOM_ID_PREFIX + binascii.b2a_base64(request).translate(_TO_URL_ALPHABET, b"=\n").decode()
    return f"{name}-{ordinal:03d}" if ordinal else name


def parse_custom_id(text: str) -> tuple[bytes, int] | None:
    """(request_id, ordinal) of one of our custom_ids, None for anybody else's.

    base64url spells the last of 43 characters in four ways; only ours, with its unused bits zero, is taken. So is an
    ordinal only as we write it.
    """
    match = _CUSTOM_ID.fullmatch(text)
    if match is None:
        return None
    return base64.urlsafe_b64decode(match[1] + "="), int(match[2] or 0)
