"""Taking rows out of a state, with all that was asked and answered for them: counted first, then removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from batchforge.requests.fingerprint import custom_id
from batchforge.state.sql_state import SqlState

SHOWN = 5
"""How many of many are named."""


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A row that stays and has a request of an erased row, so that the request and its answer stay too."""

    job: str
    key: str


@dataclass(frozen=True, slots=True)
class HeldBatch:
    """A batch whose requests and results the API still holds, as far as is known."""

    batch_id: str
    target: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Erasable:
    """What state holds of some rows."""

    rows: int
    requests: int
    answers: int
    billed_answers: int
    in_flight: int
    """Requests that are being asked at this moment."""
    shared_requests: int
    shared_with: tuple[SharedRow, ...]
    """The first of them."""
    custom_ids: frozenset[str]
    """Of the requests that no other row has."""
    batches: tuple[HeldBatch, ...]
    uploaded_files: tuple[str, ...]
    """Ids of documents at the API that only their requests name."""


_FILE = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_THEIRS = "job = ? AND key IN (SELECT key FROM erased_keys)"
_GONE = "(SELECT request_id FROM erased_requests WHERE request_id NOT IN (SELECT request_id FROM kept))"


def find_erasable(state: SqlState, job: str, keys: Collection[str]) -> Erasable:
    """What would be removed with these rows of the job, for all targets of the state."""
    with _marked(state, job, keys):
        shared = state.query("SELECT job, key FROM kept GROUP BY job, key ORDER BY job, key LIMIT ?", (SHOWN,))
        return Erasable(
            rows=_number(state, f"SELECT count(DISTINCT key) FROM manifest_rows {_JOINED} WHERE {_THEIRS}", job),
            requests=_number(state, f"SELECT count(*) FROM requests WHERE request_id IN {_GONE}"),
            answers=_number(state, f"SELECT count(*) FROM results WHERE request_id IN {_GONE}"),
            billed_answers=_number(
                state,
                f"SELECT count(*) FROM results WHERE request_id IN {_GONE} "
                "AND kind NOT IN ('errored', 'expired', 'canceled')",
            ),
            in_flight=_number(state, f"SELECT count(*) FROM claims WHERE request_id IN {_GONE}"),
            shared_requests=_number(state, "SELECT count(DISTINCT request_id) FROM kept"),
            shared_with=tuple(SharedRow(*row) for row in shared),
            custom_ids=frozenset(
                custom_id(*row)
                for row in state.query(
                    f"SELECT request_id, ordinal FROM row_requests WHERE {_THEIRS} AND request_id IN {_GONE}", (job,)
                )
            ),
            batches=tuple(
                HeldBatch(*row)
                for row in state.query(
                    "SELECT DISTINCT b.batch_id, a.target, b.created_at FROM results r JOIN attempts a "
                    "USING (attempt_id) JOIN batches b ON b.batch_id = a.batch_id "
                    f"WHERE b.deleted_at IS NULL AND r.request_id IN {_GONE} ORDER BY b.created_at"
                )
            ),
            uploaded_files=tuple(_their_files(state)),
        )


def _their_files(state: SqlState) -> Iterator[str]:
    """Ids of uploaded files that are named by requests which go, and by none that stays."""
    uploaded = {file.file_id: file.sha256 for file in state.uploaded_files()}
    if not uploaded:
        return
    theirs = set(_named_files(state, f"SELECT pieces FROM requests WHERE request_id IN {_GONE}"))
    if theirs.intersection(uploaded.values()):
        theirs.difference_update(_named_files(state, f"SELECT pieces FROM requests WHERE request_id NOT IN {_GONE}"))
    yield from (file_id for file_id, sha256 in uploaded.items() if sha256 in theirs)


def _named_files(state: SqlState, select: str) -> Iterator[str]:
    return (found.decode() for (pieces,) in state.query(select) for found in _FILE.findall(bytes(pieces)))


_JOINED = "JOIN manifests USING (manifest_id)"


def erase(state: SqlState, job: str, keys: Collection[str]) -> None:
    """Remove them, all or nothing. What was removed is in the file until it is compacted."""
    with _marked(state, job, keys):
        state.change(
            (
                "DELETE FROM messages WHERE message_rowid IN "
                f"(SELECT message_rowid FROM results WHERE request_id IN {_GONE})",
                (),
            ),
            (f"DELETE FROM results WHERE request_id IN {_GONE}", ()),
            (f"DELETE FROM requests WHERE request_id IN {_GONE}", ()),
            ("DELETE FROM skeletons WHERE skeleton_id NOT IN (SELECT skeleton_id FROM requests)", ()),
            # An empty digest equals none, so that the next run writes the rows down anew.
            (
                "UPDATE manifests SET digest = '', row_count = row_count - (SELECT count(*) FROM manifest_rows r "
                "WHERE r.manifest_id = manifests.manifest_id AND r.key IN (SELECT key FROM erased_keys)) "
                "WHERE job = ?",
                (job,),
            ),
            (
                "DELETE FROM manifest_rows WHERE manifest_id IN (SELECT manifest_id FROM manifests WHERE job = ?) "
                "AND key IN (SELECT key FROM erased_keys)",
                (job,),
            ),
            (f"DELETE FROM row_requests WHERE {_THEIRS}", (job,)),
            *_summaries_without(state, job, keys),
        )


def _summaries_without(state: SqlState, job: str, keys: Collection[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Summaries may name keys of rows that had moved."""
    for run_id, text in state.query('SELECT run_id, summary FROM runs WHERE summary LIKE \'%"problem":"_%\''):
        summary = msgspec.json.decode(text)
        if forget_keys(summary, job, keys):
            text = msgspec.json.encode(summary).decode()
            yield "UPDATE runs SET summary = ? WHERE run_id = ?", (text, run_id)


def forget_keys(summary: dict[str, Any], job: str, keys: Collection[str]) -> bool:
    """Takes keys out of a run's summary; whether there were any."""
    found = False
    for entry in summary.get("jobs", ()):
        if entry.get("job") == job and any(key in (entry.get("problem") or "") for key in keys):
            entry["problem"] = "rows had moved since they were submitted; some of them have been erased"
            found = True
    return found


@contextmanager
def _marked(state: SqlState, job: str, keys: Collection[str]) -> Iterator[None]:
    """Temporary tables: the erased keys, their requests, and those of the requests that other rows have too."""
    others = (
        f"SELECT request_id, job, key FROM row_requests WHERE request_id IN (SELECT request_id FROM erased_requests) "
        f"AND NOT ({_THEIRS})"
    )
    with (
        state.scratch_table(
            "erased_keys",
            "key TEXT PRIMARY KEY",
            "INSERT INTO erased_keys VALUES (?) ON CONFLICT DO NOTHING",
            ((key,) for key in keys),
        ),
        state.scratch_table(
            "erased_requests",
            "request_id BLOB PRIMARY KEY",
            f"INSERT INTO erased_requests SELECT DISTINCT request_id FROM row_requests WHERE {_THEIRS}",
            [(job,)],
        ),
        state.scratch_table("kept", "request_id BLOB, job TEXT, key TEXT", f"INSERT INTO kept {others}", [(job,)]),
    ):
        yield


def _number(state: SqlState, sql: str, *values: Any) -> int:
    return int(next(state.query(sql, values))[0])
