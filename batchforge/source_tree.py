"""Project files as of the work tree; nothing is read from outside the root."""

from __future__ import annotations

from pathlib import Path


class SourceTree:
    """Read-only view of a project's files by project-relative POSIX path."""

    def __init__(self, root: Path) -> None:
        self.root = root
