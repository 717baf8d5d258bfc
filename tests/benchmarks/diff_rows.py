"""How long `batchforge diff` takes when one word of a prompt has changed, and the memory it needs.

python tests/benchmarks/diff_rows.py [rows ...]
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.builders import CLI, child_environment
from tests.peak_memory import peak_of
from tests.reviewing import ReviewedProject

DIFF = """
import contextlib, io, sys
from batchforge.cli import batchforge
with contextlib.redirect_stdout(io.StringIO()):
    batchforge.main(["diff", "--base", "HEAD", *sys.argv[1:]], standalone_mode=False)
"""
WORDS = "The parcel came late, and nobody answered when I asked where it was. " * 6


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [5_000, 50_000]
    print(f"one word of the system prompt changed; Python {platform.python_version()}, {platform.system()}")
    print(f"{'rows':>8}  {'state':<7}  {'wall s':>7}  {'peak MB':>8}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            project = ReviewedProject(Path(folder) / "project")
            project.write_rows([f"Row {number}. {WORDS}" for number in range(rows)])
            project.repo.commit()
            for state in ("none", "answers"):
                if state == "answers":
                    project.run()
                project.replace("prompts/about.md.j2", "Say", "Tell")
                measure(project, rows, state)
                project.replace("prompts/about.md.j2", "Tell", "Say")


def measure(project: ReviewedProject, rows: int, state: str) -> None:
    words = ["--project-dir", str(project.root)]
    began = time.perf_counter()
    done = subprocess.run(
        [*CLI, "diff", "--base", "HEAD", *words], capture_output=True, text=True, env=child_environment(), check=True
    )
    wall_s = time.perf_counter() - began
    assert f"{rows:,} rows to send" in done.stdout
    peak = peak_of(DIFF, *words)
    print(f"{rows:>8,}  {state:<7}  {wall_s:>7.2f}  {peak / 1e6:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
