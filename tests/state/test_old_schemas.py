"""A state of the first version, as it was dumped then: brought forward with all that it holds, on each database."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from batchforge.requests.fingerprint import custom_id
from batchforge.state.holders import this_holder_in_words
from batchforge.state.records import StateStore
from batchforge.state.schema import APPLICATION_ID, MIGRATIONS
from batchforge.state.stores import open_state
from tests.postgres_server import PASSWORD, PostgresServer

DUMP = Path(__file__).with_name("schema_1.sql")
POSTGRES_WORDS = (
    (r" WITHOUT ROWID\b", ""),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
    (r"\bX'([0-9A-F]*)'", r"'\\x\1'"),
)


def check_what_it_holds(state: StateStore) -> None:
    assert [(run.run_id, run.status) for run in state.runs(5)] == [("r1", "ok"), ("r0", "failed")]
    assert str(state.origin()) == "claude api.anthropic.com"
    manifest = state.manifest("prod", "about")
    assert manifest is not None
    first, second = state.output_rows(manifest.manifest_id)
    assert first.stored is not None
    assert (first.stored.result.custom_id, first.stored.result.cost_pico_usd) == (
        custom_id(bytes(range(32)), 0),
        61_000_000,
    )
    assert first.stored.result.message is not None
    assert b"It is red." in first.stored.result.message
    assert (second.row.key, second.stored) == ("1", None)
    (open_attempt,) = state.open_attempts()
    assert (open_attempt.attempt_id, open_attempt.batch_id) == (2, "msgbatch_2")
    assert state.uploaded_files() == []
    lease = state.take_lease("submit", "a test", this_holder_in_words(), 60.0)
    assert lease.fence >= 1
    state.give_back(lease)


def test_a_file_of_the_first_version_is_brought_forward(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.executescript(DUMP.read_text())
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
    db.close()
    for _ in range(2):
        state = open_state(f"sqlite:///{tmp_path}/state.db")
        check_what_it_holds(state)
        assert state.schema_version() == len(MIGRATIONS)
        state.close()


def test_a_schema_of_the_first_version_is_brought_forward_in_postgresql(postgres: PostgresServer) -> None:
    import psycopg

    text = DUMP.read_text()
    for pattern, words in POSTGRES_WORDS:
        text = re.sub(pattern, words, text)
    with psycopg.connect(postgres.url, password=PASSWORD, autocommit=True) as db:
        db.execute("CREATE SCHEMA oldest")
        db.execute("SET search_path = oldest")
        db.execute(text.encode())
        db.execute("INSERT INTO meta VALUES ('schema', '1')")
    state = open_state(postgres.state_url("oldest"))
    check_what_it_holds(state)
    assert state.schema_version() == len(MIGRATIONS)
    state.close()
