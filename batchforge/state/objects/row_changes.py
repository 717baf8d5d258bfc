"""What a transaction did to the rows of an SQLite file -> a compressed stream, and from there into another file.

Rows are taken down by triggers as they change, so whatever made them (random numbers, the time, a table of its own)
need not be made again, and nothing but a frame of rows is in memory.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

import msgspec

_PUT, _CHANGE, _DELETE = 0, 1, 2
_FRAME_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 1024 * 1024
_FRAME_LENGTH = struct.Struct(">I")
_ARRAY = b"\xdd"
"""MessagePack's mark of an array whose length follows in four bytes."""
_TRIPLE = b"\x93"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True, slots=True)
class TableForm:
    """A table, and how its rows are named and written."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


class Recording:
    """The changes of one transaction, in their order."""

    def __init__(self) -> None:
        self._file = cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115
        self._pack = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
        self._kind: tuple[int, str] = (_PUT, "")
        self._rows = bytearray()
        self._count = 0
        self.is_empty = True
        self.size_bytes = 0
        """Of the compressed stream, once it is finished."""

    def add(self, kind: int, table: str, values: Sequence[Any]) -> None:
        if self._kind != (kind, table) or len(self._rows) >= _FRAME_BYTES:
            self._end_frame()
            self._kind = (kind, table)
        self._rows += _encode(values)
        self._count += 1
        self.is_empty = False

    def finish(self) -> BinaryIO:
        self._end_frame()
        self._file.write(self._pack.flush())
        self.size_bytes = self._file.tell()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        self._file.close()

    def _end_frame(self) -> None:
        if not self._count:
            return
        kind, table = self._kind
        start = _TRIPLE + _encode(kind) + _encode(table) + _ARRAY + self._count.to_bytes(4, "big")
        for piece in (_FRAME_LENGTH.pack(len(start) + len(self._rows)), start, self._rows):
            self._file.write(self._pack.compress(piece))
        self._rows.clear()
        self._count = 0


class ChangeRecorder:
    """Watches the tables of a connection. Outside of a recording nothing may change."""

    def __init__(self, db: sqlite3.Connection, ignored: Sequence[str]) -> None:
        self._db = db
        self._ignored = ignored
        self._recording: Recording | None = None
        self._forms: dict[str, TableForm] = {}
        self._is_replaying = False
        for kind in (_PUT, _CHANGE, _DELETE):
            db.create_function(f"note_{kind}", -1, partial(self._note, kind))

    def watch(self) -> None:
        """To be called again whenever the tables have changed."""
        self.look_away()
        self._forms = {form.name: form for form in table_forms(self._db) if form.name not in self._ignored}
        for form in self._forms.values():
            for sql in _triggers(form).values():
                self._db.execute(sql)

    def look_away(self) -> None:
        """Before tables are taken away: what watches them would be left behind."""
        names = self._db.execute("SELECT name FROM temp.sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            self._db.execute(f"DROP TRIGGER temp.{name}")
        self._forms = {}

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        self._recording = recording = Recording()
        try:
            yield recording
        finally:
            self._recording = None
            recording.close()

    def replay(self, stream: Iterable[bytes]) -> None:
        """Carry out what was recorded elsewhere, in the transaction that is open."""
        self._is_replaying = True
        try:
            for frame in _frames(stream):
                kind, table, rows = _decode(frame)
                self._db.executemany(_statement(kind, self._forms[table]), rows)
        finally:
            self._is_replaying = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what is not to be taken down, such as new versions of the tables."""
        self._is_replaying = True
        try:
            yield
        finally:
            self._is_replaying = False

    def _note(self, kind: int, table: str, *values: Any) -> None:
        if self._is_replaying:
            return
        if self._recording is None:
            raise AssertionError("rows were changed outside of a transaction of the state")
        self._recording.add(kind, table, values)


def table_forms(db: sqlite3.Connection) -> list[TableForm]:
    names = db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [_form(db, name) for (name,) in names.fetchall()]


def _form(db: sqlite3.Connection, table: str) -> TableForm:
    columns = db.execute(f"PRAGMA main.table_info({table})").fetchall()
    key = [(place, name) for _, name, _, _, _, place in columns if place]
    return TableForm(table, tuple(column[1] for column in columns), tuple(name for _, name in sorted(key)))


def _triggers(form: TableForm) -> dict[int, str]:
    """A row that changes is named by its old key and followed by its new values."""
    new = ", ".join(f"NEW.{column}" for column in form.columns)
    old = ", ".join(f"OLD.{column}" for column in form.key)
    what = {_PUT: ("INSERT", new), _CHANGE: ("UPDATE", f"{new}, {old}"), _DELETE: ("DELETE", old)}
    return {
        kind: f"CREATE TEMP TRIGGER note_{kind}_{form.name} AFTER {event} ON main.{form.name} "
        f"BEGIN SELECT note_{kind}('{form.name}', {values}); END"
        for kind, (event, values) in what.items()
    }


def _statement(kind: int, form: TableForm) -> str:
    where = " AND ".join(f"{column} IS ?" for column in form.key)
    if kind == _DELETE:
        return f"DELETE FROM main.{form.name} WHERE {where}"
    # What was replaced is not taken down, so it is taken away here in the same way.
    if kind == _PUT:
        return f"INSERT OR REPLACE INTO main.{form.name} VALUES ({', '.join('?' for _ in form.columns)})"
    values = ", ".join(f"{column} = ?" for column in form.columns)
    return f"UPDATE OR REPLACE main.{form.name} SET {values} WHERE {where}"


def _frames(stream: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for plain in unpacked(stream):
        waiting += plain
        while len(waiting) >= _FRAME_LENGTH.size:
            end = _FRAME_LENGTH.size + _FRAME_LENGTH.unpack_from(waiting)[0]
            if len(waiting) < end:
                break
            yield bytes(waiting[_FRAME_LENGTH.size : end])
            del waiting[:end]
    if waiting:
        raise ValueError("the segment ends in the middle of a frame")


def unpacked(stream: Iterable[bytes]) -> Iterator[bytes]:
    """In steps of bounded size, however well it was compressed."""
    unpack = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    for packed in stream:
        piece = unpack.decompress(packed, _FRAME_BYTES)
        while piece:
            yield piece
            piece = unpack.decompress(unpack.unconsumed_tail, _FRAME_BYTES)
    if not unpack.eof:
        raise ValueError("the stream was cut short")
