"""A git repository -> its commits, trees and files, read with plumbing from the object store; nothing is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from batchforge.errors import ProjectError

_TIMEOUT_S = 120
_CHUNK_BYTES = 1 << 20
# Nothing may ask for a password, take a lock, or change its words with the language.
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
SUBMODULE, LINK = "160000", "120000"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its mode and the name of its object."""

    mode: str
    object_id: str


class Repository:
    """The repository that a folder lies in."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ProjectError: BF170 the folder is in no repository, or git is not there.
        """
        self.folder = folder
        self._reader: subprocess.Popen[bytes] | None = None
        self.prefix = self._require("rev-parse", "--show-prefix").rstrip("/")
        """From the repository's root to the folder; empty where they are the same."""

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._reader is None:
            return
        for pipe in (self._reader.stdin, self._reader.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # git ends where it cannot fetch what a partial clone lacks
                    pipe.close()
        self._reader.wait()
        self._reader = None

    # ---- commits

    def commit(self, name: str) -> str | None:
        """The full hash of the commit that a name means; None where it means none that is here."""
        return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def merge_base(self, one: str, other: str) -> str | None:
        return (self.ask("merge-base", one, other) or "").split("\n")[0] or None

    def recorded_parents(self, commit: str) -> list[str]:
        """As they stand in the commit, also those that a shallow clone does not have."""
        lines = self.read(commit).decode("utf-8", "replace").split("\n\n")[0].split("\n")
        return [line.removeprefix("parent ") for line in lines if line.startswith("parent ")]

    def is_shallow(self) -> bool:
        return self.ask("rev-parse", "--is-shallow-repository") == "true"

    def remotes(self) -> list[str]:
        """`origin` first."""
        names = (self.ask("remote") or "").split()
        return sorted(names, key=lambda name: (name != "origin", name))

    def is_submodule(self) -> bool:
        return bool(self.ask("rev-parse", "--show-superproject-working-tree"))

    def is_dirty(self) -> bool:
        return bool(self.ask("status", "--porcelain", "--", "."))

    def ignored(self, paths: list[str]) -> set[str]:
        """Those of some paths, relative to the folder, that git is told to ignore."""
        if not paths:
            return set()
        given = b"\0".join(os.fsencode(path) for path in paths) + b"\0"
        done = self._run("check-ignore", "-z", "--stdin", given=given)
        return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}

    def folders_with(self, file_name: str, head: str | None) -> set[str]:
        """Folders, from the repository's root, that hold a file of this name; `head` None: in the work tree."""
        if head is not None:
            paths = list(self.tree(head, "") or {})
        else:
            done = self._run("ls-files", "-z", "--full-name", "--", f":(top,glob)**/{file_name}")
            paths = [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]
        return {path.rpartition("/")[0] for path in paths if path.rpartition("/")[2] == file_name}

    # ---- trees and files

    def tree(self, commit: str, prefix: str) -> Mapping[str, Entry] | None:
        """Path below the prefix -> file; None where the commit has no such folder."""
        done = self._run("ls-tree", "-r", "-z", "--full-tree", f"{commit}:{prefix}")
        if done.returncode:
            return None
        return dict(_entries(done.stdout))

    def read(self, object_id: str) -> bytes:
        return b"".join(self._chunks(object_id))

    def copy(self, object_id: str, to: BinaryIO) -> None:
        for chunk in self._chunks(object_id):
            to.write(chunk)

    def _chunks(self, object_id: str) -> Iterator[bytes]:
        """
        Raises:
            ProjectError: BF174 the object is not here.
        """
        if self._reader is None:
            self._reader = self._start_reader()
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        with suppress(BrokenPipeError):
            self._reader.stdin.write(f"{object_id}\n".encode())
            self._reader.stdin.flush()
        answer = self._reader.stdout.readline().split()
        if not answer:
            self.close()
        if len(answer) != 3:
            raise _missing(object_id)
        yield from _exactly(self._reader.stdout, int(answer[2]))
        self._reader.stdout.read(1)

    def _start_reader(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["git", "-C", str(self.folder), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT,
        )

    # ---- git

    def ask(self, *words: str) -> str | None:
        """What git answers; None where it refuses."""
        done = self._run(*words)
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None

    def _require(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            # Also where git refuses a folder that belongs to somebody else, as on some runners.
            reason = done.stderr.decode("utf-8", "replace").strip().split("\n")[0].removeprefix("fatal: ")
            hint = "Run it in a clone of the repository, or `git init` and commit first."
            raise ProjectError("BF170", f"`{self.folder}` is not in a git repository: {reason}.", hint=hint)
        return done.stdout.decode("utf-8", "replace").strip()

    def _run(self, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "-C", str(self.folder), *words]
        try:
            return subprocess.run(
                command,
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                env=os.environ | _ENVIRONMENT,
            )
        except FileNotFoundError as exc:
            raise ProjectError("BF170", "git is not installed.", hint="Install it; the base is read with it.") from exc
        except subprocess.TimeoutExpired as exc:
            message = f"git did not answer within {_TIMEOUT_S} s: {' '.join(command)}"
            raise ProjectError("BF174", message, hint="Try the command by hand.") from exc


def _entries(listing: bytes) -> Iterator[tuple[str, Entry]]:
    for line in listing.split(b"\0"):
        if line:
            head, _, path = line.partition(b"\t")
            mode, _, object_id = head.decode().split(" ")
            yield os.fsdecode(path), Entry(mode, object_id)


def _exactly(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK_BYTES))
        if not chunk:
            raise ProjectError("BF174", "git ended in the middle of a file.", hint="`git fsck` tells what is damaged.")
        size -= len(chunk)
        yield chunk


def _missing(object_id: str) -> ProjectError:
    return ProjectError(
        "BF174",
        f"The object {object_id[:12]} is not in this clone.",
        hint="A partial clone lacks files of older commits: `git fetch --refetch`, or clone without --filter.",
    )
