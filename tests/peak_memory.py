"""The most memory that a process has held, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def peak_of(program: str, *arguments: str) -> int:
    """The peak in bytes of a new process that runs the program, its imports included."""
    measured = f"{program}\nfrom batchforge.profiling import peak_memory_bytes\nprint(peak_memory_bytes())"
    command = [sys.executable, "-c", measured, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(run.stdout)
