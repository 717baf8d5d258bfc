"""Planned rows in a private file, and the order in which those to be sent leave it."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, NamedTuple

import msgspec

from batchforge.planning.cache_groups import CacheGroups, order_of_sending
from batchforge.planning.caching import CacheDecision, cache_control_json
from batchforge.planning.estimate import GATES, Phase
from batchforge.state.records import ManifestRow

_READ_BYTES = 1 << 20


class Action(StrEnum):
    SUBMIT = "submit"
    REUSE = "reuse"
    WAIT = "wait"
    """In flight already."""
    FAILED = "failed"
    """Asked and paid (or refused as invalid) before; only `retry` asks again."""
    BLOCKED = "blocked"
    """Cannot be asked at all."""


class PlannedRow(NamedTuple):
    """A row and what is to become of it."""

    row: ManifestRow
    action: Action
    reason: str
    pieces: tuple[bytes, ...] | None
    """The row's own texts; None where the row is not the one that is sent for its request."""


class RowSpool:
    """Planned rows in a private temporary file that has no name: written once, read as often as needed."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="batchforge-plan-")  # noqa: SIM115 - closed by close()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(PlannedRow).decode
        self._size = 0

    def write(self, planned: PlannedRow) -> int:
        """Returns where the row stands, for `read_at`."""
        data = self._encode(planned)
        self._file.write(len(data).to_bytes(4, "big"))
        self._file.write(data)
        offset, self._size = self._size, self._size + 4 + len(data)
        return offset

    def read_at(self, offset: int) -> PlannedRow:
        self._file.flush()
        handle = self._file.fileno()
        size = int.from_bytes(os.pread(handle, 4, offset), "big")
        return self._decode(os.pread(handle, size, offset + 4))

    def read(self) -> Iterator[PlannedRow]:
        self._file.flush()
        buffer, offset = b"", 0
        # Reads by offset, so that several passes can be under way at once.
        while chunk := os.pread(self._file.fileno(), _READ_BYTES, offset):
            offset += len(chunk)
            buffer += chunk
            start = 0
            while len(buffer) - start >= 4:
                end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
                if end > len(buffer):
                    break
                yield self._decode(memoryview(buffer)[start + 4 : end])
                start = end
            buffer = buffer[start:]

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Which rows make up each phase, and which breakpoints they carry."""

    phases: tuple[Phase, ...]
    marks: tuple[Mapping[int, bytes], Mapping[int, bytes]]
    """Slot -> cache_control: of ordinary rows, and of rows whose group's prefix is cached."""
    _offsets: Mapping[str, Sequence[int]] | None = None
    """Phase -> where its rows stand in the spool; None where they are sent in input order."""
    _in_marked_group: frozenset[int] = frozenset()
    """Offsets of rows whose group's prefix is cached."""

    @classmethod
    def in_input_order(cls, phases: tuple[Phase, ...], marks: Mapping[int, bytes]) -> SendOrder:
        return cls(phases, (marks, marks))

    @classmethod
    def by_group(
        cls, groups: CacheGroups, offsets: Sequence[int], caching: CacheDecision, is_marked: Sequence[bool], canary: int
    ) -> SendOrder:
        """Rows of a group together. `is_marked` says of each group whether its prefix is written to the cache."""
        chosen, marks = caching.groups, caching.cache_control()
        group_marks = {**marks, chosen.slot: cache_control_json(chosen.ttl)} if chosen else marks
        primed = [chosen is not None and chosen.is_primed and is_so for is_so in is_marked]
        by_phase: dict[str, array[int]] = {name: array("Q") for name in ("prime", "prime groups", "canary", "rest")}
        for phase, row in order_of_sending(groups.numbers, primed, is_primed=caching.is_primed):
            is_canary = phase == "rest" and len(by_phase["canary"]) < canary
            by_phase["canary" if is_canary else phase].append(offsets[row])
        in_group = frozenset(offsets[row] for row, group in enumerate(groups.numbers) if is_marked[group])
        phases = tuple(Phase(name, len(rows), GATES.get(name, "")) for name, rows in by_phase.items() if rows)
        return cls(phases, (marks, group_marks), by_phase, in_group)

    def without_marks(self) -> SendOrder:
        """The same rows in the same order, nothing of them cached."""
        return replace(self, marks=({}, {}))

    def rows(self, phase: str, spool: RowSpool) -> Iterator[tuple[PlannedRow, bool]]:
        """(row, whether its group's prefix is cached) for each row of the phase."""
        if self._offsets is not None:
            for offset in self._offsets[phase]:
                yield spool.read_at(offset), offset in self._in_marked_group
            return
        first, last = self._range(phase)
        number = 0
        for planned in spool.read():
            if planned.pieces is None:
                continue
            if first <= number < last:
                yield planned, False
            number += 1
            if number >= last:
                return

    def _range(self, phase: str) -> tuple[int, int]:
        start = 0
        for each in self.phases:
            if each.name == phase:
                return start, start + each.requests
            start += each.requests
        return start, start
