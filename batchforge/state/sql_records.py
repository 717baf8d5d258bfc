"""Rows of the database -> the records that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from batchforge.requests.fingerprint import custom_id
from batchforge.results import RequestResult, ResultKind, Usage
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord, Manifest, RunRecord, StoredResult

RESULT_COLUMNS = (
    "request_id, ordinal, attempt_id, kind, max_tokens, input_tokens, output_tokens, cache_read_tokens, "
    "cache_write_5m_tokens, cache_write_1h_tokens, web_searches, inference_geo, model, message_id, "
    "stop_reason, error_type, error_message, cost_pico_usd, api_request_id, message_rowid, stored_at"
)
_KINDS = {kind.value: kind for kind in ResultKind}
MANIFEST_COLUMNS = (
    "manifest_id, job, target, scope, run_id, created_at, digest, row_count, parts, columns, written_as, settled"
)
RUN_COLUMNS = "run_id, started_at, command, target, jobs, commit, started_by, status, ended_at, summary, holder"
ATTEMPT_COLUMNS = (
    "attempt_id, run_id, job, target, mode, state, request_count, holder, created_at, sent_at, batch_id, "
    "max_tokens, ceiling_pico_usd, note"
)
MANIFEST_ROW_COLUMNS = (
    "manifest_id, position, key, request_id, ordinal, row_hashes, row_values, blocked_code, blocked_reason, place"
)
BATCH_COLUMNS = (
    "batch_id, attempt_id, status, processing, succeeded, errored, canceled, expired, created_at, expires_at, ended_at"
)
BATCH_UPDATES = ", ".join(f"{column} = excluded.{column}" for column in BATCH_COLUMNS.split(", ")[1:])
SELECT_ROWS = (
    "SELECT position, key, request_id, ordinal, row_hashes, row_values, blocked_code, blocked_reason, place "
    "FROM manifest_rows"
)
SELECT_ROWS_AND_RESULTS = (
    "SELECT m.position, m.key, m.request_id, m.ordinal, m.row_hashes, m.row_values, m.blocked_code, m.blocked_reason, "
    "m.place, "
    + ", ".join(f"r.{column}" for column in RESULT_COLUMNS.split(", "))
    + ", b.body, a.batch_id, a.run_id FROM manifest_rows m "
    "LEFT JOIN results r ON r.request_id = m.request_id AND r.ordinal = m.ordinal "
    "LEFT JOIN attempts a ON a.attempt_id = r.attempt_id LEFT JOIN messages b ON b.message_rowid = r.message_rowid"
)
"""A row of a manifest as often as it has results, at least once."""


def attempt_of(row: Sequence[Any]) -> AttemptRecord:
    fields = dict(zip(ATTEMPT_COLUMNS.split(", "), row, strict=True))
    return AttemptRecord(**fields | {"state": AttemptState(fields["state"])})


def manifest_of(row: Sequence[Any]) -> Manifest:
    fields = dict(zip(MANIFEST_COLUMNS.split(", "), row, strict=True))
    decoded = {"parts": msgspec.json.decode(fields["parts"]), "columns": tuple(msgspec.json.decode(fields["columns"]))}
    return Manifest(**fields | decoded)


def run_of(row: Sequence[Any]) -> RunRecord:
    fields = dict(zip(RUN_COLUMNS.split(", "), row, strict=True))
    decoded = {"jobs": tuple(msgspec.json.decode(fields["jobs"])), "summary": msgspec.json.decode(fields["summary"])}
    return RunRecord(**fields | decoded)


def stored_result_of(row: Sequence[Any]) -> StoredResult:
    """Of RESULT_COLUMNS, the message, batch_id and run_id. Once for every row of an output, so it names no columns."""
    request_id, ordinal, attempt_id, kind, _, *usage = row[:11]
    inference_geo, model, message_id, stop_reason, error_type, error_message, cost, api_request_id, _, stored_at = row[
        11:21
    ]
    message, batch_id, run_id = row[21:]
    result = RequestResult(
        custom_id(request_id, ordinal),
        _KINDS[kind],
        Usage(*usage),
        message,
        message_id,
        model,
        stop_reason,
        error_type,
        error_message,
        inference_geo,
        cost,
        api_request_id,
    )
    return StoredResult(result, attempt_id, batch_id, run_id, stored_at)


def counting_result(results: Sequence[StoredResult]) -> StoredResult:
    return next((r for r in results if r.result.kind.is_billed), results[-1])


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
