"""Ids of the API's shape: a prefix and 22 characters without the ones that look alike."""

from __future__ import annotations

import hashlib
import secrets

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LENGTH = 22


def new_id(prefix: str) -> str:
    """`new_id("msgbatch")` -> `msgbatch_01` and 22 characters; never the same twice, in any process."""
    return f"{prefix}_01" + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def derived_id(prefix: str, *parts: object) -> str:
    """The same id for the same parts."""
    number = int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:17])
    characters = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{prefix}_01" + "".join(characters)
