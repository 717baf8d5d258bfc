"""The rows of a job before and after, by key -> how many are the same, changed, new, gone, and a few to look at.

Two streams in, nothing held but what the two do not have at the same place: that goes to a private file.
"""

from __future__ import annotations

import hashlib
import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import msgspec

from batchforge.planning.plan_rows import Action, PlannedRow
from batchforge.planning.planner import JobPlan
from batchforge.spill import private_database

_PER_STRATUM = 2
_MOST_STRATA = 24
_MOST_SAMPLE_BYTES = 200_000
"""Of a row's own texts: longer rows are not shown as examples where there are others."""
SEED = b"batchforge-review-1"


@dataclass(frozen=True, slots=True)
class RowPair:
    """A row on both sides; one of them is missing where the row is new or gone."""

    old: PlannedRow | None
    new: PlannedRow | None

    @property
    def key(self) -> str:
        return (self.new or self.old).row.key  # type: ignore[union-attr]

    @property
    def is_same(self) -> bool:
        if self.old is None or self.new is None:
            return False
        return self.old.row.request_id == self.new.row.request_id


@dataclass(slots=True)
class RowChanges:
    """What the rows came to."""

    before: int = 0
    after: int = 0
    same: int = 0
    changed: int = 0
    new: int = 0
    gone: int = 0
    actions: Counter[tuple[str, Action]] = field(default_factory=Counter)
    """(same, changed or new; what a run would do) -> rows."""
    message_texts_differ: bool = False
    """In some changed row, of the texts that differ by row."""
    system_texts_differ: bool = False
    values_differ: bool = False
    to_send_bytes: int = 0
    """Of the own texts of rows that are sent because of the change."""
    to_send: int = 0
    """Distinct requests among them."""
    ceiling_pico_usd: int | None = 0
    samples: list[RowPair] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Of some changed rows, to ask: always the same ones."""


def compare_rows(
    old: JobPlan | None, new: JobPlan | None, next_run: JobPlan | None, wanted_keys: int = 0
) -> RowChanges:
    """`old` and `new` plan every row; `next_run` only what a run of the newer side would send."""
    changes, sample, keys = RowChanges(), _Sample(), _Keys(wanted_keys)
    for pair, planned in row_pairs(old, new, next_run):
        _count(changes, pair, planned, next_run)
        if not pair.is_same:
            sample.add(pair)
        if pair.old and pair.new and not pair.is_same and pair.new.row.request_id and pair.old.row.request_id:
            keys.add(pair.key)
    changes.samples = sample.chosen()
    changes.keys = keys.chosen()
    return changes


def _count(changes: RowChanges, pair: RowPair, planned: PlannedRow | None, next_run: JobPlan | None) -> None:
    changes.before += pair.old is not None
    changes.after += pair.new is not None
    if pair.new is None:
        changes.gone += 1
        return
    assert planned is not None
    kind = "same" if pair.is_same else "new" if pair.old is None else "changed"
    setattr(changes, kind, getattr(changes, kind) + 1)
    changes.actions[kind, planned.action] += 1
    if kind == "same":
        return
    if planned.pieces is not None and next_run is not None:
        _add_cost(changes, planned.pieces, next_run)
    if pair.old is not None:
        _compare_texts(changes, pair.old, pair.new)


def _add_cost(changes: RowChanges, pieces: tuple[bytes, ...], next_run: JobPlan) -> None:
    changes.to_send += 1
    changes.to_send_bytes += sum(map(len, pieces))
    if next_run.bound is None:
        changes.ceiling_pico_usd = None
    elif changes.ceiling_pico_usd is not None:
        changes.ceiling_pico_usd += next_run.bound.pico_usd(next_run.compiled.template.body_bytes(pieces))


def _compare_texts(changes: RowChanges, old: PlannedRow, new: PlannedRow) -> None:
    before, after = old.row.row_hashes, new.row.row_hashes
    changes.message_texts_differ |= before[:8] != after[:8]
    changes.system_texts_differ |= before[8:] != after[8:]
    changes.values_differ |= old.row.values != new.row.values


# ---- by key


def row_pairs(
    old: JobPlan | None, new: JobPlan | None, next_run: JobPlan | None
) -> Iterator[tuple[RowPair, PlannedRow | None]]:
    """Each row of either side, and what the next run would do with it."""
    olds: Iterable[PlannedRow] = old.rows() if old else ()
    news: Iterable[PlannedRow] = new.rows() if new else ()
    runs: Iterable[PlannedRow] = next_run.rows() if next_run else ()
    if old is None or new is None:
        yield from ((RowPair(row, None), None) for row in olds)
        yield from ((RowPair(None, row), planned) for row, planned in zip(news, runs, strict=True))
        return
    with _Unmatched() as unmatched:
        for left, both in zip_longest(olds, zip(news, runs, strict=True)):
            if left is not None and both is not None and left.row.key == both[0].row.key:
                yield RowPair(left, both[0]), both[1]
                continue
            if left is not None:
                unmatched.add("olds", left.row.key, [left])
            if both is not None:
                unmatched.add("news", both[0].row.key, list(both))
        yield from unmatched.pairs()


class _Unmatched:
    """Rows that do not stand at the same place on both sides, in a private file until both are known."""

    def __init__(self) -> None:
        self._file: sqlite3.Connection | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[PlannedRow]).decode

    def __enter__(self) -> _Unmatched:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, side: str, key: str, rows: list[PlannedRow]) -> None:
        if self._file is None:
            self._file = private_database()
            for name in ("olds", "news"):
                self._file.execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, place INTEGER, data BLOB)")
            self._file.execute("BEGIN")
        place = rows[0].row.position
        self._file.execute(f"INSERT INTO {side} VALUES (?, ?, ?)", (key, place, self._encode(rows)))  # noqa: S608

    def pairs(self) -> Iterator[tuple[RowPair, PlannedRow | None]]:
        if self._file is None:
            return
        matched = "SELECT news.data, olds.data FROM news LEFT JOIN olds USING (key) ORDER BY news.place"
        for new, old in self._file.execute(matched):
            row, planned = self._decode(new)
            yield RowPair(self._decode(old)[0] if old else None, row), planned
        gone = "SELECT data FROM olds WHERE key NOT IN (SELECT key FROM news) ORDER BY place"
        for (old,) in self._file.execute(gone):
            yield RowPair(self._decode(old)[0], None), None


# ---- examples


class _Sample:
    """A few rows of each kind and size, always the same ones: those whose keys have the smallest hashes."""

    def __init__(self) -> None:
        self._strata: dict[str, list[tuple[int, RowPair]]] = {}

    def add(self, pair: RowPair) -> None:
        size = sum(len(piece) for side in (pair.old, pair.new) if side for piece in side.pieces or ())
        if any(side is not None and side.pieces is None for side in (pair.old, pair.new)) or size > _MOST_SAMPLE_BYTES:
            return
        kept = self._stratum(f"{_kind_of(pair)} {size.bit_length()}")
        if kept is None:
            return
        item = (-_hash(pair.key), pair)
        if len(kept) < _PER_STRATUM:
            heapq.heappush(kept, item)
        elif item[0] > kept[0][0]:
            heapq.heapreplace(kept, item)

    def _stratum(self, name: str) -> list[tuple[int, RowPair]] | None:
        if name not in self._strata and len(self._strata) >= _MOST_STRATA:
            return None
        return self._strata.setdefault(name, [])

    def chosen(self) -> list[RowPair]:
        """One of each stratum, then a second of each."""
        rounds: list[RowPair] = []
        sorted_strata = [sorted(self._strata[name], key=lambda item: -item[0]) for name in sorted(self._strata)]
        for number in range(_PER_STRATUM):
            rounds += [items[number][1] for items in sorted_strata if number < len(items)]
        return rounds


class _Keys:
    """So many keys, those with the smallest hashes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[tuple[int, str]] = []

    def add(self, key: str) -> None:
        item = (-_hash(key), key)
        if len(self._kept) < self._count:
            heapq.heappush(self._kept, item)
        elif self._kept and item > self._kept[0]:
            heapq.heapreplace(self._kept, item)

    def chosen(self) -> list[str]:
        return [key for _, key in sorted(self._kept, reverse=True)]


def _kind_of(pair: RowPair) -> str:
    return "changed" if pair.old and pair.new else "new" if pair.new else "removed"


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=SEED).digest())
