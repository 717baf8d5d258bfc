"""Faults that were asked for, counted in the store: each hits as often as it was told to, across restarts."""

from __future__ import annotations

import sqlite3

import msgspec

from batchforge.emulator.row_rules import draw
from batchforge.emulator.scenario import Fault, Scenario
from batchforge.emulator.store import Store


class Faults:
    def __init__(self, store: Store, scenario: Scenario) -> None:
        self._store = store
        self._seed = scenario.seed
        self._scenario = scenario
        self.arm_scenario()

    def arm_scenario(self) -> None:
        """The scenario's own faults: once per database, so that a restart does not fire them again."""
        for number, fault in enumerate(self._scenario.faults):
            self._store.execute(
                "INSERT OR IGNORE INTO faults (origin, fault) VALUES (?, ?)", f"{number} {_text(fault)}", _text(fault)
            )

    def add(self, fault: Fault) -> int:
        return self._store.execute("INSERT INTO faults (fault) VALUES (?)", _text(fault))

    def clear(self) -> None:
        self._store.execute("UPDATE faults SET active = 0")

    def listed(self) -> list[tuple[int, Fault, int]]:
        """Number, fault, and how often it has hit; those that can hit again."""
        rows = self._store.rows("SELECT no, fault, fired FROM faults WHERE active = 1 ORDER BY no")
        return [(row["no"], _fault(row["fault"]), row["fired"]) for row in rows]

    def hit(self, endpoint: str) -> Fault | None:
        """The first fault that hits this request; everything that matches it is counted."""
        if not self._store.value("SELECT EXISTS (SELECT 1 FROM faults WHERE active = 1)"):
            return None
        with self._store.transaction():
            for row in self._store.rows("SELECT * FROM faults WHERE active = 1 ORDER BY no"):
                fault = _fault(row["fault"])
                if fault.covers(endpoint) and self._counts_and_hits(row, fault):
                    return fault
        return None

    def _counts_and_hits(self, row: sqlite3.Row, fault: Fault) -> bool:
        matched = row["matched"]
        hits = matched >= fault.skip and draw(fault.share, self._seed, row["fault"], matched)
        fired = row["fired"] + hits
        is_over = fault.times is not None and fired >= fault.times
        self._store.execute(
            "UPDATE faults SET matched = ?, fired = ?, active = ? WHERE no = ?",
            matched + 1,
            fired,
            not is_over,
            row["no"],
        )
        return hits


def _text(fault: Fault) -> str:
    return msgspec.json.encode(fault).decode()


def _fault(text: str) -> Fault:
    return msgspec.json.decode(text, type=Fault)
