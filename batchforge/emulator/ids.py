"""Ids of the API's shape: a prefix and 22 characters without the ones that look alike."""

from __future__ import annotations

import secrets
from base64 import b64encode
from hashlib import sha256

LENGTH = 22
# base64 has six characters that ids do not have.
_TRANSLATION = str.maketrans("+/0OIl", "pqrstu")


def new_id(prefix: str) -> str:
    """`new_id("msgbatch")` -> `msgbatch_01` and 22 characters; never the same twice, in any process."""
    return _id(prefix, secrets.token_bytes(LENGTH))


def derived_id(prefix: str, *parts: object) -> str:
    """The same id for the same parts."""
    return _id(prefix, sha256("\x1f".join(map(str, parts)).encode()).digest())


def _id(prefix: str, data: bytes) -> str:
    return f"{prefix}_01{b64encode(data)[:LENGTH].decode('ascii').translate(_TRANSLATION)}"
