"""Deleting batches at the API once their results are stored: for targets that say `delete_remote: after_collect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from batchforge.backends.base import BatchBackend, BatchGone, Unavailable
from batchforge.errors import BatchForgeError
from batchforge.state.records import StateStore


@dataclass(frozen=True, slots=True)
class Deleted:
    """What came of it. A batch that was gone already counts as deleted."""

    batch_ids: Sequence[str] = ()
    failures: dict[str, str] = field(default_factory=dict)
    """Batch -> why the API still holds it; the next run or `collect` tries again."""


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
