"""How long `fetch` takes for a query's rows out of PostgreSQL, sorted by their key, and its memory at most. The server
is Debian's, on this machine; each fetch is a process of its own.

python tests/benchmarks/query_snapshot.py [--rows 1000 --rows 1000000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg

from tests.builders import TREE
from tests.postgres_server import postgres_server
from tests.snapshots.shop import write_shop

ROWS = """
SELECT g AS id, now() + g * interval '1 second' AS at, (g * 1.25)::numeric(12, 2) AS amount,
  'Review number ' || g || repeat(' and some more words', 10) AS text FROM generate_series(1, {rows}) g
"""
JOB = '{sql: "select id, at, amount, text from reviews", connection: shop, key: id}'
CONNECTION = "connections: {shop: {url: \"{{ env_var('SHOP') }}\"}}\n"
FETCH = """
import sys, time
from batchforge.cli import run_command
from batchforge.profiling import peak_memory_bytes
start = time.perf_counter()
assert run_command(["fetch", "-q", "--output", "json", "--project-dir", sys.argv[1]]) == 0
print(time.perf_counter() - start, peak_memory_bytes() / 1e6)
"""


def measured(url: str, root: Path) -> tuple[float, float]:
    """Seconds, and MB at most."""
    environment = {**os.environ, "SHOP": url, "PYTHONPATH": str(TREE)}
    command = [sys.executable, "-c", FETCH, str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.splitlines()[-1].split()
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    print(f"{'rows':>12}{'wall s':>9}{'peak MB':>9}")
    for rows in parser.parse_args().rows or [1_000, 1_000_000]:
        with postgres_server() as server, tempfile.TemporaryDirectory() as name:
            url = server.new_database()
            with psycopg.connect(url, autocommit=True) as database:
                database.execute(f"CREATE TABLE reviews AS {ROWS.format(rows=rows)}".encode())
            seconds, megabytes = measured(url, write_shop(Path(name) / "shop", JOB, project=CONNECTION))
            print(f"{rows:>12,}{seconds:>9.1f}{megabytes:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
