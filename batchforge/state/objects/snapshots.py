"""The whole index as one compressed object of the log, and back into a file."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, TemporaryFile

from batchforge.state.objects.log import SegmentLog, Snapshot
from batchforge.state.objects.row_changes import unpacked

_STEP_BYTES = 1024 * 1024
_TRIES = 3


def empty_copy() -> sqlite3.Connection:
    """A private file of SQLite's own that is gone when it is closed."""
    return sqlite3.connect("", isolation_level=None, check_same_thread=False)


@contextmanager
def copy_of(db: sqlite3.Connection, folder: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is at this moment, while others write on."""
    with TemporaryDirectory(dir=folder) as room:
        path = Path(room) / "copy.db"
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            yield copy


def saved(copy: sqlite3.Connection, log: SegmentLog, number: int) -> None:
    path = copy.execute("PRAGMA database_list").fetchone()[2]
    pack = zlib.compressobj(level=3, wbits=-zlib.MAX_WBITS)
    with Path(path).open("rb") as source, TemporaryFile(dir=Path(path).parent) as target:
        while step := source.read(_STEP_BYTES):
            target.write(pack.compress(step))
        target.write(pack.flush())
        target.seek(0)
        log.save_snapshot(number, target)


@contextmanager
def restored(log: SegmentLog, folder: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """The newest snapshot as a file, and its number; an empty file and 0 where there is none."""
    with NamedTemporaryFile(dir=folder) as file:
        number = _fetched(log, Path(file.name))
        with closing(sqlite3.connect(file.name, isolation_level=None)) as copy:
            yield copy, number


def _fetched(log: SegmentLog, path: Path) -> int:
    for _ in range(_TRIES):
        newest = next(iter(log.snapshots()), None)
        try:
            _write(log, newest, path)
        except FileNotFoundError:
            continue  # a newer one has taken its place meanwhile
        except (ValueError, zlib.error) as exc:
            raise log.damaged("its newest snapshot cannot be read") from exc
        return newest.number if newest else 0
    raise log.damaged("its snapshots go away while they are read")


def _write(log: SegmentLog, snapshot: Snapshot | None, path: Path) -> None:
    with path.open("wb") as file:
        if snapshot is not None:
            for step in unpacked(log.snapshot_content(snapshot)):
                file.write(step)
        file.flush()
        os.fsync(file.fileno())


def copy_into(copy: sqlite3.Connection, path: Path) -> None:
    """Put it in the place of all that is in a file, also while others have that open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        copy.backup(target)  # waits for those who write to it
