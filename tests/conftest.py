"""Emulators and small projects for every test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings

from batchforge.emulator import EmulatorServer, Scenario
from tests.builders import ProjectFiles
from tests.postgres_server import PostgresServer, postgres_server
from tests.s3_server import S3Server, s3_server, s3_url

StartEmulator = Callable[..., EmulatorServer]

# A shell has what it starts in the background ignore interruptions, and `nohup` a closed terminal; all that this
# starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says more about what else the machine does. The examples are the same each time, so that a
# change is told from chance; `--hypothesis-profile explore` takes others.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("tests")


STORES = ("sqlite", "postgresql", "file", "s3")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=STORES)
def state_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a state can be that nobody has made yet, for each kind of store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    if request.param == "file":
        return f"file://{tmp_path}/state"
    if request.param == "s3":
        return s3_url(request.getfixturevalue("s3"), monkeypatch)
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.state_url(f"s_{uuid4().hex}")


@pytest.fixture
def start_emulator(tmp_path: Path) -> Iterator[StartEmulator]:
    """Starts emulators whose batches end at once, unless the scenario's settings say otherwise."""
    numbers = count()
    with ExitStack() as stack:

        def started(**settings: Any) -> EmulatorServer:
            scenario = Scenario(**{"processing_time_s": 0.0, "retry_after_s": None, **settings})
            database = tmp_path / f"emulator-{next(numbers)}.db"
            return stack.enter_context(EmulatorServer(database, scenario=scenario))

        yield started


@pytest.fixture
def emulator(start_emulator: StartEmulator) -> EmulatorServer:
    """A stand-in for the API that lives outside of the project, so that it can be asked what it was sent and billed."""
    return start_emulator()


@pytest.fixture
def project(tmp_path: Path, emulator: EmulatorServer) -> ProjectFiles:
    """A small project whose default target is the emulator."""
    return ProjectFiles(tmp_path / "project", emulator)
