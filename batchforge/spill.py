"""Keys in, how often each was there before out: exact, for more keys than fit into memory."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from types import TracebackType
from typing import Self

DEFAULT_MEMORY_KEYS = 200_000
SHORT_KEY_BYTES = 32
_CACHE_KIB = 32 * 1024


class SpillCounter:
    """Counts in a dict up to `memory_keys` distinct keys, then in a private file that lives only as long as this."""

    def __init__(self, memory_keys: int = DEFAULT_MEMORY_KEYS) -> None:
        self._memory_keys = memory_keys
        self._counts: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

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
        if self._file is not None:
            return _add_to_file(self._file, key)
        counts = self._counts
        before = counts.get(key, 0)
        counts[key] = before + 1
        if len(counts) > self._memory_keys:
            self._spill()
        return before

    def distinct(self) -> int:
        """How many different keys were added."""
        if self._file is None:
            return len(self._counts)
        return int(self._file.execute("SELECT count(*) FROM counts").fetchone()[0])

    def close(self) -> None:
        self._counts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        self._file = _private_file()
        self._file.executemany("INSERT INTO counts VALUES (?, ?)", sorted(self._counts.items()))
        self._counts = {}


def _digest(key: bytes) -> bytes:
    """One byte longer than the longest key that is kept as it is, so that the two never meet."""
    return blake2b(key, digest_size=SHORT_KEY_BYTES + 1).digest()


def _private_file() -> sqlite3.Connection:
    """The empty name makes SQLite create a file of mode 0600 in the temporary folder and unlink it at once, so that
    nothing stays behind even when the process is killed."""
    file = sqlite3.connect("", isolation_level=None)
    file.execute("PRAGMA journal_mode = OFF")
    file.execute("PRAGMA synchronous = OFF")
    file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    file.execute("CREATE TABLE counts (key BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID")
    file.execute("BEGIN")
    return file


def _add_to_file(file: sqlite3.Connection, key: bytes) -> int:
    statement = "INSERT INTO counts VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET count = count + 1 RETURNING count - 1"
    return int(file.execute(statement, (key,)).fetchone()[0])
