"""Looking after a state: export it as lines of JSON, and prune what no output is made of any more."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from batchforge.requests.fingerprint import custom_id
from batchforge.requests.request import Skeleton
from batchforge.state.sql_state import SqlState


@dataclass(frozen=True, slots=True)
class Prunable:
    """What a prune would remove."""

    answers: int
    """Results that no row of any job uses. If one of their requests is asked again, it is paid again."""
    billed_answers: int
    requests: int
    runs: int


def export_answers(state: SqlState) -> Iterator[dict[str, Any]]:
    """One value for each stored result: the request as it was asked, the result as it came."""
    skeletons = {row[0]: Skeleton(zlib.decompress(row[1])) for row in state.query("SELECT * FROM skeletons")}
    rows = state.query(
        "SELECT r.request_id, r.ordinal, r.kind, r.model, r.max_tokens, r.stored_at, r.error_type, r.error_message, "
        "r.cost_pico_usd, a.job, a.run_id, a.batch_id, q.skeleton_id, q.pieces, m.body, "
        "r.message_id, r.api_request_id FROM results r "
        "JOIN attempts a USING (attempt_id) LEFT JOIN requests q ON q.request_id = r.request_id "
        "LEFT JOIN messages m ON m.message_rowid = r.message_rowid ORDER BY r.request_id, r.ordinal, r.attempt_id"
    )
    for row in rows:
        skeleton = skeletons.get(row[12])
        yield {
            "custom_id": custom_id(row[0], row[1]),
            "status": row[2],
            "model": row[3],
            "max_tokens": row[4],
            "stored_at": row[5],
            "error_type": row[6],
            "error_message": row[7],
            "cost_usd": None if row[8] is None else row[8] / 1e12,
            "job": row[9],
            "run_id": row[10],
            "batch_id": row[11],
            "message_id": row[15],
            "api_request_id": row[16],
            "params": msgspec.json.decode(skeleton.fill(row[13].split(b"\0"))) if skeleton else None,
            "message": _message(row[14]),
        }


def _message(body: bytes | None) -> Any:
    return None if body is None else msgspec.json.decode(body)


_USED_COLUMNS = "request_id BLOB NOT NULL, ordinal INTEGER NOT NULL, PRIMARY KEY (request_id, ordinal)"
_FILL_USED = (
    "INSERT INTO used SELECT DISTINCT request_id, ordinal FROM manifest_rows WHERE request_id IS NOT NULL "
    "ON CONFLICT DO NOTHING"
)
_UNUSED_COLUMNS = "request_id BLOB, ordinal INTEGER, attempt_id INTEGER, message_rowid INTEGER, kind TEXT"
_FILL_UNUSED = """
    INSERT INTO unused SELECT r.request_id, r.ordinal, r.attempt_id, r.message_rowid, r.kind FROM results r
    WHERE r.stored_at < ?
    AND NOT EXISTS (SELECT 1 FROM used u WHERE u.request_id = r.request_id AND u.ordinal = r.ordinal)
"""


def find_prunable(state: SqlState, before: str) -> Prunable:
    """What was stored before a time and serves no row of any job's last run."""
    with (
        state.scratch_table("used", _USED_COLUMNS, _FILL_USED),
        state.scratch_table("unused", _UNUSED_COLUMNS, _FILL_UNUSED, [(before,)]),
    ):
        return _counted(state, before)


def _counted(state: SqlState, before: str) -> Prunable:
    (answers, billed, requests) = next(
        state.query(
            "SELECT count(*), coalesce(sum(CASE WHEN kind IN ('errored', 'expired', 'canceled') THEN 0 ELSE 1 END), 0),"
            " count(DISTINCT request_id) FROM unused"
        )
    )
    runs = next(state.query("SELECT count(*) FROM runs WHERE ended_at < ?", (before,)))[0]
    return Prunable(answers, billed, requests, runs)


def prune(state: SqlState, before: str) -> Prunable:
    """Remove it, all or nothing, and give the room back to the disk."""
    prunable = find_prunable(state, before)
    with (
        state.scratch_table("used", _USED_COLUMNS, "", ()),
        state.scratch_table("unused", _UNUSED_COLUMNS, "", ()),
    ):
        # Looked for in the transaction that removes it, so that nothing goes that has come into use.
        state.change((_FILL_USED, ()), (_FILL_UNUSED, (before,)), *_removals(before))
    state.compact()
    return prunable


def _removals(before: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "DELETE FROM messages WHERE message_rowid IN (SELECT message_rowid FROM unused)", ()
    yield (
        "DELETE FROM results WHERE (request_id, ordinal, attempt_id) IN "
        "(SELECT request_id, ordinal, attempt_id FROM unused)",
        (),
    )
    yield (
        "DELETE FROM requests WHERE request_id IN (SELECT request_id FROM unused) "
        "AND request_id NOT IN (SELECT request_id FROM results) "
        "AND request_id NOT IN (SELECT request_id FROM claims)",
        (),
    )
    yield "DELETE FROM row_requests WHERE (request_id, ordinal) IN (SELECT request_id, ordinal FROM unused)", ()
    yield "DELETE FROM skeletons WHERE skeleton_id NOT IN (SELECT skeleton_id FROM requests)", ()
    yield "DELETE FROM runs WHERE ended_at < ? AND run_id NOT IN (SELECT run_id FROM attempts)", (before,)
