"""How long `batchforge cost` takes over a million stored results, and the memory it needs.

python tests/benchmarks/cost_of_many.py [results] [batches]
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.builders import ProjectFiles, state_path
from tests.peak_memory import peak_of

COST = """
import contextlib, io, sys
from batchforge.cli import batchforge
with contextlib.redirect_stdout(io.StringIO()):
    batchforge.main(sys.argv[1:], standalone_mode=False)
"""


def main() -> None:
    results = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    batches = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    with tempfile.TemporaryDirectory() as folder:
        files = ProjectFiles(Path(folder) / "project")
        files.run()
        fill(files, results, batches)
        for by in (["job"], ["run", "day", "model"]):
            measure(files, results, by)


def fill(files: ProjectFiles, results: int, batches: int) -> None:
    """Copies of the first batch and of its first result, with prompts of many sizes."""
    project, _, target = files.load()
    with sqlite3.connect(state_path(project, target)) as database:
        attempt, result = row_of(database, "attempts"), row_of(database, "results")
        ids = range(2, batches + 2)
        insert(database, "attempts", (attempt | {"attempt_id": n, "batch_id": f"copy-{n}"} for n in ids))
        insert(database, "results", copies(result, results, batches))
    database.close()


def copies(result: dict[str, Any], results: int, batches: int) -> Iterator[dict[str, Any]]:
    for number in range(results):
        changed = {"request_id": os.urandom(32), "attempt_id": 2 + number % batches, "message_rowid": None}
        yield result | changed | {"input_tokens": random.randrange(200_000)}


def row_of(database: sqlite3.Connection, table: str) -> dict[str, Any]:
    cursor = database.execute(f"SELECT * FROM {table} LIMIT 1")
    return dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))


def insert(database: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    marks = ",".join("?" * len(row_of(database, table)))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", (list(row.values()) for row in rows))


def measure(files: ProjectFiles, results: int, by: list[str]) -> None:
    words = [word for dimension in by for word in ("--by", dimension)]
    start = time.perf_counter()
    peak_bytes = peak_of(COST, "cost", "--project-dir", str(files.root), "--output", "json", *words)
    seconds = time.perf_counter() - start
    print(f"{results:,} results by {', '.join(by)}: {seconds:.1f} s, {peak_bytes / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
