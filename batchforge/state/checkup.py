"""What is wrong with a state: what its store can tell, and what does not fit together in its tables."""

from __future__ import annotations

from collections.abc import Iterator

from batchforge.state.attempts import AttemptState
from batchforge.state.holders import is_alive_here
from batchforge.state.sql_leases import holder_words
from batchforge.state.sql_state import SqlState

_FINAL = ", ".join(f"'{state.value}'" for state in AttemptState if state.is_final)
_MISFITS = (
    (
        "requests are claimed by attempts that have ended",
        "SELECT count(*) FROM claims c LEFT JOIN attempts a ON a.attempt_id = c.attempt_id "
        f"WHERE a.attempt_id IS NULL OR a.state IN ({_FINAL})",
    ),
    (
        "results belong to no attempt",
        "SELECT count(*) FROM results r LEFT JOIN attempts a ON a.attempt_id = r.attempt_id WHERE a.attempt_id IS NULL",
    ),
    (
        "results have lost their message",
        "SELECT count(*) FROM results r LEFT JOIN messages m ON m.message_rowid = r.message_rowid "
        "WHERE r.message_rowid IS NOT NULL AND m.message_rowid IS NULL",
    ),
    (
        "rows belong to no job's last submission",
        "SELECT count(*) FROM manifest_rows r LEFT JOIN manifests m ON m.manifest_id = r.manifest_id "
        "WHERE m.manifest_id IS NULL",
    ),
    (
        "submissions have another number of rows than they say",
        "SELECT count(*) FROM manifests m WHERE m.row_count <> "
        "(SELECT count(*) FROM manifest_rows r WHERE r.manifest_id = m.manifest_id)",
    ),
)


def find_problems(state: SqlState) -> Iterator[str]:
    """In the words of people; nothing where all is well."""
    yield from state.damage()
    for words, sql in _MISFITS:
        count = next(state.query(sql))[0]
        if count:
            yield f"{count:,} {words}"


def find_remarks(state: SqlState) -> Iterator[str]:
    """What is no damage, and may be what somebody is waiting for."""
    for lease in state.leases():
        if is_alive_here(lease.holder) is False:
            yield f"the lease `{lease.name}` is that of a dead process, {holder_words(lease)}; the next run takes it"
    for attempt in state.open_attempts():
        if attempt.state in {AttemptState.UNCERTAIN, AttemptState.AMBIGUOUS}:
            yield f"attempt {attempt.attempt_id} of {attempt.job} is {attempt.state}; `batchforge status` tells more"
