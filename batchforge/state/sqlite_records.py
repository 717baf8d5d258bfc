"""Rows of the SQLite store -> the records that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from batchforge.fingerprint import custom_id
from batchforge.results import RequestResult, ResultKind, Usage
from batchforge.state.attempts import AttemptState
from batchforge.state.records import AttemptRecord, Manifest, RunRecord, StoredResult

RESULT_COLUMNS = (
    "request_id, ordinal, attempt_id, kind, max_tokens, input_tokens, output_tokens, cache_read_tokens, "
    "cache_write_5m_tokens, cache_write_1h_tokens, web_searches, inference_geo, model, message_id, "
    "stop_reason, error_type, error_message, cost_pico_usd, message_rowid, stored_at"
)
_USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "web_searches",
)
_PLAIN_RESULT_COLUMNS = (
    "message",
    "message_id",
    "inference_geo",
    "model",
    "stop_reason",
    "error_type",
    "error_message",
    "cost_pico_usd",
)
MANIFEST_COLUMNS = "manifest_id, job, target, scope, run_id, created_at, digest, row_count, parts, columns, written_as"
RUN_COLUMNS = "run_id, started_at, command, target, jobs, commit, started_by, status, ended_at, summary"
ATTEMPT_COLUMNS = (
    "attempt_id, run_id, job, target, mode, state, request_count, holder, created_at, sent_at, batch_id, "
    "max_tokens, ceiling_pico_usd, note"
)
SELECT_ROWS = (
    "SELECT position, key, request_id, ordinal, row_hashes, row_values, blocked_code, blocked_reason, place "
    "FROM manifest_rows"
)


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
    fields = dict(zip((*RESULT_COLUMNS.split(", "), "message", "batch_id", "run_id"), row, strict=True))
    result = RequestResult(
        custom_id=custom_id(fields["request_id"], fields["ordinal"]),
        kind=ResultKind(fields["kind"]),
        usage=Usage(*(fields[name] for name in _USAGE_COLUMNS)),
        **{name: fields[name] for name in _PLAIN_RESULT_COLUMNS},
    )
    return StoredResult(result, fields["attempt_id"], fields["batch_id"], fields["run_id"], fields["stored_at"])


def counting_result(results: Sequence[StoredResult]) -> StoredResult:
    return next((r for r in results if r.result.kind.is_billed), results[-1])


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
