"""Queries of the embedded DuckDB, over the sources that the project declares."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from batchforge.cli import run_command
from batchforge.errors import BatchForgeError
from tests.snapshots.shop import fetched, fetched_rows, loaded, rows, write_shop

BY_REGION = "{sql: 'select region, sum(amount) as amount, count(*) as orders from orders group by region', key: region}"


def code_of(root: Path) -> str:
    with pytest.raises(BatchForgeError) as caught:
        fetched(root)
    return caught.value.problems[0].code


def test_a_query_reads_declared_sources_by_their_names(tmp_path: Path) -> None:
    root = write_shop(tmp_path, BY_REGION)
    assert fetched_rows(root) == [
        {"region": "north", "amount": 11.75, "orders": 2},
        {"region": "south", "amount": 7.0, "orders": 1},
    ]


def test_a_query_stands_in_a_file_and_its_params_are_bound(tmp_path: Path) -> None:
    job = "{sql: queries/a.sql, key: id, params: {region: '{{ vars.region }}', least: 2}}"
    text = "-- of one region\nselect id, ':region' as text from orders\nwhere region = :region and amount > :least;\n"
    root = write_shop(tmp_path, job, files={"queries/a.sql": text})
    assert fetched_rows(root) == [{"id": 1, "text": ":region"}]
    assert fetched_rows(root, region="south") == [{"id": 2, "text": ":region"}]
    assert fetched_rows(root, region="' or 1 = 1 --") == []


def test_a_query_that_was_never_fetched_names_the_command(tmp_path: Path) -> None:
    root = write_shop(tmp_path, BY_REGION)
    with pytest.raises(BatchForgeError, match="BF230") as caught:
        rows(root)
    assert "batchforge fetch" in caught.value.problems[0].hint


def test_run_fetches_by_itself_and_plan_reads_what_it_has_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_shop(tmp_path, BY_REGION))
    assert run_command(["plan"]) == 2
    assert run_command(["run", "--no-fetch"]) == 2
    assert run_command(["run"]) == 0
    written = (tmp_path / "target/local/outputs/summarise.jsonl").read_text()
    assert [line.split(",")[0] for line in written.splitlines()] == ['{"region":"north"', '{"region":"south"']
    capsys.readouterr()
    assert run_command(["plan"]) == 0
    out = capsys.readouterr().out
    assert "snapshot " in out
    assert " of the query in jobs/summarise.yml: 2 rows, " in out
    (tmp_path / "data/orders.csv").write_text("id,region,amount\n1,west,1\n")
    assert run_command(["run", "--no-fetch"]) == 0
    assert "west" not in (tmp_path / "target/local/outputs/summarise.jsonl").read_text()
    assert run_command(["plan"]) == 0
    assert "has changed since" in capsys.readouterr().out
    assert run_command(["try", "summarise"]) == 0
    assert run_command(["run"]) == 0
    assert "west" in (tmp_path / "target/local/outputs/summarise.jsonl").read_text()


def test_fetch_tells_what_has_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_shop(tmp_path, BY_REGION)
    assert run_command(["fetch", "--project-dir", str(root)]) == 0
    assert capsys.readouterr().out == "1 fetched, 1 of them changed\n"
    assert run_command(["fetch", "--project-dir", str(root), "--output", "json"]) == 0
    assert '"changed": false' in capsys.readouterr().out


def test_equal_rows_give_an_equal_snapshot(tmp_path: Path) -> None:
    one = fetched(write_shop(tmp_path / "a", BY_REGION)).snapshot
    other = fetched(write_shop(tmp_path / "b", BY_REGION)).snapshot
    assert one.sha256 == other.sha256


def test_max_age_spares_a_young_snapshot_and_refuses_an_old_one(tmp_path: Path) -> None:
    from datetime import timedelta

    from batchforge.clock import SystemClock
    from batchforge.snapshots.fetching import Fetched, fetch
    from batchforge.snapshots.snapshot_inputs import with_snapshots

    root = write_shop(tmp_path, BY_REGION.replace("key", "max_age: 1h, key"))
    first = fetched(root)
    project, job = loaded(root)
    (second,) = fetch(project, [job], project.target(), spare_young=True)
    assert isinstance(second, Fetched)
    assert (second.is_asked, second.snapshot) == (False, first.snapshot)
    later = SystemClock().now() + timedelta(hours=2)
    with pytest.raises(BatchForgeError, match=r"BF234 .* is 2 h old, and `max_age` allows 60 min"):
        with_snapshots(job.input, project, project.target(), job.vars, later)


def test_a_snapshot_that_is_spared_is_not_removed_for_its_age(tmp_path: Path) -> None:
    from batchforge.snapshots.fetching import fetch
    from batchforge.snapshots.snapshot_records import RECORD_KEPT_S

    root = write_shop(tmp_path, BY_REGION.replace("key", "max_age: 20w, key"))
    first = fetched(root)
    project, job = loaded(root)
    (record,) = (root / "target").glob("*/snapshots/*.json")
    long_ago = time.time() - RECORD_KEPT_S - 60
    os.utime(record, (long_ago, long_ago))
    (second,) = fetch(project, [job], project.target(), spare_young=True)
    assert second.to_json()["sha256"] == first.to_json()["sha256"]
    assert record.exists()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select * from ''data/orders.csv'' order by id", "BF238"),
        ("select * from read_csv(''/etc/passwd'') order by 1", "BF238"),
        ("select * from read_text(''batchforge.yml'') order by 1", "BF238"),
        ("select * from orders order by amuont", "BF238"),
        ("select * from orders", "BF233"),
        ("select * from orders order by :day", "BF232"),
        ("select id, id as ID from orders order by 1", "BF235"),
        ("select 1; select 2", "BF231"),
        ("drop table orders", "BF231"),
        ("attach ''x.db''", "BF231"),
        ("copy (select 1) to ''x.csv''", "BF231"),
        ("create table x as select 1", "BF231"),
        ("pragma version", "BF231"),
        ("", "BF231"),
    ],
)
def test_what_a_query_may_not_do_is_refused(tmp_path: Path, query: str, code: str) -> None:
    root = write_shop(tmp_path, f"{{sql: '{query or ' '}'}}")
    assert code_of(root) == code
    assert not list((root / "target").rglob("*.parquet"))


def test_a_query_reads_what_another_one_gives(tmp_path: Path) -> None:
    sources = (
        "  north: {sql: 'select id, amount from orders where region = ''north''', key: id}\n"
        "  loop: {sql: 'select * from loop', key: id}\n  notes: {rows: [{id: 1}]}\n"
    )
    root = write_shop(tmp_path, "{sql: 'select count(*) as n from north', key: n}")
    text = (root / "batchforge.yml").read_text()
    (root / "batchforge.yml").write_text(text.replace("vars:", sources + "vars:"))
    project, job = loaded(root)
    from batchforge import pipeline

    assert [each.to_json()["rows"] for each in pipeline.fetch(project, [job], project.target())] == [2, 1]
    assert rows(root) == [{"n": 2}]
    for name in ("loop", "notes"):
        (root / "jobs/summarise.yml").write_text(f"input: {{sql: select * from {name}, key: id}}\nuser: x\n")
        assert code_of(root) == "BF239"


TYPES = (
    "select 1 as id, {huge}::hugeint as huge, 12.50::decimal(10, 2) as amount, date ''2026-02-28'' as day, "
    "timestamptz ''2026-02-28 10:00:00+02'' as at, [1, null] as list, {{a: 1}} as struct, null as nothing, "
    "''a''::blob as bytes, true as yes"
)


def test_types_of_duckdb_are_exact(tmp_path: Path) -> None:
    root = write_shop(tmp_path, f"{{sql: '{TYPES.format(huge=12345)}', key: id}}")
    assert fetched_rows(root) == [
        {
            "id": 1,
            "huge": 12345,
            "amount": "12.50",
            "day": "2026-02-28",
            "at": "2026-02-28T08:00:00Z",
            "list": [1, None],
            "struct": {"a": 1},
            "nothing": None,
            "bytes": "YQ==",
            "yes": True,
        }
    ]


def test_an_integer_that_parquet_cannot_hold_is_told(tmp_path: Path) -> None:
    root = write_shop(tmp_path, f"{{sql: '{TYPES.format(huge=10**38)}', key: id}}")
    assert code_of(root) == "BF238"
