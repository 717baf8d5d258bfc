"""Queries of a real PostgreSQL server: exact types, bound params, read-only, and never half a result."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batchforge.errors import BatchForgeError
from tests.builders import TREE
from tests.peak_memory import peak_of
from tests.postgres_server import PASSWORD, PostgresServer
from tests.snapshots.shop import fetched, fetched_rows, rows, write_shop

CONNECTIONS = "connections: {warehouse: {url: \"{{ env_var('WAREHOUSE_URL') }}\", timeout_s: 20}}\n"


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """An empty database, which WAREHOUSE_URL names."""
    url = postgres.new_database()
    monkeypatch.setenv("WAREHOUSE_URL", url)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def write_query(root: Path, query: str, settings: str = "key: id", connections: str = CONNECTIONS) -> Path:
    job = f"{{sql: queries/q.sql, connection: warehouse, {settings}}}"
    return write_shop(root, job, project=connections, files={"queries/q.sql": query})


EVERY_TYPE = """
select 1::smallint as id, 9007199254740993::bigint as big, 1.5::real as real, 0.1::float8 as float,
  12.50::numeric(10, 2) as amount, 42::numeric(10, 0) as whole, 1234567890.12345678901234567890::numeric as exact,
  true as yes, 'nörd ''q''' as text, 'x'::char(3) as padded, null::text as nothing,
  date '2026-02-28' as day, time '10:00:00' as at, timestamp '2026-02-28 10:00:00.5' as local,
  timestamptz '2026-02-28 10:00:00+02' as instant, interval '1 day 2 hours' as lasts,
  '{"b": [1, null]}'::jsonb as doc, '{"a":
  1}'::json as loose, array[1, null, 3] as numbers, array['a', null] as texts, array[[1, 2], [3, 4]] as matrix,
  array[1.50::numeric(4, 2)] as amounts, '\\x00ff'::bytea as bytes,
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as uuid,
  'infinity'::date as never
