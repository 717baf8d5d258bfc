"""Batches in the store: created in one transaction, read as facts, canceled, deleted, listed both ways."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchforge.emulator.batch_life import BatchFacts, Traits
from batchforge.emulator.envelope import Entry
from batchforge.emulator.ids import new_id
from batchforge.emulator.store import Store

COLUMNS = (
    "no, id, workspace, traits, requests, created_at, cancel_initiated_at, decided, results_bytes, "
    "succeeded, errored, canceled, expired, others"
)
_OURS = "workspace = ? AND deleted = 0 AND listed_at <= ?"


@dataclass(frozen=True, slots=True)
class Page:
    batches: list[BatchFacts]
    has_more: bool


class BatchGone(Exception):
    """The batch was there a moment ago; the emulator was reset meanwhile."""


class BatchStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        workspace: str,
        traits: Traits,
        entries: list[Entry],
        body: Path,
        *,
        now_s: float,
        listed_s: float,
        is_others: bool = False,
    ) -> BatchFacts:
        """From the end of this on, the batch exists; the body file is its own now."""
        batch_id = new_id("msgbatch")
        body.rename(self.body_file(batch_id))
        with self._store.transaction():
            no = self._store.execute(
                "INSERT INTO batches (id, workspace, traits, requests, created_at, listed_at, others) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                batch_id,
                workspace,
                msgspec.json.encode(traits).decode(),
                len(entries),
                now_s,
                listed_s,
                int(is_others),
            )
            self._store.execute_many(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?)",
                ((no, at, entry.custom_id, entry.first_byte, entry.size_bytes) for at, entry in enumerate(entries)),
            )
        return self.get(batch_id)

    def find(self, batch_id: str, workspace: str) -> BatchFacts | None:
        row = self._store.row(
            f"SELECT {COLUMNS} FROM batches WHERE id = ? AND workspace = ? AND deleted = 0",  # noqa: S608
            batch_id,
            workspace,
        )
        return None if row is None else _facts(row)

    def get(self, batch_id: str) -> BatchFacts:
        row = self._store.row(f"SELECT {COLUMNS} FROM batches WHERE id = ?", batch_id)  # noqa: S608
        if row is None:
            raise BatchGone(batch_id)
        return _facts(row)

    def unfinished(self) -> list[BatchFacts]:
        rows = self._store.rows(f"SELECT {COLUMNS} FROM batches WHERE decided < requests AND deleted = 0")  # noqa: S608
        return [_facts(row) for row in rows]

    def cancel(self, batch_id: str, now_s: float) -> None:
        self._store.execute(
            "UPDATE batches SET cancel_initiated_at = ? WHERE id = ? AND cancel_initiated_at IS NULL", now_s, batch_id
        )

    def delete(self, batch_id: str) -> None:
        """Counters go on knowing what was billed."""
        self._store.execute("UPDATE batches SET deleted = 1 WHERE id = ?", batch_id)
        self.drop_results(batch_id)

    def drop_results(self, batch_id: str) -> None:
        self.results_file(batch_id).unlink(missing_ok=True)

    def page(self, workspace: str, *, now_s: float, limit: int, after_no: int | None, before_no: int | None) -> Page:
        """The newest first. `after_no` gives the older ones next to it, `before_no` the newer ones next to it."""
        if before_no is not None:
            rows = self._some(f"{_OURS} AND no > ? ORDER BY no ASC", workspace, now_s, before_no, limit)
            return Page([_facts(row) for row in reversed(rows[:limit])], len(rows) > limit)
        end = 1 << 62 if after_no is None else after_no
        rows = self._some(f"{_OURS} AND no < ? ORDER BY no DESC", workspace, now_s, end, limit)
        return Page([_facts(row) for row in rows[:limit]], len(rows) > limit)

    def _some(self, condition: str, workspace: str, now_s: float, no: int, limit: int) -> list[sqlite3.Row]:
        sql = f"SELECT {COLUMNS} FROM batches WHERE {condition} LIMIT ?"  # noqa: S608
        return self._store.rows(sql, workspace, now_s, no, limit + 1)

    def queued_requests(self, workspace: str) -> int:
        """Requests that have no result yet."""
        value = self._store.value(
            "SELECT SUM(requests - decided) FROM batches WHERE workspace = ? AND deleted = 0", workspace
        )
        return int(value or 0)

    def requests_at(self, batch_no: int, positions: Iterable[int]) -> list[tuple[str, int, int]]:
        """custom_id, first byte and size of each position, in the order asked for."""
        sql = "SELECT custom_id, first_byte, bytes FROM requests WHERE batch = ? AND position = ?"
        with self._store.transaction():
            found = [self._store.row(sql, batch_no, position) for position in positions]
        return [tuple(row) for row in found if row is not None]

    def submissions(self, custom_id: str, batch_no: int) -> int:
        """How often the custom_id had been submitted when this batch was created, with this one."""
        sql = "SELECT COUNT(*) FROM requests WHERE custom_id = ? AND batch <= ?"
        return int(self._store.value(sql, custom_id, batch_no))

    def body_file(self, batch_id: str) -> Path:
        return self._store.bodies / f"{batch_id}.json"

    def results_file(self, batch_id: str) -> Path:
        return self._store.bodies / f"{batch_id}.jsonl"


def _facts(row: sqlite3.Row) -> BatchFacts:
    return BatchFacts(
        no=row["no"],
        id=row["id"],
        workspace=row["workspace"],
        traits=msgspec.json.decode(row["traits"], type=Traits),
        requests=row["requests"],
        created_s=row["created_at"],
        cancel_initiated_s=row["cancel_initiated_at"],
        decided=row["decided"],
        results_bytes=row["results_bytes"],
        succeeded=row["succeeded"],
        errored=row["errored"],
        canceled=row["canceled"],
        expired=row["expired"],
        is_others=bool(row["others"]),
    )
