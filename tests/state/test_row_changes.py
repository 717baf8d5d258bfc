"""What a transaction did to one file, carried out in another: the two are equal, whatever it did."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.state.objects.row_changes import ChangeRecorder, unpacked

TABLES = """
CREATE TABLE things (thing_id INTEGER PRIMARY KEY, name TEXT UNIQUE, weight REAL, picture BLOB);
CREATE TABLE pairs (a BLOB NOT NULL, b INTEGER NOT NULL, note TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE place (number INTEGER);
"""


def opened() -> tuple[sqlite3.Connection, ChangeRecorder]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(TABLES)
    recorder = ChangeRecorder(db, ignored=("place",))
    recorder.watch()
    return db, recorder


class Replica:
    """A file, and another to which its transactions are carried."""

    def __init__(self) -> None:
        self.db, self._recorder = opened()
        self.copy, self._copier = opened()
        self.sizes: list[int] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN")
        with self._recorder.recording() as recording:
            yield
            content = recording.finish().read()
        self.db.execute("COMMIT")
        self.sizes.append(len(content))
        assert len(content) == recording.size_bytes
        self.copy.execute("BEGIN")
        self._copier.replay([content[:7], content[7:]])
        self.copy.execute("COMMIT")

    def assert_equal(self) -> None:
        assert [*self.db.iterdump()] == [*self.copy.iterdump()]

    def close(self) -> None:
        self.db.close()
        self.copy.close()


@pytest.fixture
def replica() -> Iterator[Replica]:
    replica = Replica()
    yield replica
    replica.close()


def test_rows_that_come_change_and_go_are_carried_over(replica: Replica) -> None:
    with replica.transaction():
        replica.db.execute("INSERT INTO things (name, weight) VALUES ('stone', 1.5), ('feather', NULL)")
        replica.db.execute("INSERT INTO pairs SELECT randomblob(32), thing_id, name FROM things")
        replica.db.execute("UPDATE things SET thing_id = thing_id + 10, picture = x'00ff' WHERE name = 'stone'")
        replica.db.execute("DELETE FROM pairs WHERE note = 'feather'")
    replica.assert_equal()
    assert replica.copy.execute("SELECT thing_id, name, weight FROM things ORDER BY 1").fetchall() == [
        (2, "feather", None),
        (11, "stone", 1.5),
    ]


def test_a_row_that_takes_the_place_of_another_does_so_there_too(replica: Replica) -> None:
    with replica.transaction():
        replica.db.execute("INSERT INTO things VALUES (1, 'stone', 1, NULL), (2, 'feather', 0, NULL)")
        replica.db.execute("INSERT OR REPLACE INTO things VALUES (1, 'feather', 7, NULL)")
        replica.db.execute("INSERT OR IGNORE INTO things VALUES (1, 'anvil', 90, NULL)")
        replica.db.execute(
            "INSERT INTO things VALUES (5, 'feather', 3, NULL) ON CONFLICT (name) DO UPDATE SET weight = 4"
        )
    replica.assert_equal()
    assert replica.copy.execute("SELECT * FROM things").fetchall() == [(1, "feather", 4.0, None)]


def test_tables_of_a_connection_and_ignored_ones_are_not_taken_down(replica: Replica) -> None:
    with replica.transaction():
        replica.db.execute("CREATE TEMP TABLE used AS SELECT 1 AS number")
        replica.db.execute("INSERT INTO place SELECT number FROM temp.used")
    assert replica.copy.execute("SELECT count(*) FROM place").fetchone() == (0,)


def test_a_change_outside_of_a_transaction_of_the_state_is_refused(replica: Replica) -> None:
    with pytest.raises(sqlite3.OperationalError, match="user-defined function"):
        replica.db.execute("INSERT INTO pairs VALUES (x'00', 1, NULL)")


def test_many_rows_are_carried_in_frames(replica: Replica) -> None:
    with replica.transaction():
        replica.db.executemany("INSERT INTO pairs VALUES (?, ?, ?)", ((b"%d" % n, n, "x" * 100) for n in range(20_000)))
    replica.assert_equal()
    assert replica.sizes[0] < 200_000


def test_a_segment_that_was_cut_short_is_noticed(replica: Replica) -> None:
    whole = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    packed = whole.compress(b"x" * 1000) + whole.flush()
    assert b"".join(unpacked([packed])) == b"x" * 1000
    with pytest.raises(ValueError, match="cut short"):
        list(unpacked([packed[:-3]]))


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
STEP = st.one_of(
    st.tuples(
        st.just("INSERT OR REPLACE INTO things VALUES (?, ?, ?, ?)"),
        st.tuples(st.integers(1, 4), st.sampled_from("abc"), VALUES, VALUES),
    ),
    st.tuples(st.just("INSERT OR IGNORE INTO pairs VALUES (?, ?, ?)"), st.tuples(VALUES, st.integers(0, 2), VALUES)),
    st.tuples(
        st.just("UPDATE OR REPLACE things SET thing_id = ?, name = ? WHERE thing_id = ?"),
        st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.integers(1, 4)),
    ),
    st.tuples(st.just("DELETE FROM things WHERE name = ?"), st.tuples(st.sampled_from("abc"))),
    st.tuples(st.just("UPDATE pairs SET note = ? WHERE b = ?"), st.tuples(VALUES, st.integers(0, 2))),
)


@given(st.lists(st.lists(STEP, max_size=6), max_size=4))
def test_any_transactions_leave_the_two_equal(transactions: list[list[tuple[str, tuple[object, ...]]]]) -> None:
    replica = Replica()
    try:
        for steps in transactions:
            with replica.transaction():
                for sql, values in steps:
                    replica.db.execute(sql, values)
        replica.assert_equal()
    finally:
        replica.close()
