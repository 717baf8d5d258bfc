"""The emulator in a process of its own, as the command starts it; it ends with the test, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.emulator.wire import Wire

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from batchforge.commands.emulator import command; command()"]


@contextmanager
def process(*options: str) -> Iterator[tuple[Wire, subprocess.Popen[str]]]:
    command = [*COMMAND, "--port", "0", "--output", "json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            assert running.stdout is not None
            wire = Wire(json.loads(running.stdout.readline())["base_url"])
            try:
                yield wire, running
            finally:
                wire.close()
        finally:
            running.terminate()
