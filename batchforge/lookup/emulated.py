"""What an embedded emulator keeps of what it was sent: its database and the bodies beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from batchforge.project import Project
from batchforge.state.records import StateReader
from batchforge.target import Target
from batchforge.targets import emulator_database


def emulated_memory(project: Project, target: Target) -> list[Path]:
    """Files and folders; none where the target has no embedded emulator, or it has not been used."""
    database = emulator_database(project, target)
    if target.type != "emulator" or not database.exists():
        return []
    names = (database.name + ending for ending in ("", "-wal", "-shm", ".bodies"))
    return [path for name in names if (path := database.with_name(name)).exists()]


def may_be_forgotten(state: StateReader) -> bool:
    """Once nothing is in flight, all of its answers are stored in state, and nobody asks for them again."""
    return not state.open_attempts()


def forget_emulated(project: Project, target: Target, state: StateReader) -> list[Path]:
    """Remove it, unless something is in flight; returns what was removed."""
    found = emulated_memory(project, target) if may_be_forgotten(state) else []
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return found
