"""A job's output file -> the object that `output: {file: "s3://..."}` names: there as a whole, or as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from batchforge.allowed_stores import check_allowed
from batchforge.errors import BatchForgeError, Location, ProjectError
from batchforge.object_access import cause_of, object_store
from batchforge.project import Project
from batchforge.spec import JobSpec
from batchforge.target import Target

if TYPE_CHECKING:
    from obstore.store import ObjectStore

TARGET_MARK = "{target}"
_PART_BYTES = 8 * 1024 * 1024
_PATIENCE_S = 60.0


def address_of(spec: JobSpec, target: Target) -> str | None:
    """Where the job's output goes; None: into the project only. Emulated answers never stand where real ones do."""
    address = spec.output.address
    if address is None or why_not_uploaded(spec, target):
        return None
    return address.replace(TARGET_MARK, target.name)


def why_not_uploaded(spec: JobSpec, target: Target) -> str:
    address = spec.output.address
    if address is None or target.type != "emulator" or TARGET_MARK in address:
        return ""
    return f"{address} is not written: emulated answers go only to an address with {TARGET_MARK} in it"


def check_address(spec: JobSpec, project: Project, target: Target) -> None:
    """Offline.

    Raises:
        ProjectError: BF126 the owner of the machine does not allow it, BF139 two targets would write one object.
    """
    address = spec.output.address
    if address is None:
        return
    location = spec.locations.get("output")
    check_allowed(address.replace(TARGET_MARK, target.name), location)
    for other in project.targets.values() if TARGET_MARK not in address else ():
        if "claude" == other.type == target.type and other.name != target.name:
            hint = f"Write {TARGET_MARK} where the target's name shall stand: s3://bucket/{TARGET_MARK}/labels.parquet."
            message = f"The targets `{target.name}` and `{other.name}` would write the same object {address}."
            raise ProjectError("BF139", message, hint=hint, location=location)


def is_there(address: str, location: Location | None) -> bool:
    """
    Raises:
        BatchForgeError: BF712 the store does not say it.
    """
    with _opened(address, location) as (store, name):
        import obstore

        try:
            obstore.head(store, name)
        except FileNotFoundError:
            # HEAD has no words, so whether the bucket is there is asked in a way that has.
            next(iter(obstore.list(store, name)), None)
            return False
    return True


def deliver(spec: JobSpec, target: Target, file: Path, rejected: Path, *, is_published: bool) -> str:
    """The rows and those of them that failed, at their place, or where they are held back as candidates beside it;
    returns where the rows are now, empty where they go nowhere.

    Raises:
        BatchForgeError: BF712 the store does not take them: the old ones are as they were.
    """
    address, location = address_of(spec, target), spec.locations.get("output")
    if address is None:
        return ""
    candidate = _beside(address, ".candidate")
    place = address if is_published else candidate
    if rejected.exists():
        _upload(rejected, _rejected(place), location)
    _upload(file, place, location)
    for each in (
        *([] if rejected.exists() else [_rejected(place)]),
        *([candidate, _rejected(candidate)] if is_published else []),
    ):
        _remove(each, location)
    return place


def _upload(file: Path, address: str, location: Location | None) -> None:
    """In parts, of which the object is made when the last has come: until then readers see the old one."""
    with _opened(address, location) as (store, name), file.open("rb") as content:
        import obstore

        obstore.put(store, name, content, chunk_size=_PART_BYTES, max_concurrency=2)


def _remove(address: str, location: Location | None) -> None:
    with _opened(address, location) as (store, name):
        import obstore

        with suppress(FileNotFoundError):
            obstore.delete(store, name)


def _beside(address: str, word: str) -> str:
    ending = PurePosixPath(address).suffix
    return f"{address.removesuffix(ending)}{word}{ending}"


def _rejected(address: str) -> str:
    return f"{address.removesuffix(PurePosixPath(address).suffix)}.rejected.jsonl"


@contextmanager
def _opened(address: str, location: Location | None) -> Iterator[tuple[ObjectStore, str]]:
    """The store, and the name of the object in it; what goes wrong in the block is told."""
    try:
        import obstore
    except ImportError as exc:
        message = f"{address} needs obstore, which is not installed"
        hint = "pip install 'batchforge[object-store]'"
        raise BatchForgeError("BF237", message, hint=hint, location=location) from exc
    check_allowed(address, location)
    scheme, _, rest = address.partition("://")
    bucket, _, name = rest.partition("/")
    try:
        yield object_store(f"{scheme}://{bucket}", _PATIENCE_S), name
    except (obstore.exceptions.BaseError, OSError, ValueError) as exc:
        hint = (
            "What was there is untouched. Check the address, the network and the cloud's environment variables; the "
            "answers are kept, and the next run writes them without asking again."
        )
        message = f"{address} cannot be written: {cause_of(exc)}"
        raise BatchForgeError("BF712", message, hint=hint, location=location) from None
