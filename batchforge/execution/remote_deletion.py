"""Deleting at the API: batches once their results are stored, for targets that say `delete_remote: after_collect`, and
uploaded files that no run needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchforge.backends.base import BatchBackend, BatchGone, FilesBackend, Unavailable
from batchforge.clock import iso
from batchforge.errors import BatchForgeError
from batchforge.state.records import StateReader, StateStore

_LONGEST_BATCH = timedelta(days=2)
"""A file that a batch may still read was used within so much time."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What came of it. A batch that was gone already counts as deleted."""

    batch_ids: Sequence[str] = ()
    failures: dict[str, str] = field(default_factory=dict)
    """Batch -> why the API still holds it; the next run or `collect` tries again."""
    file_ids: Sequence[str] = ()


def delete_stored(state: StateStore, backend: BatchBackend, target: str) -> Deleted:
    """Delete every batch of the target whose results are stored. Never raises: what was paid is safe already."""
    return delete_batches(state, backend, state.undeleted_batches(target))


def delete_batches(state: StateStore, backend: BatchBackend, batch_ids: Sequence[str]) -> Deleted:
    """Stops at the first that cannot be deleted: the others would fail in the same way."""
    deleted: list[str] = []
    for batch_id in batch_ids:
        try:
            backend.delete(batch_id)
        except BatchGone:
            pass
        except (Unavailable, BatchForgeError) as exc:
            return Deleted(deleted, {batch_id: str(exc)})
        state.mark_deleted(batch_id)
        deleted.append(batch_id)
    return Deleted(deleted)


def unused_files(state: StateReader, before: str, now: datetime) -> list[str]:
    """Ids of uploaded files that were last used before a time and that no batch in flight can need."""
    limit = min(before, iso(now - _LONGEST_BATCH)) if state.open_attempts() else before
    return [file.file_id for file in state.uploaded_files() if file.used_at <= limit]


@dataclass(frozen=True, slots=True)
class DeletedFiles:
    file_ids: Sequence[str]
    failure: str = ""
    """Why the API still holds the others."""


def delete_files(state: StateStore, backend: FilesBackend, file_ids: Sequence[str]) -> DeletedFiles:
    """Each is forgotten once it is surely not at the API any more. Stops at the first that cannot be deleted."""
    for number, file_id in enumerate(file_ids):
        try:
            backend.delete(file_id)
        except BatchGone:
            pass
        except (Unavailable, BatchForgeError) as exc:
            return DeletedFiles(file_ids[:number], f"{file_id}: {exc}")
        state.forget_files([file_id])
    return DeletedFiles(file_ids)
