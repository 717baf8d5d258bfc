"""A URL, or a glob of them -> copies of the files as they are; what has not changed is not fetched again."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import urlsplit

from batchforge.allowed_stores import check_allowed
from batchforge.clock import iso
from batchforge.errors import BatchForgeError, Location
from batchforge.snapshots.http_files import HttpFiles
from batchforge.snapshots.object_files import ObjectFiles
from batchforge.snapshots.remote_file import Patience, RemoteFile
from batchforge.snapshots.snapshot_inputs import without_query
from batchforge.snapshots.snapshot_records import FORM, Snapshot, SnapshotFolder, SnapshotPart, sha256_of_parts
from batchforge.spec import OBJECT_SCHEMES, InputSpec
from batchforge.tables.options import COMPRESSED_ENDINGS

if TYPE_CHECKING:
    from obstore.store import ObjectStore

AT_ONCE = 4
"""How many files are read at the same time; each holds a few MB."""


class RemoteFiles(Protocol):
    def find(self) -> list[RemoteFile]: ...

    def read(self, file: RemoteFile, known: SnapshotPart | None, to: BinaryIO) -> RemoteFile | None: ...


def fetch_files(
    spec: InputSpec,
    folder: SnapshotFolder,
    before: Snapshot | None,
    now: datetime,
    patience: Patience | None = None,
    *,
    stores: dict[str, ObjectStore] | None = None,
    is_literal: bool = False,
) -> Snapshot:
    """`stores`: those that are open; `is_literal`: the address is one file, whatever characters its name has.

    Raises:
        BatchForgeError: a file is not there, or cannot be read to its end; the snapshot of before stays as it is.
    """
    assert spec.files is not None
    source = _source(spec.files, spec.location, patience or Patience())
    if isinstance(source, ObjectFiles):
        source.is_literal = is_literal
        source.stores = source.stores if stores is None else stores
    known = {part.shown_as: part for part in before.parts} if before else {}
    copier = _Copier(source, folder, known)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = list(pool.map(copier.copy, source.find()))
    return Snapshot(
        form=FORM,
        what=without_query(spec.files),
        connection=None,
        fetched_at=iso(now),
        sha256=sha256_of_parts(parts),
        parts=parts,
    )


@dataclass(frozen=True, slots=True)
class _Copier:
    source: RemoteFiles
    folder: SnapshotFolder
    known: dict[str, SnapshotPart]

    def copy(self, file: RemoteFile) -> SnapshotPart:
        known = self.known.get(file.shown_as)
        unfinished = self.folder.unfinished(f"{id(file):x}.part")
        try:
            with _private_file(unfinished) as to:
                read = self.source.read(file, known, to)
                size_bytes = to.tell()
            if read is None:
                assert known is not None
                return known
            name, digest = self.folder.keep(unfinished, _endings(file.shown_as))
        finally:
            unfinished.unlink(missing_ok=True)
        return SnapshotPart(name, file.shown_as, digest, size_bytes, read.etag, read.modified)


def _private_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b")


def _endings(url: str) -> str:
    """Those that tell the format: .csv.gz of a/b.2026.csv.gz."""
    name = PurePosixPath(urlsplit(url).path)
    last = name.suffix.lower()
    return PurePosixPath(name.stem).suffix.lower() + last if last in COMPRESSED_ENDINGS else last


def _source(url: str, location: Location | None, patience: Patience) -> RemoteFiles:
    scheme = url.partition("://")[0]
    check_allowed(url, location)
    if scheme in OBJECT_SCHEMES:
        return ObjectFiles(url, location, patience)
    if scheme in ("https", "http"):
        return HttpFiles(url, location, patience)
    hint = "Files are read from s3://, gs://, az:// and https://."
    raise BatchForgeError("BF241", f"`{scheme}://` is not known", location=location, hint=hint)
