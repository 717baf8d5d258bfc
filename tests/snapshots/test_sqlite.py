"""Queries of SQLite files, by Python's own driver and by SQLAlchemy, which stands for all its databases."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from batchforge.errors import BatchForgeError
from tests.snapshots.shop import fetched, fetched_rows, write_shop

URLS = {"sqlite": "sqlite:///shop.db", "alchemy": "{{ env_var('SHOP_URL') }}"}
JOB = "{sql: 'select * from sales order by id', connection: shop}"
DRIVERS = pytest.mark.parametrize("driver", URLS)


def write_database(root: Path, driver: str, job: str, script: str) -> Path:
    os.environ["SHOP_URL"] = f"sqlite+pysqlite:///{root}/shop.db"
    write_shop(root, job, project=f'connections: {{shop: {{url: "{URLS[driver]}"}}}}\n')
    with sqlite3.connect(root / "shop.db") as database:
        database.executescript(script)
    database.close()
    return root


SALES = "create table sales (id integer primary key, region text, amount, at); insert into sales values "


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "")  # what a test sets goes with it


@DRIVERS
def test_rows_come_with_the_types_that_they_have(tmp_path: Path, driver: str) -> None:
    script = SALES + "(1, 'nörd', 1.5, null), (2, null, 9007199254740993, x'6100'), (3, '', -7, 'x');"
    assert fetched_rows(write_database(tmp_path, driver, JOB, script)) == [
        {"id": 1, "region": "nörd", "amount": 1.5, "at": None},
        {"id": 2, "region": None, "amount": 9007199254740993, "at": "YQA="},
        {"id": 3, "region": "", "amount": -7, "at": "x"},
    ]


@DRIVERS
def test_values_are_bound(tmp_path: Path, driver: str) -> None:
    query = "select id, '':x'' as t from sales where region = :region"
    job = f"{{sql: '{query}', connection: shop, key: id, params: {{region: a}}}}"
    root = write_database(tmp_path, driver, job, SALES + "(1, 'a', 1, 1), (2, 'b', 1, 1);")
    assert fetched_rows(root) == [{"id": 1, "t": ":x"}]
    (root / "jobs/summarise.yml").write_text(
        (root / "jobs/summarise.yml").read_text().replace("region: a}", 'region: "\' or 1=1 --"}')
    )
    assert fetched_rows(root) == []


@DRIVERS
def test_a_key_sorts_the_rows_where_the_query_does_not(tmp_path: Path, driver: str) -> None:
    job = "{sql: select region from sales, connection: shop, key: region}"
    root = write_database(tmp_path, driver, job, SALES + "(1, 'b', 1, 1), (2, 'c', 1, 1), (3, 'a', 1, 1);")
    assert fetched_rows(root) == [{"region": "a"}, {"region": "b"}, {"region": "c"}]


def test_nothing_but_reading_is_allowed(tmp_path: Path) -> None:
    job = "{sql: \"select load_extension('x') from sales order by 1\", connection: shop}"
    root = write_database(tmp_path, "sqlite", job, SALES + "(1, 'b', 1, 1);")
    with pytest.raises(BatchForgeError, match="BF238"):
        fetched(root)


@DRIVERS
def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, driver: str) -> None:
    root = write_database(tmp_path, driver, JOB, SALES + "(1, 'b', 1, 1);")
    (root / "shop.db").unlink()
    with pytest.raises(BatchForgeError, match="BF238"):
        fetched(root)
    if driver == "sqlite":
        assert not (root / "shop.db").exists()


def test_a_file_that_lies_outside_of_the_project_is_refused(tmp_path: Path) -> None:
    project = 'connections: {shop: {url: "sqlite:///../shop.db"}}\n'
    root = write_shop(tmp_path / "project", JOB, project=project)
    with pytest.raises(BatchForgeError, match="BF122"):
        fetched(root)


def test_a_url_of_the_environment_may_name_any_file(tmp_path: Path) -> None:
    root = write_database(tmp_path / "project", "alchemy", JOB, SALES + "(1, 'b', 1, 1);")
    (root / "shop.db").rename(tmp_path / "shop.db")
    os.environ["SHOP_URL"] = f"sqlite:///{tmp_path}/shop.db"
    assert len(fetched_rows(root)) == 1


def test_a_failed_fetch_leaves_the_snapshot_of_before(tmp_path: Path) -> None:
    root = write_database(tmp_path, "sqlite", JOB, SALES + "(1, 'b', 1, 1);")
    before = fetched(root).snapshot
    with sqlite3.connect(root / "shop.db") as database:
        database.execute("alter table sales rename to sold")
    database.close()
    with pytest.raises(BatchForgeError, match="no such table: sales"):
        fetched(root)
    kept = root / "target/local/snapshots" / before.parts[0].file
    assert kept.exists()
    assert sorted(path.suffix for path in kept.parent.iterdir()) == [".json", ".parquet"]
