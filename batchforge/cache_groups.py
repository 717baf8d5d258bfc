"""A prefix that some rows share (fifty questions about each contract): which block, and which groups are worth a write.

The block must be the same, byte for byte, in all rows of a group. That is verified, not believed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from batchforge.request import RequestTemplate


@dataclass(slots=True)
class _Group:
    number: int
    rows: int
    pieces: tuple[bytes, ...]
    """Of its first row."""
    prefix_hashes: list[bytes]
    """Of its first row, up to each slot that depends on the row."""


@dataclass(slots=True)
class CacheGroups:
    """Adds up groups while the rows to be sent stream by."""

    template: RequestTemplate
    _groups: dict[str, _Group] = field(default_factory=dict)
    _last_equal: int | None = None
    """Index into `slots` of the last one up to which all groups agree so far."""
    _first_difference: str = ""
    numbers: array[int] = field(default_factory=lambda: array("L"))
    """Group of each row, in the order in which they were added."""

    @property
    def slots(self) -> list[tuple[int, int]]:
        """(slot, holes before it) for slots that stand behind at least one row-dependent text."""
        return [(slot, holes) for slot, holes in enumerate(self.template.holes_before_slot) if holes]

    def add(self, group: str, pieces: Sequence[bytes]) -> None:
        hashes = [_hash(pieces[:holes]) for _, holes in self.slots]
        held = self._groups.get(group)
        if held is None:
            held = self._groups[group] = _Group(len(self._groups), 0, tuple(pieces), hashes)
        held.rows += 1
        self.numbers.append(held.number)
        equal = 0
        while equal < len(hashes) and hashes[equal] == held.prefix_hashes[equal]:
            equal += 1
        if self._last_equal is None or equal - 1 < self._last_equal:
            self._last_equal = equal - 1
            if equal < len(hashes):
                self._first_difference = _difference(group, held.pieces, pieces)

    @property
    def slot(self) -> int | None:
        """The last slot up to which every group's rows are equal; None where there is none."""
        if self._last_equal is None or self._last_equal < 0:
            return None
        return self.slots[self._last_equal][0]

    @property
    def first_difference(self) -> str:
        """In words: which rows of which group differ, from which byte on."""
        return self._first_difference

    def sizes(self) -> list[int]:
        """Rows of each group, by number."""
        return [group.rows for group in self._groups.values()]


def order_of_sending(numbers: Sequence[int], primed: Mapping[int, bool]) -> Iterator[tuple[str, int]]:
    """(phase, row) for every row: one row of all first, then one of each group that is primed, then group by group.

    `numbers` holds each row's group; `primed` says of each group whether it is worth a row ahead.
    """
    rows = range(len(numbers))
    if not numbers:
        return
    yield "prime", 0
    opened = {numbers[0]}
    ahead = {0}
    for row in rows:
        if numbers[row] not in opened and primed[numbers[row]]:
            opened.add(numbers[row])
            ahead.add(row)
            yield "prime groups", row
    for row in sorted(rows, key=numbers.__getitem__):
        if row not in ahead:
            yield "rest", row


def _hash(pieces: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"\0".join(pieces), digest_size=16).digest()


def _difference(group: str, first: Sequence[bytes], other: Sequence[bytes]) -> str:
    for number, (one, two) in enumerate(zip(first, other, strict=True)):
        if one != two:
            place = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
            return f"rows of the group '{group}' differ in text {number + 1} from byte {place} on"
    return ""
