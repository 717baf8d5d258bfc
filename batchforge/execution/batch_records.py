"""A batch as the API describes it -> as state keeps it."""

from __future__ import annotations

from batchforge.backends.base import BatchProgress
from batchforge.clock import iso, parse_iso
from batchforge.state.records import BatchRecord


def record_of(batch: BatchProgress, attempt_id: int) -> BatchRecord:
    return BatchRecord(
        batch_id=batch.batch_id,
        attempt_id=attempt_id,
        status=batch.status,
        processing=batch.processing,
        succeeded=batch.succeeded,
        errored=batch.errored,
        canceled=batch.canceled,
        expired=batch.expired,
        created_at=iso(parse_iso(batch.created_at)),
        expires_at=iso(parse_iso(batch.expires_at)),
        ended_at=iso(parse_iso(batch.ended_at)) if batch.ended_at else None,
    )
