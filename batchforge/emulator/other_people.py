"""Batches of other people in the same workspace: they are listed and can be read, and count for nothing."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkstemp

import msgspec

from batchforge.emulator.batch_life import Traits
from batchforge.emulator.batch_store import BatchStore
from batchforge.emulator.envelope import read_envelope
from batchforge.emulator.gate import DEFAULT_WORKSPACE, VERSIONS
from batchforge.emulator.scenario import Scenario
from batchforge.emulator.store import Store

APART_S = 600.0
MODEL = "claude-haiku-4-5"


def add_other_batches(store: Store, batches: BatchStore, scenario: Scenario, now_s: float) -> None:
    """One every ten minutes up to now, of one, two, three, one, … requests; once per database."""
    with store.transaction():
        present = int(store.value("SELECT COUNT(*) FROM batches WHERE others = 1"))
        for number in range(present, scenario.other_batches):
            created_s = now_s - (scenario.other_batches - number) * APART_S
            _add(store, batches, scenario, number, created_s)


def _add(store: Store, batches: BatchStore, scenario: Scenario, number: int, created_s: float) -> None:
    body = _body(number)
    entries = read_envelope(body)
    assert isinstance(entries, list)
    batches.add(
        DEFAULT_WORKSPACE,
        Traits.of(scenario, VERSIONS[-1], frozenset()),
        entries,
        _written(body, store.bodies),
        now_s=created_s,
        listed_s=created_s,
        is_others=True,
    )


def _body(number: int) -> bytes:
    requests = [
        {
            "custom_id": f"other-{number}-{row}",
            "params": {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": f"Question {row}"}]},
        }
        for row in range(number % 3 + 1)
    ]
    return msgspec.json.encode({"requests": requests})


def _written(body: bytes, folder: Path) -> Path:
    handle, name = mkstemp(prefix="incoming-", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
    return Path(name)
