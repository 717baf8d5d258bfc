"""The most memory that a process has held, measured in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def peak_memory_bytes() -> int:
    """Linux hands the peak of the parent down to getrusage, so the kernel's own note of this process is read first."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_of(program: str, *arguments: str) -> int:
    """The peak of a new process that runs the program, its imports included."""
    measured = f"{program}\nfrom tests.peak_memory import peak_memory_bytes\nprint(peak_memory_bytes())"
    command = [sys.executable, "-c", measured, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(run.stdout)
