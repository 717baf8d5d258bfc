"""The log of a state as a `Database`: an SQLite file on this machine that is made of the log, and can be made again at
any time. A transaction is written into the log before it is committed here; whoever was outrun learns it there.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from batchforge.clock import Clock
from batchforge.errors import StateError, StateLocked
from batchforge.state.objects.log import Head, Segment, SegmentLog, new_token
from batchforge.state.objects.row_changes import ChangeRecorder
from batchforge.state.objects.snapshots import copy_into, copy_of, empty_copy, restored, saved
from batchforge.state.schema import APPLICATION_ID, MIGRATIONS
from batchforge.state.sqlite_database import SqliteDatabase

_POSITION = "log_position"
_CREATE_POSITION = (
    f"CREATE TABLE IF NOT EXISTS {_POSITION} (number INTEGER NOT NULL, token TEXT NOT NULL, "
    "turn_of TEXT NOT NULL, turn_until REAL NOT NULL, snapshot INTEGER NOT NULL, bytes_since INTEGER NOT NULL)"
)
_SETTINGS = ("cache_size = -8192", "journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 4000")
"""What the index loses with the power is in the log."""
_READ_AHEAD = 16
_LOOK_SHARE = 4
"""Looking for news takes at most one part in so many of the time, so what is read may be as old as four looks take."""
_LOST_IN_PEACE = 2
_FIRST_TURN_S = 15.0
_LONGEST_TURN_S = 300.0
"""Nobody waits for longer than its own timeout for somebody else's turn."""
_written_here: Counter[str] = Counter()
"""Address -> how often this process has written there, so that its own writes are seen at once by all of it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When the index looks again, and when it is saved for others."""

    sure_for_s: float = 600.0
    """For so long the log is believed to go on where it ended. Numbers are pruned after a day."""
    late_after_s: float = 3600.0
    """A number that was written so long after the log was seen may be one that was pruned."""
    replayed_at_most: int = 200
    """So many segments are read one by one; of more, a snapshot is read where there is one."""
    snapshot_after: int = 200
    """Segments, where they come to a quarter of the index."""
    snapshot_after_at_most: int = 1_000
    snapshot_after_bytes: int = 32 * 1024 * 1024
    """However few segments, where they come to a quarter of the index: to read them takes longer than a snapshot."""


class Outrun(Exception):
    """Somebody else has written meanwhile. The transaction is to be run again, on what is there by now."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the index has come, and who has asked to be let write next."""

    number: int
    token: str
    turn_of: str
    turn_until: float
    snapshot: int
    """The last one that is known of, and what the segments since then come to."""
    bytes_since: int


_START = Position(0, "", "", 0.0, 0, 0)


