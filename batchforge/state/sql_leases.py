"""Leases in a database: taken, renewed and given back; and every write of a holder checked against its fence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from batchforge.clock import Clock, iso, parse_iso
from batchforge.errors import StateLocked
from batchforge.state.database import Database
from batchforge.state.holders import Holder, is_alive_here
from batchforge.state.records import Lease, LeaseHeld
from batchforge.state.sql_reading import SqlReading

_COLUMNS = "name, fence, holder, started_by, job_url, purpose, acquired_at, renewed_at, expires_at"


class SqlLeases(SqlReading):
    """Times are the database's, so that holders whose clocks differ agree on when a lease is over."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        super().__init__(database, clock)
        self._fences: Sequence[Lease] = ()

    def leases(self) -> list[Lease]:
        rows = self._db.all(f"SELECT {_COLUMNS} FROM leases ORDER BY name")
        return [Lease(*row) for row in rows]

    def take_lease(self, name: str, purpose: str, holder: Holder, term_s: float) -> Lease:
        with self._db.transaction():
            now = self._db.now()
            before = self._held(name)
            if before is not None and _is_in_force(before, now):
                raise LeaseHeld(before)
            return self._write(name, purpose, holder, now, term_s)

    def renew_lease(self, lease: Lease, term_s: float) -> None:
        with self._db.transaction():
            self._check(lease)
            self._renew(lease, term_s)

    def give_back(self, lease: Lease) -> None:
        with self._db.transaction():
            self._db.execute("DELETE FROM leases WHERE name = ? AND fence = ?", (lease.name, lease.fence))

    def break_lease(self, name: str) -> Lease | None:
        with self._db.transaction():
            before = self._held(name)
            self._db.execute("DELETE FROM leases WHERE name = ?", (name,))
            return before

    def fenced_by(self, leases: Sequence[Lease]) -> None:
        self._fences = tuple(leases)

    # ---- inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db.transaction():
            for lease in self._fences:
                self._check(lease)
            yield

    def _held(self, name: str) -> Lease | None:
        row = self._db.one(f"SELECT {_COLUMNS} FROM leases WHERE name = ?", (name,))
        return Lease(*row) if row else None

    def _check(self, lease: Lease) -> None:
        held = self._held(lease.name)
        if held is None or held.fence != lease.fence:
            raise fenced_off(lease, held)

    def _write(self, name: str, purpose: str, holder: Holder, now: datetime, term_s: float) -> Lease:
        stamp, expires_at = iso(now), iso(now + timedelta(seconds=term_s))
        lease = Lease(
            name,
            self._next_fence(),
            holder.process,
            holder.started_by,
            holder.job_url,
            purpose,
            stamp,
            stamp,
            expires_at,
        )
        self._db.execute("DELETE FROM leases WHERE name = ?", (name,))
        self._db.execute(
            f"INSERT INTO leases ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                lease.name,
                lease.fence,
                lease.holder,
                lease.started_by,
                lease.job_url,
                lease.purpose,
                lease.acquired_at,
                lease.renewed_at,
                lease.expires_at,
            ),
        )
        return lease

    def _renew(self, lease: Lease, term_s: float) -> None:
        now = self._db.now()
        wanted = iso(now + timedelta(seconds=term_s))
        self._db.execute(
            "UPDATE leases SET renewed_at = ?, expires_at = CASE WHEN expires_at < ? THEN ? ELSE expires_at END "
            "WHERE name = ?",
            (iso(now), wanted, wanted, lease.name),
        )

    def _next_fence(self) -> int:
        row = self._db.one("SELECT value FROM meta WHERE name = 'fence'")
        fence = int(row[0]) + 1 if row else 1
        self._db.execute(
            "INSERT INTO meta (name, value) VALUES ('fence', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(fence),),
        )
        return fence


def _is_in_force(lease: Lease, now: datetime) -> bool:
    """A dead process of this machine has nothing any more; one of another machine has it until its term is over."""
    return now < parse_iso(lease.expires_at) and is_alive_here(lease.holder) is not False


def holder_words(lease: Lease) -> str:
    """ci@runner-7 (process 4711), https://…"""
    host, process, _ = lease.holder.rsplit(":", 2)
    words = f"{lease.started_by or host} (process {process})"
    return f"{words}, {lease.job_url}" if lease.job_url else words


def fenced_off(lease: Lease, held: Lease | None) -> StateLocked:
    by = f"{holder_words(held)} has it now" if held else "it was taken away"
    return StateLocked(
        "BF512",
        f"this process held `{lease.name}` of the state for too long without a sign of life, and {by}",
        hint="Nothing was written since. Run again: it goes on where the state is now.",
    )
