"""A fresh emulator, and clients for it that know nothing of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from tests.emulator.wire import HEADERS, Wire

StartEmulator = Callable[..., EmulatorServer]
Connect = Callable[..., Wire]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartEmulator]:
    """Starts emulators on a database of this test; they stop when it ends."""
    with ExitStack() as stack:

        def started(scenario: Scenario | None = None, **options: object) -> EmulatorServer:
            database = tmp_path / "emulator.sqlite"
            server = EmulatorServer(database, scenario=scenario, **options)  # type: ignore[arg-type]
            return stack.enter_context(server)

        yield started


@pytest.fixture
def emulator(start: StartEmulator) -> EmulatorServer:
    return start(Scenario(processing_time_s=0.0))


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def connected(server: EmulatorServer, headers: Mapping[str, str] = HEADERS) -> Wire:
            return stack.enter_context(closing(Wire(server.base_url, headers)))

        yield connected


@pytest.fixture
def wire(emulator: EmulatorServer, connect: Connect) -> Wire:
    return connect(emulator)