"""


def test_every_type_comes_exactly(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    found = fetched(write_query(tmp_path, EVERY_TYPE))
    assert rows(tmp_path) == [
        {
            "id": 1,
            "big": 9007199254740993,
            "real": 1.5,
            "float": 0.1,
            "amount": "12.50",
            "whole": 42,
            "exact": "1234567890.12345678901234567890",
            "yes": True,
            "text": "nörd 'q'",
            "padded": "x  ",
            "nothing": None,
            "day": "2026-02-28",
            "at": "10:00:00",
            "local": "2026-02-28T10:00:00.5",
            "instant": "2026-02-28T08:00:00Z",
            "lasts": "P1DT2H",
            "doc": {"b": [1, None]},
            "loose": {"a": 1},
            "numbers": [1, None, 3],
            "texts": ["a", None],
            "matrix": [[1, 2], [3, 4]],
            "amounts": ["1.50"],
            "bytes": "AP8=",
            "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "never": "infinity",
        }
    ]
    assert found.snapshot.columns["amount"] == "DECIMAL(10, 2)"
    assert found.snapshot.columns["instant"] == "TIMESTAMPTZ"


def test_values_are_bound_with_their_types(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    query = (
        "select g as id, '50%' as share from generate_series(1, 5) g "
        "where g > :least and g = any(:among) and :name = 'x'' or 1=1'"
    )
    settings = 'key: id, params: {least: 2, among: [1, 3, 4], name: "x\' or 1=1"}'
    assert fetched_rows(write_query(tmp_path, query, settings)) == [
        {"id": 3, "share": "50%"},
        {"id": 4, "share": "50%"},
    ]


def test_the_rows_are_sorted_by_key_unless_the_query_sorts_them(
    tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    query = "select g as id from generate_series(1, 5000) g order by md5(g::text)"
    assert len(fetched_rows(write_query(tmp_path, query, "key: id"))) == 5000
    assert [row["id"] for row in rows(tmp_path)] != list(range(1, 5001))
    (tmp_path / "queries/q.sql").write_text(query.partition(" order")[0])
    assert [row["id"] for row in fetched_rows(tmp_path)] == list(range(1, 5001))


@pytest.mark.parametrize(
    "query",
    [
        "with gone as (delete from sales returning id) select id from gone",
        "insert into sales values (1) returning id",
        "select id into other from sales",
        "select nextval('numbers') as id",
        "select id from sales for update",
        "select wipe() as id",
        "select 1 as id; delete from sales",
    ],
)
def test_a_query_that_writes_changes_nothing(tmp_path: Path, database: psycopg.Connection[Any], query: str) -> None:
    database.execute("create table sales (id int); insert into sales values (7); create sequence numbers")
    database.execute("create function wipe() returns int language sql as 'delete from sales returning id'")
    with pytest.raises(BatchForgeError, match=r"BF231|BF238"):
        fetched(write_query(tmp_path, query))
    assert database.execute("select array_agg(id) from sales").fetchall() == [([7],)]
    assert not list((tmp_path / "target").rglob("*.parquet"))


def test_a_value_that_parquet_cannot_hold_is_told(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    with pytest.raises(BatchForgeError, match="BF236"):
        fetched(write_query(tmp_path, "select 1 as id, 'NaN'::numeric(10, 2) as amount"))


def test_an_error_names_the_connection_and_no_secret(
    tmp_path: Path, database: psycopg.Connection[Any], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BatchForgeError, match=r'BF238 .*: the connection `warehouse`: column "nme" does not exist'):
        fetched(write_query(tmp_path, "select nme from pg_class order by 1"))
    monkeypatch.setenv("WAREHOUSE_URL", postgres.url.replace("tester@", "tester:wrong-secret@"))
    with pytest.raises(BatchForgeError, match="password authentication failed") as caught:
        fetched(tmp_path)
    assert "wrong-secret" not in str(caught.value)


def test_the_password_may_stand_beside_the_url(
    tmp_path: Path, database: psycopg.Connection[Any], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", PASSWORD)
    password = "{{ env_var('WAREHOUSE_PASSWORD') }}"
    text = f"connections: {{warehouse: {{url: '{postgres.url}', password: \"{password}\"}}}}\n"
    assert fetched_rows(write_query(tmp_path, "select 1 as id", connections=text)) == [{"id": 1}]


def test_compile_needs_no_server(
    tmp_path: Path, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchforge.cli import run_command

    fetched(write_query(tmp_path, "select 1 as id"))
    monkeypatch.delenv("WAREHOUSE_URL")
    for command in ("parse", "compile", "plan", "render summarise"):
        assert run_command([*command.split(), "--project-dir", str(tmp_path)]) == 0


# ---- what breaks off


@contextmanager
def stalling_proxy(postgres: PostgresServer, after_bytes: int) -> Iterator[int]:
    """A port that leads to the server, and passes on only so many bytes of what it answers; then it falls silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    sockets = [listener]

    def pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if limit is not None and passed > limit:
                    return
                sink.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", postgres.port))
                sockets.extend((client, server))
                for source, sink, limit in ((client, server, None), (server, client, after_bytes)):
                    threading.Thread(target=pump, args=(source, sink, limit), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


MANY = "select g as id, repeat('x', 200) as text from generate_series(1, 100000) g"


def test_a_server_that_falls_silent_in_mid_read_is_given_up(
    tmp_path: Path, database: psycopg.Connection[Any], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = os.environ["WAREHOUSE_URL"]
    root = write_query(tmp_path, "select 1 as id", connections=CONNECTIONS.replace("20", "1"))
    fetched(root)
    (tmp_path / "queries/q.sql").write_text(MANY)
    with stalling_proxy(postgres, 2_000_000) as port:
        monkeypatch.setenv("WAREHOUSE_URL", url.replace(str(postgres.port), str(port)))
        began = time.monotonic()
        with pytest.raises(BatchForgeError, match="BF238"):
            fetched(root)
        assert time.monotonic() - began < 15
    assert len(list((root / "target/local/snapshots").iterdir())) == 2
    (tmp_path / "queries/q.sql").write_text("select 1 as id")
    assert rows(root) == [{"id": 1}]


def test_a_slow_query_is_given_up(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    query = "select 1 as id, pg_sleep(10)::text as a"
    with pytest.raises(BatchForgeError, match="BF238"):
        fetched(write_query(tmp_path, query, connections=CONNECTIONS.replace("20", "1")))


def test_a_connection_that_is_closed_in_mid_read_leaves_no_snapshot(
    tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    query = "select g as id, pg_terminate_backend(pg_backend_pid()) as t from generate_series(1, 5000) g where g > 4000"
    with pytest.raises(BatchForgeError, match="BF238"):
        fetched(write_query(tmp_path, query))
    assert list((tmp_path / "target/local/snapshots").iterdir()) == []


def test_a_fetch_that_is_killed_leaves_the_snapshot_of_before(
    tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    database.execute("create table sales as select 1 as id, 'a' as text")
    root = write_query(tmp_path, "select * from sales")
    before = fetched(root).snapshot
    database.execute("truncate sales")
    database.execute("insert into sales select g, repeat('x', 2000) from generate_series(1, 30000) g")
    process = subprocess.Popen(
        [sys.executable, "-c", "from batchforge.cli import main; main()", "fetch"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    spools = (root / "target/local/snapshots").glob
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 1_000_000 for path in spools("*.rows")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert rows(root) == [{"id": 1, "text": "a"}]
    record = json.loads(next(spools("*.json")).read_text())
    assert record["sha256"] == before.sha256
    assert fetched(root).snapshot.rows == 30_000
    assert not list(spools(".*"))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    program = "import os, sys\nos.chdir(sys.argv[1])\nfrom batchforge.cli import run_command\nsys.stdout = sys.stderr\n"
    program += "assert run_command(['fetch', '-q']) == 0\nsys.stdout = sys.__stdout__"
    peaks = []
    for number in (60_000, 240_000):
        query = f"select g as id, repeat(md5(g::text), 20) as text from generate_series(1, {number}) g order by g"
        root = write_query(tmp_path / str(number), query)
        peaks.append(peak_of(program, str(root)))
        assert len(list((root / "target/local/snapshots").glob("*.parquet"))) == 1
    assert peaks[1] < 1.3 * peaks[0]  # four times as many rows


def test_keys_of_any_type_are_sorted_by_their_values(tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    values = "(10.5, 'b', 2), (9.25, 'a', 3), (-100.75, 'Ä', 10), (-2.00, 'Z', -1)"
    for key, expected in (
        ("amount::numeric(7, 2)", ["-100.75", "-2.00", "9.25", "10.50"]),
        ("word", ["Z", "a", "b", "Ä"]),
        ("number", [-1, 2, 3, 10]),
        ("date '2026-01-01' + number", ["2025-12-31", "2026-01-03", "2026-01-04", "2026-01-11"]),
    ):
        query = f"select {key} as id from (values {values}) v (amount, word, number)"
        root = write_query(tmp_path / str(len(key)), query)
        assert [row["id"] for row in fetched_rows(root)] == expected
