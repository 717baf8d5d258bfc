"""Files of s3://, gs:// and az://: found by name or glob, read in ranges of one version of the object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, BinaryIO

from batchforge.clock import iso
from batchforge.errors import BatchForgeError, Location
from batchforge.object_access import cause_of, object_store
from batchforge.snapshots.remote_file import Interrupted, NotThere, Patience, RemoteFile, unreadable
from batchforge.snapshots.snapshot_records import SnapshotPart

if TYPE_CHECKING:
    from obstore.store import ObjectStore

RANGE_BYTES = 8 * 1024 * 1024
_MARKS = re.compile(r"[*?\[]")


@dataclass(slots=True)
class ObjectFiles:
    url: str
    location: Location | None
    patience: Patience
    stores: dict[str, ObjectStore] = field(default_factory=dict)
    """Of each bucket; shared by those who ask for many files."""
    is_literal: bool = False
    """Whether * and ? in the address are characters of a name."""

    def find(self) -> list[RemoteFile]:
        """In the order of their names.

        Raises:
            BatchForgeError: BF201 there is none.
        """
        bucket, path = self._split()
        self._open()
        is_glob = not self.is_literal and _MARKS.search(path) is not None
        with self._told():
            found = self._listed(path) if is_glob else self._named(path)
            files = [self._file(bucket, meta) for meta in found]
        if not files:
            message = f"no object matches '{self.url}'" if is_glob else f"there is no object '{self.url}'"
            hint = "* stands for any text within a folder, ** for any depth of folders." if is_glob else ""
            raise NotThere("BF201", message, location=self.location, hint=hint)
        return sorted(files, key=lambda file: file.name)

    def read(self, file: RemoteFile, known: SnapshotPart | None, to: BinaryIO) -> RemoteFile | None:
        """Write the whole object; None where it is the one that is known."""
        if known is not None and known.etag and (known.etag, known.size_bytes) == (file.etag, file.size_bytes):
            return None
        reason = ""
        for _ in self.patience.pauses():
            try:
                return self._go_on(file, to)
            except Interrupted as exc:
                reason = str(exc)
        raise unreadable(file.shown_as, reason, self.location)

    def _go_on(self, file: RemoteFile, to: BinaryIO) -> RemoteFile:
        import obstore

        assert file.size_bytes is not None
        while to.tell() < file.size_bytes:
            start = to.tell()
            end = min(start + RANGE_BYTES, file.size_bytes)
            options: Any = {"range": (start, end), **({"if_match": file.etag} if file.etag else {})}
            try:
                data = obstore.get(self.store, file.name, options=options).bytes()
            except (FileNotFoundError, obstore.exceptions.PreconditionError):
                hint = "Fetch again: a snapshot is of one version of the file."
                raise unreadable(file.shown_as, "it changed while it was read", self.location, hint) from None
            except (obstore.exceptions.BaseError, OSError) as exc:
                raise Interrupted(cause_of(exc)) from None
            if len(data) != end - start:
                raise Interrupted("fewer bytes came than were asked for")
            to.write(memoryview(data))
        return file

    def _open(self) -> None:
        try:
            import obstore  # noqa: F401
        except ImportError as exc:
            raise BatchForgeError(
                "BF237",
                f"{self.url} needs obstore, which is not installed",
                hint="pip install 'batchforge[object-store]'",
                location=self.location,
            ) from exc
        if self._bucket not in self.stores:
            with self._told():
                self.stores[self._bucket] = object_store(self._bucket, self.patience.wait_s)

    @property
    def _bucket(self) -> str:
        return f"{self.url.partition('://')[0]}://{self._split()[0]}"

    @property
    def store(self) -> ObjectStore:
        """Opened by `find`."""
        return self.stores[self._bucket]

    def _split(self) -> tuple[str, str]:
        bucket, _, path = self.url.partition("://")[2].partition("/")
        if not bucket or not path:
            hint = "Write e.g. s3://bucket/folder/*.parquet."
            raise BatchForgeError("BF241", "this is no address of a file", location=self.location, hint=hint)
        return bucket, path

    def _listed(self, pattern: str) -> Iterator[Any]:
        import obstore

        folders = pattern[: _MARKS.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
        steps = pattern.split("/")
        for some in obstore.list(self.store, folders or None):
            yield from (meta for meta in some if matches(meta["path"].split("/"), steps))

    def _named(self, path: str) -> list[Any]:
        import obstore

        try:
            return [obstore.head(self.store, path)]
        except FileNotFoundError:
            return []

    def _file(self, bucket: str, meta: Any) -> RemoteFile:
        shown_as = f"{self.url.partition('://')[0]}://{bucket}/{meta['path']}"
        modified: datetime = meta["last_modified"]
        return RemoteFile(meta["path"], shown_as, meta["e_tag"], iso(modified), meta["size"])

    @contextmanager
    def _told(self) -> Iterator[None]:
        import obstore

        try:
            yield
        except (obstore.exceptions.BaseError, OSError, ValueError) as exc:
            hint = (
                "Check the address, the network and the cloud's environment variables, e.g. AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_REGION for s3."
            )
            raise unreadable(self.url, cause_of(exc), self.location, hint) from None


def matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Step by step: `*` and `?` stay within a folder, `**` stands for any folders, also none.

    >>> matches("a/b/c.csv".split("/"), "a/**/*.csv".split("/"))
    True
    """
    if not pattern:
        return not path
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(matches(path[start:], rest) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and matches(path[1:], pattern[1:])
