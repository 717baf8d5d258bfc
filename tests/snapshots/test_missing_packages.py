"""What the base installation does without is named with the extra that brings it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import TREE
from tests.snapshots.shop import write_shop

WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from batchforge.cli import run_command
sys.exit(run_command(["fetch"]))
"""
QUERY = "{sql: select 1 as id, connection: c, key: id}"


@pytest.mark.parametrize(
    ("job", "url", "package", "extra"),
    [
        (QUERY, "postgresql://127.0.0.1/x", "psycopg", "postgres"),
        (QUERY, "mysql+pymysql://127.0.0.1/x", "sqlalchemy", "sql"),
        ('{file: "s3://bucket/a.csv"}', "sqlite:///x.db", "obstore", "object-store"),
    ],
)
def test_the_extra_that_is_missing_is_named(tmp_path: Path, job: str, url: str, package: str, extra: str) -> None:
    root = write_shop(tmp_path, job, project=f'connections: {{c: {{url: "{url}"}}}}\n')
    script = WITHOUT.format(names=[package])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": str(TREE)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "BF237" in done.stderr
    assert f"pip install 'batchforge[{extra}]'" in done.stderr


def test_an_output_in_an_object_store_names_its_extra_before_anything_is_sent(tmp_path: Path) -> None:
    root = write_shop(tmp_path, "{rows: [{id: 1}], key: id}")
    with (root / "jobs/summarise.yml").open("a") as job:
        job.write('output: {file: "s3://bucket/{target}.csv"}\n')
    script = WITHOUT.format(names=["obstore"]).replace('"fetch"', '"run"')
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": str(TREE)}, capture_output=True, text=True
    )
    assert (done.returncode, "BF237" in done.stderr) == (2, True), done.stderr
    assert "pip install 'batchforge[object-store]'" in done.stderr
    assert not (root / "target/local/outputs").exists()


def test_a_zst_file_names_its_extra(tmp_path: Path) -> None:
    root = write_shop(tmp_path, "{file: data/a.csv.zst}", files={"data/a.csv.zst": b"x"})
    script = WITHOUT.format(names=["zstandard"]).replace('"fetch"', '"plan"')
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": str(TREE)}, capture_output=True, text=True
    )
    assert "BF237" in done.stderr
    assert "batchforge[zstd]" in done.stderr
