"""A `StateStore` in an object store or a directory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, TypeVar

import msgspec

from batchforge.clock import Clock, SystemClock
from batchforge.errors import StateError, StateLocked
from batchforge.state.objects.folder import open_folder
from batchforge.state.objects.index import ObjectDatabase, Outrun, remove_index
from batchforge.state.objects.log import SegmentLog
from batchforge.state.records import Manifest, ManifestRow, StateReader, StateStore
from batchforge.state.sql_state import SqlState

T = TypeVar("T")


class ObjectState(SqlState):
    """Each step is run on what is here, and again on what others have written where they were faster."""

    def __init__(
        self, database: ObjectDatabase, lock_timeout_s: float, clock: Clock, room: _Room | None = None
    ) -> None:
        super().__init__(database, clock)
        self._objects, self._lock_timeout_s, self._room = database, lock_timeout_s, room

    @property
    def index_path(self) -> Path:
        return self._objects.path

    def close(self) -> None:
        super().close()
        if self._room is not None:
            self._room.close()

    def save_manifest(self, manifest: Manifest, rows: Iterable[ManifestRow]) -> int:
        with _kept(rows) as kept:
            return self._until_done(lambda: SqlState.save_manifest(self, manifest, kept()))

    def _until_done(self, step: Callable[[], T]) -> T:
        deadline, lost = time.monotonic() + max(self._lock_timeout_s, 1.0), 0
        while True:
            try:
                return step()
            except Outrun:
                lost += 1
                # A long step that was asked to be let write next may last longer than others would wait for it.
                if time.monotonic() > deadline and lost > _LOST_AT_LEAST:
                    raise _busy(self.url) from None
            time.sleep(random.uniform(0, 0.02 * lost))  # noqa: S311
            self._objects.catch_up(lost)


_LOST_AT_LEAST = 6


def _repeated(method: Callable[..., T]) -> Callable[..., T]:
    @wraps(method)
    def step(self: ObjectState, *args: Any, **kwargs: Any) -> T:
        return self._until_done(partial(method, self, *args, **kwargs))

    return step


STEPS = frozenset({*dir(StateStore)} - {*dir(StateReader)} - {"close", "save_manifest"} | {"change"})
"""All that writes. A method that takes an iterator cannot be run again as it is."""
for _name in STEPS:
    setattr(ObjectState, _name, _repeated(getattr(SqlState, _name)))


def _busy(url: str) -> StateLocked:
    return StateLocked(
        "BF502",
        f"the state {url} is held by another process",
        hint="Wait until it has finished, or run again; nothing was lost.",
    )


@contextmanager
def _kept(rows: Iterable[ManifestRow]) -> Iterator[Callable[[], Iterator[ManifestRow]]]:
    """Rows that can be read more than once, from a file."""
    with TemporaryFile() as file:
        encode = msgspec.msgpack.Encoder().encode
        for row in rows:
            content = encode(row)
            file.write(len(content).to_bytes(4, "big") + content)
        yield partial(_read_rows, file)


def _read_rows(file: BinaryIO) -> Iterator[ManifestRow]:
    decode = msgspec.msgpack.Decoder(ManifestRow).decode
    file.seek(0)
    while length := file.read(4):
        yield decode(file.read(int.from_bytes(length, "big")))


class _Room:
    """Where the index lies: in a folder that stays, or in one that goes when the state is closed."""

    def __init__(self, folder: Path | None) -> None:
        self._passing = TemporaryDirectory(prefix="batchforge-") if folder is None else None
        self.folder = folder or Path(self._passing.name if self._passing else "")

    def close(self) -> None:
        if self._passing is not None:
            self._passing.cleanup()


def open_objects(
    url: str, folder: Path | None, *, read_only: bool = False, lock_timeout_s: float = 30.0, clock: Clock | None = None
) -> ObjectState:
    """The state at an address, set up where there is none; `folder` keeps its index for the next time.

    Raises:
        StateError: BF501, BF520, BF521, BF522, BF524.
    """
    log = SegmentLog(open_folder(url))
    state_id = log.state_id()
    if state_id is None:
        if read_only:
            raise StateError("BF521", f"there is no state at {url}", hint="`batchforge state init` makes one.")
        state_id = log.set_up()
    room = _Room(folder)
    path = room.folder / f"index-{state_id}.db"
    make = partial(ObjectDatabase, log, path, read_only=read_only, lock_timeout_s=lock_timeout_s, clock=clock)
    try:
        database = make()
    except StateError as exc:
        if exc.problems[0].code != "BF503":
            raise
        remove_index(path)
        database = make()
    return ObjectState(database, lock_timeout_s, clock or SystemClock(), room)


def objects_exist(url: str) -> bool:
    return SegmentLog(open_folder(url)).state_id() is not None
