"""The log of a state in a folder of objects: numbered heads, each written once; who writes a number has the turn.

    state.json                   what this is, and of which form
    log/000000000042             head: a line of JSON, and behind it the segment itself where it is small
    bodies/000000000042-<token>  a segment that is large, there before its head
    snapshots/000000000040-...   the whole state as of a number, so that nobody has to read from the start

A number can be taken once: the store refuses a second object of the same name. So a writer who has not seen what
others wrote cannot write, whatever it believes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

import msgspec

from batchforge.clock import Clock, SystemClock
from batchforge.errors import StateError
from batchforge.state.objects.folder import ObjectFolder, StoredObject

FORMAT = 1
INLINE_BYTES = 256 * 1024
"""A segment up to this size travels in its head: one object instead of two."""
KEPT_FOR = timedelta(days=1)
"""A number may be taken a second time once its head is gone, so a head outlives by far what any writer goes without
looking at the log."""
_SNAPSHOT_KEPT_FOR = timedelta(hours=1)
"""Somebody may be reading the one before the newest."""
_MARKER = "state.json"
_TRIES = 5


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself."""

    number: int
    token: str
    """Tells this writing of the number from every other."""
    previous: str
    """The token of the number before."""
    schema: int
    """The version of the tables that the segment was written for."""
    size_bytes: int = 0
    body: str = ""
    """The object that holds the segment; empty where it follows the head."""
    is_void: bool = False
    """Cut short: some servers keep what had come of an object when the connection broke, and the number with it. Its
    writer was told nothing and writes again under another; everybody passes it over."""
    is_erased: bool = False
    """The number stays taken, what was under it is gone."""
    turn_of: str = ""
    """The writer who asks the others to let it write next, after it was outrun."""
    turn_s: float = 0.0
    """For so many seconds."""


