"""JSON bytes of any value that came in as JSON, also of those that a fast encoder refuses."""

from __future__ import annotations

import json

import msgspec


def json_bytes(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, ValueError):
        # Lone surrogates and integers beyond 64 bits are legal JSON.
        return json.dumps(value, separators=(",", ":")).encode()
