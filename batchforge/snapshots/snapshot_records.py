"""What is known of a snapshot: a small JSON file beside its data, written last, so that half a snapshot is none."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from batchforge.clock import parse_iso
from batchforge.file_marks import FileMark
from batchforge.project import Project
from batchforge.target import Target
from batchforge.whole_file import is_running, replace_file

FORM = 1
"""Raised when the same query or URL would be copied otherwise, so that it is fetched again."""
KEPT_S = 86_400
"""How long data that no record names any more is kept: a run that began before may still read it."""
RECORD_KEPT_S = 30 * 86_400
"""How long the snapshot of a question is kept that is not asked any more, e.g. of another day."""
_CHUNK_BYTES = 1 << 20


class SnapshotPart(msgspec.Struct, frozen=True):
    file: str
    """Its name in the folder of snapshots."""
    shown_as: str
    sha256: str
    size_bytes: int
    etag: str | None = None
    """Of the remote file. None: the server gives none."""
    modified: str | None = None
    """When the remote file was last changed, as the server says it."""


class Snapshot(msgspec.Struct, frozen=True):
    form: int
    what: str
    """The query's file, its job, or the URL."""
    connection: str | None
    fetched_at: str
    """When the rows were last seen to be these."""
    sha256: str
    """Of the content of all parts."""
    parts: list[SnapshotPart]
    rows: int | None = None
    """Of a query."""
    columns: dict[str, str] = {}
    """Of a query: column -> type, in DuckDB's words."""
    sources: list[FileMark] = []
    """Files of the project that the query was answered from."""
    problem: str = ""
    """Why there is nothing: a document that the server does not have."""

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def age_s(self, now: datetime) -> float:
        return max(0.0, (now - parse_iso(self.fetched_at)).total_seconds())


@dataclass(frozen=True, slots=True)
class SnapshotFolder:
    """The snapshots of one target."""

    project: Project
    target: Target

    @property
    def path(self) -> Path:
        return self.project.artifacts_folder / self.target.name / "snapshots"

    def unfinished(self, name: str) -> Path:
        """For what is being written by this process; `prune` removes those of processes that are gone."""
        return self.path / f".{os.getpid()}.{name}"

    @property
    def relative_path(self) -> str:
        """Project-relative."""
        return self.path.relative_to(self.project.root).as_posix()

    def files(self) -> list[Path]:
        """All that there is, snapshots of every job and what is left of older ones."""
        return sorted(path for path in self.path.glob("*") if path.is_file())

    def find(self, identity: str) -> Snapshot | None:
        """None where there is none, or one of another form, or one whose data is gone."""
        try:
            found = msgspec.json.decode(self._record(identity).read_bytes(), type=Snapshot)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        is_whole = all((self.path / part.file).is_file() for part in found.parts)
        return found if found.form == FORM and is_whole else None

    def save(self, identity: str, snapshot: Snapshot) -> None:
        """A reader sees the old record or the new one."""
        replace_file(self._record(identity), msgspec.json.format(msgspec.json.encode(snapshot), indent=2) + b"\n")

    def still_wanted(self, identity: str) -> None:
        """Spared because it is young: `prune` counts from now on."""
        os.utime(self._record(identity))

    def keep(self, written: Path, ending: str) -> tuple[str, str]:
        """Give a finished file the name of its content; returns the name and the hash."""
        digest = file_sha256(written)
        name = f"{digest[:32]}{ending}"
        written.replace(self.path / name)
        return name, digest

    def prune(self) -> None:
        """Remove old records, and data that no record names any more."""
        named: set[str] = set()
        for record in self.path.glob("*.json"):
            if _is_older(record, RECORD_KEPT_S):
                record.unlink(missing_ok=True)
                continue
            with suppress(OSError, msgspec.MsgspecError):
                named |= {part.file for part in msgspec.json.decode(record.read_bytes(), type=Snapshot).parts}
        for path in self.path.iterdir():
            if path.name.startswith("."):
                _remove_if_left_behind(path)
            elif path.suffix != ".json" and path.name not in named and _is_older(path, KEPT_S):
                path.unlink(missing_ok=True)

    def _record(self, identity: str) -> Path:
        return self.path / f"{identity}.json"


def identity_of(asked: Mapping[str, Any]) -> str:
    """The name of what is asked for: another question is another snapshot."""
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:24]


def sha256_of_parts(parts: list[SnapshotPart]) -> str:
    if len(parts) == 1:
        return parts[0].sha256
    return hashlib.sha256(msgspec.json.encode([(part.shown_as, part.sha256) for part in parts])).hexdigest()


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _is_older(path: Path, age_s: float) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > age_s
    return False


def _remove_if_left_behind(path: Path) -> None:
    process = path.name.split(".")[1]
    if not process.isdigit() or is_running(int(process)):
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
