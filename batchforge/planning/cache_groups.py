"""A prefix that some rows share (fifty questions about each contract): which block, and which groups are worth a write.

The block must be the same, byte for byte, in all rows of a group. That is verified, not believed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batchforge.requests.request import RequestTemplate


@dataclass(slots=True)
class _Group:
    number: int
    first_row: int
    prefix_hashes: list[bytes]
    """Of its first row, up to each slot that depends on the row."""
    piece_bytes: list[int]
    """Of its first row's own texts before each of these slots."""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Two rows of one group that do not agree, by their numbers in the order in which they were added."""

    group: str
    first_row: int
    other_row: int


@dataclass(slots=True)
class CacheGroups:
    """Adds up groups while the rows to be sent stream by."""

    template: RequestTemplate
    _groups: dict[str, _Group] = field(default_factory=dict)
    _last_equal: int | None = None
    """Index into `slots` of the last one up to which all groups agree so far."""
    first_difference: Difference | None = None
    """That because of which the shared part is no longer."""
    numbers: array[int] = field(default_factory=lambda: array("L"))
    """Group of each row, in the order in which they were added."""

    @property
    def slots(self) -> list[tuple[int, int]]:
        """(slot, holes before it) for slots that stand behind at least one row-dependent text."""
        return [(slot, holes) for slot, holes in enumerate(self.template.holes_before_slot) if holes]

    def add(self, name: str, pieces: Sequence[bytes]) -> None:
        slots = self.slots
        same = self.template.identities(pieces)
        hashes = [_hash(same[:holes]) for _, holes in slots]
        group = self._groups.get(name)
        if group is None:
            sizes = [self.template.piece_bytes(pieces[:holes]) for _, holes in slots]
            group = self._groups[name] = _Group(len(self._groups), len(self.numbers), hashes, sizes)
        group.rows += 1
        self._compare(name, group, hashes)
        self.numbers.append(group.number)

    def _compare(self, name: str, group: _Group, hashes: Sequence[bytes]) -> None:
        equal = 0
        while equal < len(hashes) and hashes[equal] == group.prefix_hashes[equal]:
            equal += 1
        if self._last_equal is None or equal - 1 < self._last_equal:
            self._last_equal = equal - 1
            if equal < len(hashes):
                self.first_difference = Difference(name, group.first_row, len(self.numbers))

    @property
    def slot(self) -> int | None:
        """The last slot up to which every group's rows are equal; None where there is none."""
        if self._last_equal is None or self._last_equal < 0:
            return None
        return self.slots[self._last_equal][0]

    def sizes(self) -> list[tuple[int, int]]:
        """(rows, bytes of the row's own texts before `slot`) of each group, by number."""
        if self.slot is None:
            return [(group.rows, 0) for group in self._groups.values()]
        assert self._last_equal is not None
        return [(group.rows, group.piece_bytes[self._last_equal]) for group in self._groups.values()]


def order_of_sending(numbers: Sequence[int], primed: Sequence[bool], *, is_primed: bool) -> Iterator[tuple[str, int]]:
    """(phase, row) for every row: where all are primed one of them first, then one of each primed group, then the rest
    group by group.

    `numbers` holds each row's group; `primed` says of each group whether it is worth a row ahead.
    """
    ahead: set[int] = set()
    opened: set[int] = set()
    if is_primed and numbers:
        yield "prime", 0
        ahead.add(0)
        opened.add(numbers[0])
    for row, group in enumerate(numbers):
        if group not in opened and primed[group]:
            opened.add(group)
            ahead.add(row)
            yield "prime groups", row
    for row in sorted(range(len(numbers)), key=numbers.__getitem__):
        if row not in ahead:
            yield "rest", row


def _hash(pieces: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"\0".join(pieces), digest_size=16).digest()


def first_differing_byte(first: Sequence[bytes], other: Sequence[bytes]) -> tuple[int, int]:
    """(text, byte) from which on two rows' own texts differ."""
    for number, (one, two) in enumerate(zip(first, other, strict=True)):
        if one != two:
            place = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
            return number, place - 1  # without the quote that opens the JSON text
    raise ValueError("the texts are equal")
