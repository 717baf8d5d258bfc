"""The prompt cache in the store. Changes are gathered and written together with the answers that made them."""

from __future__ import annotations

from dataclasses import replace

from batchforge.emulator.prompt_cache import CacheEntry
from batchforge.emulator.store import Store

GRACE_S = 3600.0
"""Dead entries stay so long: batches are accounted for a little later than they happen."""


class StoredCacheEntries:
    """What one piece of work reads and writes: looks into the store once for each prefix."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[bytes, CacheEntry | None] = {}
        self._changed: set[bytes] = set()

    def get(self, prefix: bytes) -> CacheEntry | None:
        if prefix not in self._known:
            row = self._store.row(
                "SELECT ttl_s, readable_from_s, expires_s FROM cache_entries WHERE prefix = ?", prefix
            )
            self._known[prefix] = None if row is None else CacheEntry(*row)
        return self._known[prefix]

    def put(self, prefix: bytes, entry: CacheEntry) -> None:
        self._known[prefix] = entry
        self._changed.add(prefix)

    def refresh(self, prefix: bytes, expires_s: float) -> None:
        if (entry := self.get(prefix)) is not None:
            self.put(prefix, replace(entry, expires_s=expires_s))

    def save(self, now_s: float) -> None:
        """Inside the caller's transaction."""
        rows = [(prefix, entry) for prefix in self._changed if (entry := self._known[prefix]) is not None]
        self._store.execute_many(
            "INSERT OR REPLACE INTO cache_entries VALUES (?, ?, ?, ?)",
            [(prefix, entry.ttl_s, entry.readable_from_s, entry.expires_s) for prefix, entry in rows],
        )
        if rows:
            self._store.execute("DELETE FROM cache_entries WHERE expires_s < ?", now_s - GRACE_S)
        self._changed.clear()
