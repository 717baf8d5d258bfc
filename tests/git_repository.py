"""A git repository with a history that a test makes, and what it takes for git not to ask who is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.project_files import write_files

_IDENTITY = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_ALLOW_PROTOCOL": "file",
}  # fmt: skip


class GitRepository:
    """On the branch main, with one commit of the given files."""

    def __init__(self, root: Path, files: Mapping[str, str | bytes] | None = None) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        if files:
            write_files(root, files)
        self.commit("first")

    def git(self, *words: str) -> str:
        return run_git(self.root, *words)

    def commit(self, message: str = "more", files: Mapping[str, str | bytes] | None = None) -> str:
        """All that is there; returns its hash."""
        write_files(self.root, files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def clone(self, root: Path, *options: str) -> Path:
        run_git(self.root, "clone", "-q", *options, f"file://{self.root}", str(root))
        return root


def run_git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, env=os.environ | _IDENTITY, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
