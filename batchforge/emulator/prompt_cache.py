"""Accounts for prompt caching: a prompt and what the cache holds at its start give the split of its input tokens.

Requests are accounted for in the order in which they start, so siblings that start together miss together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol

from batchforge.emulator.models import EmulatedModel
from batchforge.emulator.prompt import Mark, Prompt

LOOKBACK = 20
"""Positions that one breakpoint looks at, its own among them."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cached prefix. Times are seconds of the emulator's clock."""

    ttl_s: int
    readable_from_s: float
    expires_s: float

    def can_be_read(self, now_s: float) -> bool:
        return self.readable_from_s <= now_s < self.expires_s


class CacheEntries(Protocol):
    """Where cached prefixes are kept."""

    def get(self, prefix: bytes) -> CacheEntry | None: ...

    def put(self, prefix: bytes, entry: CacheEntry) -> None: ...

    def refresh(self, prefix: bytes, expires_s: float) -> None: ...


class MemoryCacheEntries:
    """Cached prefixes in a dict; those that died are swept out as it grows."""

    def __init__(self) -> None:
        self._entries: dict[bytes, CacheEntry] = {}
        self._sweep_at = 1024

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, prefix: bytes) -> CacheEntry | None:
        return self._entries.get(prefix)

    def put(self, prefix: bytes, entry: CacheEntry) -> None:
        self._entries[prefix] = entry
        if len(self._entries) >= self._sweep_at:
            self._sweep(entry.readable_from_s)

    def refresh(self, prefix: bytes, expires_s: float) -> None:
        self._entries[prefix] = replace(self._entries[prefix], expires_s=expires_s)

    def _sweep(self, now_s: float) -> None:
        # An hour's grace, since requests are not accounted for in the exact order of their times.
        self._entries = {key: entry for key, entry in self._entries.items() if entry.expires_s > now_s - 3600}
        self._sweep_at = max(1024, 2 * len(self._entries))


@dataclass(frozen=True, slots=True)
class InputUsage:
    """Input tokens as the API splits them."""

    input_tokens: int
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        written = self.cache_write_5m_tokens + self.cache_write_1h_tokens
        return self.input_tokens + self.cache_read_tokens + written

    def fields(self) -> dict[str, Any]:
        """The input part of `usage`, in the order of the wire."""
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_5m_tokens + self.cache_write_1h_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": self.cache_write_1h_tokens,
            },
        }


@lru_cache(maxsize=1024)
def cache_scope(workspace: str, pool: str = "", island: int = 0) -> bytes:
    """Prefixes of one scope never meet those of another. Batch and synchronous requests share a pool or do not."""
    return blake2b(f"{workspace}\0{pool}\0{island}".encode(), digest_size=8).digest()


def account(
    prompt: Prompt,
    model: EmulatedModel,
    entries: CacheEntries,
    *,
    scope: bytes,
    started_s: float,
    answer_begins_s: float,
) -> InputUsage:
    """Read and write the cache for one request. Requests come in the order in which they start."""
    marks = [mark for mark in prompt.marks if prompt.positions[mark.index].tokens >= model.min_cacheable_tokens]
    if not marks:
        return InputUsage(prompt.input_tokens)
    hit = _find_hit(prompt, model, marks, entries, scope, started_s)
    _refresh_hits(prompt, marks, hit, entries, scope, started_s)
    for mark in marks:
        if mark.index > hit:
            key = scope + prompt.positions[mark.index].digest
            _write(entries, key, mark.ttl_s, started_s, answer_begins_s)
    return _split(prompt, marks, hit)


def _find_hit(
    prompt: Prompt, model: EmulatedModel, marks: list[Mark], entries: CacheEntries, scope: bytes, now_s: float
) -> int:
    """The index of the longest prefix that can be read, or -1."""
    for mark in reversed(marks):
        for index in range(mark.index, max(-1, mark.index - LOOKBACK), -1):
            position = prompt.positions[index]
            if position.tokens < model.min_cacheable_tokens:
                break
            entry = entries.get(scope + position.digest)
            if entry is not None and entry.can_be_read(now_s):
                return index
    return -1


def _refresh_hits(
    prompt: Prompt, marks: list[Mark], hit: int, entries: CacheEntries, scope: bytes, now_s: float
) -> None:
    """Reading a prefix renews it, and the marked prefixes inside it."""
    if hit < 0:
        return
    for index in {hit, *(mark.index for mark in marks if mark.index < hit)}:
        key = scope + prompt.positions[index].digest
        entry = entries.get(key)
        if entry is not None and entry.can_be_read(now_s) and now_s + entry.ttl_s > entry.expires_s:
            entries.refresh(key, now_s + entry.ttl_s)


def _write(entries: CacheEntries, key: bytes, ttl_s: int, started_s: float, answer_begins_s: float) -> None:
    """Siblings that write the same prefix at once make one entry: readable with the first, living as the longest."""
    entry, old = CacheEntry(ttl_s, answer_begins_s, started_s + ttl_s), entries.get(key)
    if old is not None and old.expires_s > started_s:
        entry = CacheEntry(
            max(old.ttl_s, ttl_s),
            min(old.readable_from_s, answer_begins_s),
            max(old.expires_s, entry.expires_s),
        )
    entries.put(key, entry)


def _split(prompt: Prompt, marks: list[Mark], hit: int) -> InputUsage:
    """Read up to the hit; written for an hour up to the last such mark after it; for 5 minutes up to the last mark."""
    read = prompt.positions[hit].tokens if hit >= 0 else 0
    hour = max((prompt.positions[m.index].tokens for m in marks if m.ttl_s > 300 and m.index > hit), default=read)
    last = max(hour, max((prompt.positions[m.index].tokens for m in marks if m.index > hit), default=read))
    return InputUsage(prompt.input_tokens - last, read, last - hour, hour - read)
