"""A declared connection -> whether its database answers, without a look at any of its rows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from batchforge.connection import EMBEDDED_URL, Connection
from batchforge.source_tree import SourceTree

WAIT_S = 5.0


def probe(connection: Connection, tree: SourceTree) -> str:
    """In words.

    Raises:
        BatchForgeError: BF132, BF134, BF135 its address cannot be used, BF237 a package is missing, BF238 it does not
            answer.
    """
    if connection.url == EMBEDDED_URL:
        return "embedded"
    connection = replace(connection, timeout_s=min(connection.timeout_s, WAIT_S))
    url = connection.resolve()
    if url.scheme in ("sqlite", "duckdb"):
        return _probe_file(connection, url.scheme, url.local_file(tree))
    if url.scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        from batchforge.databases import postgres

        postgres.driver(connection)
        with postgres.told(url, connection), closing(postgres.connect(connection, url)) as database:
            database.execute("SELECT 1")
        return "reachable"
    from batchforge.databases import alchemy

    engine, url = alchemy.open_engine(connection)
    with alchemy.told(url, connection), engine.connect():
        return "reachable"


def _probe_file(connection: Connection, scheme: str, file: Path) -> str:
    if not file.is_file():
        return "there is no such file yet"
    if scheme == "duckdb":
        from batchforge.databases import duck_files

        with duck_files.open_file(connection, file):
            return "readable"
    from batchforge.databases import sqlite_file

    sqlite_file.look_at(connection, file)
    return "readable"
