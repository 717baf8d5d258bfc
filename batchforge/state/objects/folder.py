"""A folder of an object store or of a disk, through obstore: written once, read, listed. Errors have codes of ours, and
name neither keys nor what a server answered beside its code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn
from urllib.parse import unquote, urlsplit

from batchforge.allowed_stores import check_allowed
from batchforge.errors import StateError
from batchforge.object_access import cause_of, object_store

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az", "file")
_PART_BYTES = 8 * 1024 * 1024
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class StoredObject:
    name: str
    size_bytes: int
    written_at: datetime
    """By the clock of the store."""


class ObjectFolder:
    """Objects under one address. Safe to use from several threads."""

    def __init__(self, store: ObjectStore, url: str, disk: Path | None = None) -> None:
        """`disk` is where the objects are files."""
        self.url = url
        self._store = store
        self._disk = disk

    def create(self, name: str, content: bytes) -> bool:
        """Whether it was not there yet; an object that is there stays as it is."""
        import obstore

        with self._named_errors():
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
            self._bring_to_disk(name)
        return True

    def replace(self, name: str, content: bytes) -> None:
        import obstore

        with self._named_errors():
            obstore.put(self._store, name, content, use_multipart=False)
            self._bring_to_disk(name)

    def upload(self, name: str, file: BinaryIO) -> None:
        """A file of any size, in parts: it is there as a whole or not at all."""
        import obstore

        with self._named_errors():
            obstore.put(self._store, name, file, chunk_size=_PART_BYTES, max_concurrency=2)
            self._bring_to_disk(name)

    def read(self, name: str) -> bytes | None:
        import obstore

        try:
            with self._named_errors():
                return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def parts(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """The content of an object that is there, in steps.

        Raises:
            FileNotFoundError: it is not there any more.
        """
        import obstore

        for start in range(0, size_bytes, _PART_BYTES):
            end = min(start + _PART_BYTES, size_bytes)
            with self._named_errors():
                yield bytes(obstore.get_range(self._store, name, start=start, end=end))

    def objects(self, under: str, *, after: str | None = None) -> Iterator[StoredObject]:
        """In no order; only those whose names come after a name."""
        import obstore

        with self._named_errors():
            for some in obstore.list(self._store, under, offset=after):
                for meta in some:
                    yield StoredObject(meta["path"], meta["size"], meta["last_modified"])

    def delete(self, names: Iterable[str]) -> None:
        """What is not there any more is no error."""
        import obstore

        for name in names:
            with suppress(FileNotFoundError), self._named_errors():
                obstore.delete(self._store, name)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        import obstore

        try:
            yield
        except FileNotFoundError as exc:
            if "NoSuchBucket" in str(exc) or "ContainerNotFound" in str(exc):
                _raise_unusable(self.url, exc)
            raise
        except (obstore.exceptions.BaseError, OSError) as exc:
            _raise_unusable(self.url, exc)

    def _bring_to_disk(self, name: str) -> None:
        """The library leaves it to the system when a file reaches the disk; a step of state is durable at once."""
        if self._disk is None:
            return
        for path in (self._disk / name, (self._disk / name).parent):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


def open_folder(url: str, *, patience_s: float = _PATIENCE_S) -> ObjectFolder:
    """The credentials are those of the environment, under the names that each cloud uses. A server that does not answer
    is asked again for `patience_s` seconds.

    Raises:
        ProjectError: BF126 the owner of this machine does not allow it.
        StateError: BF520 the library is not installed, BF521 the address or what the environment says is not usable.
    """
    try:
        import obstore
        from obstore.store import LocalStore
    except ImportError as exc:
        raise StateError(
            "BF520",
            f"the state {url} needs the library obstore, which is not installed",
            hint="Install it: pip install 'batchforge[object-store]'.",
        ) from exc
    parts = urlsplit(url)
    if parts.scheme == "file":
        disk = Path(unquote(parts.path))
        try:
            disk.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            _raise_unusable(url, exc)
        return ObjectFolder(LocalStore(disk), url, disk)
    check_allowed(url)
    try:
        store = object_store(url, patience_s)
    except (obstore.exceptions.BaseError, ValueError) as exc:
        _raise_unusable(url, exc)
    return ObjectFolder(store, url)


def _raise_unusable(url: str, exc: Exception) -> NoReturn:
    # The answer's text may repeat parts of what was signed, so only its code is told.
    raise StateError(
        "BF521",
        f"the state {url} cannot be used: {cause_of(exc)}",
        hint="Check the address, the network and the cloud's environment variables (for s3: AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), then run again. What was stored is whole.",
    ) from None