class ObjectDatabase(SqliteDatabase):
    """Safe to use from several threads; several processes may share the file too."""

    def __init__(
        self,
        log: SegmentLog,
        path: Path,
        *,
        read_only: bool = False,
        lock_timeout_s: float = 30.0,
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._segments, self._limits = log, limits or Limits()
        self._is_reader = read_only
        self._lock_timeout_s = lock_timeout_s
        self._writer = new_token()
        self._in_transaction = self._is_closed = False
        self._is_frozen = False
        """Made of an older log by a reader, which may not bring that up to date: nothing new comes in."""
        self._looked_at = self._look_cost_s = 0.0
        self._seen_here = 0
        self._sure = _Stopwatch(is_over=True)
        super().__init__(path, lock_timeout_s=lock_timeout_s, clock=clock)

    @property
    def url(self) -> str:
        return self._segments.url

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._snapshot_if_due()
                super().close()

    # ---- reading

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        self._look()
        return super().one(sql, values)

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        self._look()
        return super().all(sql, values)

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        self._look()
        return super().stream(sql, values)

    # ---- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Raises:
            Outrun: nothing was changed.
        """
        with self._lock, self._named_errors():
            if self._is_reader:
                raise sqlite3.OperationalError("attempt to write a readonly database")
            self._look()
            if not self._is_sure():
                self._catch_up()
            self._await_turn()
            with self._changing(), self._recorder.recording() as recording:
                with self._decided_on_the_latest():
                    yield
                if recording.is_empty:
                    self._check_latest()
                else:
                    self._take_number(recording.finish(), recording.size_bytes)
            self._snapshot_if_due(overdue=2)

    def catch_up(self, lost: int) -> None:
        """After a transaction was outrun for the `lost`th time: read what is new, and ask for the next turn where it
        keeps happening."""
        with self._lock, self._named_errors():
            self._catch_up()
            if lost > _LOST_IN_PEACE:
                turn_s = min(_FIRST_TURN_S * 2 ** (lost - _LOST_IN_PEACE - 1), _LONGEST_TURN_S)
                while not self._asked_for_turn(turn_s):
                    self._catch_up()

    def _asked_for_turn(self, turn_s: float) -> bool:
        self._await_turn()
        try:
            with self._changing():
                self._take_number(BytesIO(), 0, turn_of=self._writer, turn_s=turn_s)
        except Outrun:
            return False
        return True

    def compact(self) -> bool:
        """Also the log keeps nothing of what was deleted."""
        is_compact = super().compact()
        with self._lock, self._named_errors():
            number = self._save_snapshot()
            self._segments.erase(number)
        return is_compact

    def damage(self) -> list[str]:
        """Of the log; the index is only made of it."""
        with self._lock, self._named_errors():
            self._catch_up()
        return super().damage()

    # ---- opening

    def _prepare(self, read_only: bool) -> None:
        for setting in (
            "cache_size = -8192",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "wal_autocheckpoint = 4000",
        ):
            self._db.execute(f"PRAGMA {setting}")
        with self._changing():
            self._db.execute(_CREATE_POSITION)
            if super().one(f"SELECT 1 FROM {_POSITION}") is None:
                self._set_position(_START)
        self._watch()
        self._catch_up()
        while self.schema_version() < len(MIGRATIONS) and not self._is_frozen:
            self._upgrade()

    def _watch(self) -> None:
        """The recorder belongs to the connection, its triggers to the tables as they are."""
        if not hasattr(self, "_recorder"):
            self._recorder = ChangeRecorder(self._db, ignored=(_POSITION,))
        self._recorder.watch()
        self._watched_version = super().one("PRAGMA user_version")[0]

    def _check_place(self) -> None:
        """An index may be far behind, or made of a log that is not there any more."""
        position, newest = self._position(), self._newest_snapshot()
        if newest > position.number:
            count = newest - position.number
            is_near = position.number > 0 and count <= self._limits.replayed_at_most
            # What follows it may have been pruned, and its next number taken anew by one who did not know.
            if not is_near or not self._segments.has_all(position.number + 1, newest):
                self._restore()
        elif newest < position.number:
            there = self._segments.segment(position.number)
            if there is None or not (there.head.is_void or there.head.token == position.token):
                self._restore()

    def _newest_snapshot(self) -> int:
        return next((each.number for each in self._segments.snapshots()), 0)

    def _upgrade(self) -> None:
        """The tables of a new version begin at a number of the log, for everybody."""
        if self._is_reader:
            self._freeze()
            return
        try:
            with self._changing():
                self._migrate_to(len(MIGRATIONS))
                self._take_number(BytesIO(), 0)
        except Outrun:
            self._catch_up()

    def _freeze(self) -> None:
        """A reader may not write, so it brings a copy up to date."""
        copy = empty_copy()
        self._db.backup(copy)
        self._db.close()
        self._db, self._is_frozen = copy, True
        with self._changing():
            self._migrate_to(len(MIGRATIONS))

    def _migrate_to(self, version: int) -> None:
        """In the transaction that is open."""
        held = super().one("PRAGMA user_version")[0]
        for number, script in enumerate(MIGRATIONS[held:version], held + 1):
            with self._recorder.paused():
                for statement in script.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {number}")
        self._watch() if not self._is_frozen else None

    # ---- the position

    def _position(self) -> Position:
        return Position(*super().one(f"SELECT * FROM {_POSITION}"))

    def _set_position(self, position: Position) -> None:
        self._db.execute(f"DELETE FROM {_POSITION}")
        values = (position.number, position.token, position.turn_of, position.turn_until)
        self._db.execute(
            f"INSERT INTO {_POSITION} VALUES (?, ?, ?, ?, ?, ?)", (*values, position.snapshot, position.bytes_since)
        )

    def _advance(self, head: Head) -> None:
        before = self._position()
        until = time.time() + head.turn_s if head.turn_of else 0.0
        size = before.bytes_since + head.size_bytes
        self._set_position(Position(head.number, head.token, head.turn_of, until, before.snapshot, size))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction of the index alone."""
        self._db.execute("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK") if self._db.in_transaction else None
            raise
        finally:
            self._in_transaction = False

    # ---- into the log

    def _take_number(self, content: BinaryIO, size_bytes: int, *, turn_of: str = "", turn_s: float = 0.0) -> None:
        """The next number is ours, or this raises Outrun."""
        position = self._position()
        head = Head(
            number=position.number + 1,
            token=new_token(),
            previous=position.token,
            schema=self._known_version(),
            size_bytes=size_bytes,
            turn_of=turn_of,
            turn_s=turn_s,
        )
        started, self._looked_at = _Stopwatch(), 0.0
        if not self._segments.append(head, content):
            raise Outrun
        if self._came_too_late(head.number):
            self._segments.withdraw(head.number)
            self._sure = _Stopwatch(is_over=True)
            raise Outrun
        self._sure, self._looked_at = started, time.monotonic()
        self._advance(head)
        _written_here[self.url] += 1
        self._seen_here += 1

    @contextmanager
    def _decided_on_the_latest(self) -> Iterator[None]:
        """What is refused (a claim that is taken, a move that was made) is refused for what is so by now."""
        try:
            yield
        except Exception:
            self._check_latest()
            raise

    def _check_latest(self) -> None:
        if self._segments.segment(self._position().number + 1) is not None:
            raise Outrun

    def _came_too_late(self, number: int) -> bool:
        """Where it took so long that the number may have been pruned and was written anew, it is not part of the log.

        A machine that slept wakes up in the middle of a write.
        """
        if self._sure.passed_s() < self._limits.late_after_s:
            return False
        return self._newest_snapshot() >= number

    def _known_version(self) -> int:
        """Another process that shares the file may have brought it up to a version that this one does not know."""
        version = int(super().one("PRAGMA user_version")[0])
        if version > len(MIGRATIONS):
            raise self._newer(version)
        return version

    def _await_turn(self) -> None:
        """Let write first who has asked for it."""
        deadline = time.monotonic() + self._lock_timeout_s
        while (position := self._position()).turn_of not in ("", self._writer) and time.time() < position.turn_until:
            if time.monotonic() > deadline:
                raise StateLocked(
                    "BF502",
                    f"the state {self.url} is held by another process",
                    hint="Wait until it has finished, or run again; nothing was lost.",
                )
            time.sleep(0.1)
            self._catch_up()

    # ---- out of the log

    def _look(self) -> None:
        """Takes in what is new, unless that was done a moment ago. Does not wait for anybody."""
        if self._in_transaction or self._is_frozen:
            return
        with self._lock, self._named_errors():
            if self._in_transaction or self._is_fresh():
                return
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                self._catch_up()
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc):  # else another process that shares the file is at it
                    raise
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {int(self._lock_timeout_s * 1000)}")

    def _is_fresh(self) -> bool:
        is_recent = time.monotonic() - self._looked_at < _LOOK_SHARE * self._look_cost_s
        return is_recent and self._seen_here == _written_here[self.url]

    def _catch_up(self) -> None:
        self._seen_here = _written_here[self.url]
        started, ahead, restored_to = _Stopwatch(), 1, -1
        if not self._is_sure():
            self._check_place()
        while segments := self._next_segments(self._position().number, ahead):
            if not self._replayed(segments):
                self._restore(beyond=restored_to)
                restored_to = self._position().number
            ahead = min(2 * ahead, _READ_AHEAD)
        self._sure = started
        self._looked_at, self._look_cost_s = time.monotonic(), started.passed_s()

    def _is_sure(self) -> bool:
        return self._sure.passed_s() <= self._limits.sure_for_s

    def _next_segments(self, number: int, ahead: int) -> list[Segment]:
        """Those that follow a number, without a gap."""
        numbers = range(number + 1, number + ahead + 1)
        if ahead == 1:
            found = [self._segments.segment(number + 1)]
        else:
            with ThreadPoolExecutor(_READ_AHEAD) as pool:
                found = list(pool.map(self._segments.segment, numbers))
        return [segment for segment in takewhile(lambda each: each is not None, found) if segment is not None]

    def _replayed(self, segments: Sequence[Segment]) -> bool:
        """Whether they could be taken in, and do follow what is here."""
        try:
            for segment in segments:
                with self._changing():
                    if not self._take_in(segment):
                        return False
        except FileNotFoundError:
            return False
        return True

    def _take_in(self, segment: Segment) -> bool:
        head, position = segment.head, self._position()
        if head.number <= position.number:
            return True  # another process that shares the file was faster
        if head.is_void:
            self._advance(msgspec.structs.replace(head, token=position.token))
            return True
        if head.is_erased or head.previous != position.token:
            return False
        if head.schema > len(MIGRATIONS):
            raise self._newer(head.schema)
        if head.schema > super().one("PRAGMA user_version")[0]:
            self._migrate_to(head.schema)
        elif self._watched_version != head.schema:
            self._watch()
        if head.size_bytes:
            self._recorder.replay(self._segments.content(segment))
        self._advance(head)
        return True

    # ---- snapshots

    def _restore(self, beyond: int = -1) -> None:
        """Make the index anew, from the newest snapshot or from nothing."""
        with restored(self._segments, self.path.parent) as (copy, number):
            version = copy.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise self._newer(version)
            if number <= beyond:
                raise self._segments.damaged(f"what follows number {number} does not belong to it, or is not there")
            if number == 0:
                copy.execute(_CREATE_POSITION)
                copy.execute(f"INSERT INTO {_POSITION} VALUES (0, '', '', 0, 0, 0)")
            else:
                copy.execute(f"UPDATE {_POSITION} SET snapshot = ?, bytes_since = 0, turn_of = ''", (number,))
            self._recorder.look_away()
            copy_into(copy, self.path)
        self._watch()

    def _snapshot_if_due(self, overdue: int = 1) -> None:
        """So that whoever opens the state next does not read everything from the start. Nobody depends on it."""
        if self._is_reader or not self._is_snapshot_due(overdue):
            return
        with suppress(StateError):
            if (newest := self._newest_snapshot()) > self._position().snapshot:
                self._note_snapshot(newest)
            if self._is_snapshot_due(overdue):
                self._save_snapshot()
                self._segments.prune()

    def _is_snapshot_due(self, overdue: int) -> bool:
        position = self._position()
        count = position.number - position.snapshot
        size_bytes = self.path.stat().st_size
        if position.bytes_since >= max(self._limits.snapshot_after_bytes, overdue * size_bytes // 4):
            return True
        is_large = position.bytes_since * 4 >= size_bytes
        return count >= overdue * (self._limits.snapshot_after if is_large else self._limits.snapshot_after_at_most)

    def _save_snapshot(self) -> int:
        with copy_of(self._db, self.path.parent) as copy:
            number = int(copy.execute(f"SELECT number FROM {_POSITION}").fetchone()[0])
            saved(copy, self._segments, number)
        self._note_snapshot(number)
        return number

    def _note_snapshot(self, number: int) -> None:
        with self._changing():
            self._db.execute(f"UPDATE {_POSITION} SET snapshot = ?, bytes_since = 0", (number,))

    def _newer(self, version: int) -> StateError:
        return StateError(
            "BF501",
            f"the state {self.url} was written by a newer version of BatchForge (schema {version}; this one "
            f"knows {len(MIGRATIONS)})",
            hint="Upgrade BatchForge: pip install -U batchforge. Nothing was changed.",
        )


class _Stopwatch:
    """The time that has passed, also while the machine slept."""

    def __init__(self, *, is_over: bool = False) -> None:
        """`is_over`: as if it had run for ever."""
        self._started = (-math.inf, -math.inf) if is_over else (time.monotonic(), time.time())

    def passed_s(self) -> float:
        return max(time.monotonic() - self._started[0], time.time() - self._started[1])


def remove_index(path: Path) -> None:
    """It can be made again."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            path.with_name(name).unlink()
