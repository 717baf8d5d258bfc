"""Keys in, how often each was there before out: exact, for more keys than fit into memory."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from types import TracebackType
from typing import Self

DEFAULT_MEMORY_KEYS = 40_000
SHORT_KEY_BYTES = 32
_CACHE_KIB = 6 * 1024
_HASH_BITS = 25
"""4 MB of bits: ten million keys fill a quarter of them."""
_HASH_MASK = (1 << _HASH_BITS) - 1


class SpillCounter:
    """Counts in a dict; whenever `memory_keys` keys are in it, it is emptied into a private file.

    Most keys are new. A bit for each hash of a key in the file tells so for nearly all of them without a look at it.
    """

    def __init__(self, memory_keys: int = DEFAULT_MEMORY_KEYS) -> None:
        self._memory_keys = memory_keys
        self._recent: dict[bytes, int] = {}
        """The counts of the latest keys, with what the file had of them."""
        self._file: sqlite3.Connection | None = None
        self._hashes_in_file = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, key: bytes) -> int:
        """How often the key was added before."""
        if len(key) > SHORT_KEY_BYTES:
            key = _digest(key)
        recent = self._recent
        before = recent.get(key)
        if before is None:
            before = self._count_in_file(key)
            if len(recent) >= self._memory_keys:
                self._empty_into_file()
        recent[key] = before + 1
        return before

    def count(self, key: bytes) -> int:
        """How often the key was added."""
        if len(key) > SHORT_KEY_BYTES:
            key = _digest(key)
        recent = self._recent.get(key)
        return self._count_in_file(key) if recent is None else recent

    def distinct(self) -> int:
        """How many different keys were added."""
        if self._file is None:
            return len(self._recent)
        self._empty_into_file()
        return int(self._file.execute("SELECT count(*) FROM counts").fetchone()[0])

    def close(self) -> None:
        self._recent.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count_in_file(self, key: bytes) -> int:
        if self._file is None:
            return 0
        place = hash(key) & _HASH_MASK
        if not self._hashes_in_file[place >> 3] & 1 << (place & 7):
            return 0
        found = self._file.execute("SELECT count FROM counts WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else 0

    def _empty_into_file(self) -> None:
        if self._file is None:
            self._file = _private_file()
            self._hashes_in_file = bytearray(1 << (_HASH_BITS - 3))
        recent, bits = self._recent, self._hashes_in_file
        # In the order of the table, so that each of its pages is touched once.
        in_order = ((key, recent[key]) for key in sorted(recent))
        self._file.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?)", in_order)
        for key in recent:
            place = hash(key) & _HASH_MASK
            bits[place >> 3] |= 1 << (place & 7)
        recent.clear()


def _digest(key: bytes) -> bytes:
    """One byte longer than the longest key that is kept as it is, so that the two never meet."""
    return blake2b(key, digest_size=SHORT_KEY_BYTES + 1).digest()


def private_database() -> sqlite3.Connection:
    """The empty name makes SQLite create a file of mode 0600 in the temporary folder and unlink it at once, so that
    nothing stays behind even when the process is killed."""
    file = sqlite3.connect("", isolation_level=None)
    file.execute("PRAGMA journal_mode = OFF")
    file.execute("PRAGMA synchronous = OFF")
    file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return file


def _private_file() -> sqlite3.Connection:
    file = private_database()
    file.execute("CREATE TABLE counts (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID")
    file.execute("BEGIN")
    return file