@dataclass(frozen=True, slots=True)
class Segment:
    head: Head
    inline: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state as of a number."""

    number: int
    name: str
    size_bytes: int
    written_at: datetime


class _Marker(msgspec.Struct, frozen=True):
    format: int
    state_id: str


def new_token() -> str:
    return secrets.token_hex(8)


class SegmentLog:
    """Reads need no turn; a write takes the next number or learns that somebody else has it."""

    def __init__(self, folder: ObjectFolder, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()

    @property
    def url(self) -> str:
        return self._folder.url

    # ---- setting up

    def state_id(self) -> str | None:
        """None where nothing was set up.

        Raises:
            StateError: BF501 a newer version set it up, BF524 it is something else.
        """
        text = self._folder.read(_MARKER)
        if text is None:
            return None
        try:
            marker = msgspec.json.decode(text, type=_Marker)
        except msgspec.DecodeError as exc:
            raise self.damaged(f"{_MARKER} is not one of ours") from exc
        if marker.format > FORMAT:
            raise StateError(
                "BF501",
                f"the state {self.url} was set up by a newer version of BatchForge (form {marker.format}; this one "
                f"knows {FORMAT})",
                hint="Upgrade BatchForge: pip install -U batchforge. Nothing was changed.",
            )
        return marker.state_id

    def set_up(self) -> str:
        """Makes an empty log where there is none, and returns its id. Harmless where there is one.

        Raises:
            StateError: BF522 the store lets an object be written twice, so two writers could not be kept apart.
        """
        self._probe()
        self._folder.create(_MARKER, msgspec.json.encode(_Marker(FORMAT, new_token())))
        state_id = self.state_id()
        assert state_id is not None
        return state_id

    def _probe(self) -> None:
        name = f"probe-{new_token()}"
        try:
            is_first, is_second = self._folder.create(name, b"first"), self._folder.create(name, b"second")
            kept = self._folder.read(name)
        finally:
            self._folder.delete([name])
        if not is_first or is_second or kept != b"first":
            raise StateError(
                "BF522",
                f"the store {self.url} cannot hold a state: it lets an object be written a second time that was to be "
                "written only if it is not there yet",
                hint="Use a store with conditional writes (S3 has them since 2024), or PostgreSQL.",
            )

    # ---- the log

    def append(self, head: Head, segment: BinaryIO) -> bool:
        """Whether the number is ours; False where somebody else has it.

        Raises:
            StateError: BF521 it is not known whether it was written. Then it is found when the log is read.
        """
        if head.size_bytes <= INLINE_BYTES:
            return self._take_number(head, segment.read())
        body = f"bodies/{head.number:012d}-{head.token}"
        self._folder.upload(body, segment)
        is_ours = self._take_number(msgspec.structs.replace(head, body=body), b"")
        if not is_ours:
            self._folder.delete([body])
        return is_ours

    def _take_number(self, head: Head, inline: bytes) -> bool:
        content = msgspec.json.encode(head) + b"\n" + inline
        failure: StateError | None = None
        for _ in range(_TRIES):
            try:
                if self._folder.create(_head_name(head.number), content):
                    return True
            except StateError as exc:
                failure = exc  # it may have come in all the same
            if there := self.segment(head.number):
                # A request that was sent again after a lost answer finds its own object.
                return there.head.token == head.token
            self._clock.sleep(0.2)  # or two conditional writes met, and neither has been carried out yet
        if failure is not None:
            raise failure
        return False

    def segment(self, number: int) -> Segment | None:
        content = self._folder.read(_head_name(number))
        if content is None:
            return None
        line, has_line, inline = content.partition(b"\n")
        if not has_line:
            return _void(number)
        try:
            head = msgspec.json.decode(line, type=Head)
        except msgspec.DecodeError as exc:
            raise self.damaged(f"{_head_name(number)} is not one of ours") from exc
        if head.number != number:
            raise self.damaged(f"{_head_name(number)} is in the place of another")
        if not head.body and len(inline) < head.size_bytes:
            return _void(number)
        return Segment(head, inline)

    def has_all(self, first: int, last: int) -> bool:
        found = self._folder.objects("log", after=_head_name(first - 1))
        return sum(int(each.name.rpartition("/")[2]) <= last for each in found) == last - first + 1

    def withdraw(self, number: int) -> None:
        """What was written under a number that the log had left behind."""
        self._folder.delete([_head_name(number)])

    def content(self, segment: Segment) -> Iterator[bytes]:
        """Raises FileNotFoundError where it was pruned meanwhile."""
        if not segment.head.body:
            yield segment.inline
            return
        yield from self._folder.parts(segment.head.body, segment.head.size_bytes)

    # ---- snapshots

    def snapshots(self) -> list[Snapshot]:
        """The newest first."""
        found = (
            Snapshot(int(number), each.name, each.size_bytes, each.written_at)
            for each in self._folder.objects("snapshots")
            if (number := each.name.rpartition("/")[2].partition("-")[0]).isdigit()
        )
        return sorted(found, key=lambda snapshot: snapshot.number, reverse=True)

    def save_snapshot(self, number: int, file: BinaryIO) -> None:
        self._folder.upload(f"snapshots/{number:012d}-{new_token()}", file)

    def snapshot_content(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Raises FileNotFoundError where it was pruned meanwhile."""
        yield from self._folder.parts(snapshot.name, snapshot.size_bytes)

    # ---- pruning

    def prune(self, kept_for: timedelta = KEPT_FOR) -> None:
        """Removes what the newest snapshot covers and what is old."""
        snapshots = self.snapshots()
        if not snapshots:
            return
        covered, before = snapshots[0].number, self._clock.now() - kept_for
        self._folder.delete(each.name for each in self._up_to(covered) if each.written_at < before)
        before = self._clock.now() - min(kept_for, _SNAPSHOT_KEPT_FOR)
        self._folder.delete(each.name for each in snapshots[1:] if each.written_at < before)

    def erase(self, number: int) -> None:
        """Leaves nothing of what was written up to a number but the newest snapshot of it or of a later one. The
        numbers stay taken."""
        before = self._clock.now() - KEPT_FOR
        for each in self._up_to(number):
            if each.name.startswith("log/") and each.written_at >= before:
                self._empty(int(each.name.rpartition("/")[2]))
            else:
                self._folder.delete([each.name])
        self._folder.delete(each.name for each in self.snapshots() if each.number < number)

    def _empty(self, number: int) -> None:
        there = self.segment(number)
        if there is not None and not there.head.is_erased:
            head = msgspec.structs.replace(there.head, size_bytes=0, body="", is_erased=True)
            self._folder.replace(_head_name(number), msgspec.json.encode(head) + b"\n")

    def _up_to(self, number: int) -> Sequence[StoredObject]:
        return [
            each
            for under in ("log", "bodies")
            for each in self._folder.objects(under)
            if int(each.name.rpartition("/")[2].partition("-")[0]) <= number
        ]

    def damaged(self, what: str) -> StateError:
        return StateError(
            "BF524",
            f"the state {self.url} is damaged or not a state: {what}",
            hint="Restore the store's objects as they were, or point the target's `state:` at an empty place and read "
            "what was paid back: `batchforge state recover`.",
        )


def _head_name(number: int) -> str:
    return f"log/{number:012d}"


def _void(number: int) -> Segment:
    return Segment(Head(number=number, token="", previous="", schema=0, is_void=True), b"")
