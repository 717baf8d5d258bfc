"""The commit a project stands at, for the record of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path


def describe_commit(root: Path) -> str:
    """The commit's hash, `-dirty` behind it where the work tree differs; empty outside git."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return ""
    return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--", ".") else commit


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
