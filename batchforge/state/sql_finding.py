"""What people look up in a state: one request, one row's past, whose an id is."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from batchforge.requests.request import Skeleton
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AskedRequest, AttemptRecord, Manifest, RowRequest, RunRecord, StoredResult
from batchforge.state.sql_leases import SqlLeases
from batchforge.state.sql_records import (
    ATTEMPT_COLUMNS,
    MANIFEST_COLUMNS,
    RESULT_COLUMNS,
    RUN_COLUMNS,
    attempt_of,
    manifest_of,
    run_of,
    stored_result_of,
)

_RUN_QUERY = f"SELECT {RUN_COLUMNS.replace('commit', 'git_commit')} FROM runs"
_ROW_REQUEST_COLUMNS = "target, job, key, request_id, ordinal, first_run_id"


class SqlFinding(SqlLeases):
    """Reads only, and in no hurry: it may look through whole tables."""

    def runs(self, limit: int) -> list[RunRecord]:
        rows = self._db.all(f"{_RUN_QUERY} ORDER BY serial DESC LIMIT ?", (limit,))
        return [run_of(row) for row in rows]

    def run(self, run_id: str) -> RunRecord | None:
        row = self._db.one(f"{_RUN_QUERY} WHERE run_id = ?", (run_id,))
        return run_of(row) if row else None

    def attempts_of_run(self, run_id: str) -> list[AttemptRecord]:
        rows = self._db.all(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run_id = ? ORDER BY attempt_id", (run_id,))
        return [attempt_of(row) for row in rows]

    def attempt_of_batch(self, batch_id: str) -> AttemptRecord | None:
        row = self._db.one(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE batch_id = ?", (batch_id,))
        return attempt_of(row) if row else None

    def undeleted_batches(self, target: str) -> list[str]:
        rows = self._db.all(
            "SELECT b.batch_id FROM batches b JOIN attempts a ON a.batch_id = b.batch_id "
            "WHERE a.target = ? AND a.state IN (?, ?) AND b.deleted_at IS NULL ORDER BY a.attempt_id",
            (target, AttemptState.STORED, AttemptState.CLOSED),
        )
        return [row[0] for row in rows]

    def manifests(self, job: str) -> list[Manifest]:
        rows = self._db.all(
            f"SELECT {MANIFEST_COLUMNS} FROM manifests WHERE job = ? ORDER BY created_at DESC, manifest_id DESC", (job,)
        )
        return [manifest_of(row) for row in rows]

    def row_requests(self, target: str, job: str, key: str) -> list[RowRequest]:
        rows = self._db.all(
            "SELECT q.target, q.job, q.key, q.request_id, q.ordinal, q.first_run_id FROM row_requests q "
            "LEFT JOIN runs r ON r.run_id = q.first_run_id WHERE q.target = ? AND q.job = ? AND q.key = ? "
            # A run that was pruned was an early one.
            "ORDER BY coalesce(r.started_at, ''), q.first_run_id, q.ordinal",
            (target, job, key),
        )
        return [RowRequest(*row) for row in rows]

    def rows_of_request(self, request_id: bytes, ordinal: int) -> Iterator[RowRequest]:
        sql = f"SELECT {_ROW_REQUEST_COLUMNS} FROM row_requests WHERE request_id = ? AND ordinal = ?"
        return (RowRequest(*row) for row in self._db.stream(sql, (request_id, ordinal)))

    def rows_of_attempt(self, attempt_id: int) -> Iterator[RowRequest]:
        sql = (
            f"SELECT {_ROW_REQUEST_COLUMNS} FROM row_requests WHERE (request_id, ordinal) IN "
            "(SELECT request_id, ordinal FROM results WHERE attempt_id = ? "
            "UNION SELECT request_id, ordinal FROM claims WHERE attempt_id = ?)"
        )
        return (RowRequest(*row) for row in self._db.stream(sql, (attempt_id, attempt_id)))

    def asked(self, request_id: bytes) -> AskedRequest | None:
        row = self._db.one(
            "SELECT skeleton_id, s.body, pieces FROM requests JOIN skeletons s USING (skeleton_id) "
            "WHERE request_id = ?",
            (request_id,),
        )
        if row is None:
            return None
        skeleton_id, skeleton, pieces = row
        return AskedRequest(skeleton_id, Skeleton(zlib.decompress(skeleton)).fill(pieces.split(b"\0")))

    def all_results(self, request_id: bytes, ordinal: int) -> list[StoredResult]:
        columns = ", ".join(f"r.{column}" for column in RESULT_COLUMNS.split(", "))
        rows = self._db.all(
            f"SELECT {columns}, m.body, a.batch_id, a.run_id FROM results r JOIN attempts a USING (attempt_id) "
            "LEFT JOIN messages m ON m.message_rowid = r.message_rowid "
            "WHERE r.request_id = ? AND r.ordinal = ? ORDER BY r.attempt_id",
            (request_id, ordinal),
        )
        return [stored_result_of(row) for row in rows]

    def name_of_answer(self, text: str) -> tuple[bytes, int] | None:
        sql = "SELECT request_id, ordinal FROM results WHERE message_id = ? OR api_request_id = ? LIMIT 1"
        row = self._db.one(sql, (text, text))
        return (row[0], row[1]) if row else None
