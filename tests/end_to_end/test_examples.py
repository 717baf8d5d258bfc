"""The projects that the documentation shows, on the embedded emulator, by the command line."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
from tests.builders import Finished, copy_example, run_cli
from tests.postgres_server import PostgresServer


def run_json(folder: Path) -> Finished:
    return run_cli(folder, "run", "--output", "json")


def test_the_tickets_are_classified_and_the_second_run_costs_nothing(tmp_path: Path) -> None:
    folder = copy_example("tickets", tmp_path)
    first = run_cli(folder, "run")
    assert first.exit_code == 0, first.stderr
    assert "classify_tickets: 68 rows, 68 requests sent (68 new)" in first.stdout
    assert "They are not Claude's." in first.stdout
    output = folder / "target/local/outputs/tickets.parquet"
    rows = [row for _, row in read_rows(output, output.name, TableOptions("parquet"))]
    with (folder / "data/tickets.tsv").open(newline="") as file:
        given = list(csv.DictReader(file, delimiter="\t"))
    assert [{"text": row["text"], "label": row["label"]} for row in rows] == given
    assert {(row["_status"], row["_emulated"]) for row in rows} == {("answered", True)}
    assert len({row["category"] for row in rows}) > 3
    second = run_cli(folder, "run")
    assert second.exit_code == 0, second.stderr
    assert "68 rows, 0 requests sent: 68 answered before" in second.stdout


def test_the_reviews_with_their_lone_quotes_come_out_as_they_went_in(tmp_path: Path) -> None:
    folder = copy_example("reviews", tmp_path)
    first = run_json(folder)
    assert first.exit_code == 0, first.stderr
    assert first.json()["jobs"][0]["requests_sent"] == first.json()["jobs"][0]["distinct_requests"]
    with (folder / "target/local/outputs/sentiment.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    given = [line.split("\t") for line in (folder / "data/yelp_labelled.txt").read_text().splitlines()]
    assert len(rows) == len(given) == 1000
    # Cells that a spreadsheet would run are escaped in this project.
    assert [[row["text"].removeprefix("'"), row["label"]] for row in rows] == [
        [text.removeprefix("'"), label] for text, label in given
    ]
    assert {row["sentiment"] for row in rows} == {"positive", "negative"}
    second = run_json(folder)
    assert second.exit_code == 0, second.stderr
    assert second.json()["jobs"][0]["requests_sent"] == 0


def test_one_edited_ticket_sends_one_request(tmp_path: Path) -> None:
    folder = copy_example("tickets", tmp_path)
    assert run_json(folder).exit_code == 0
    data = folder / "data/tickets.tsv"
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join([*lines[:5], lines[5].replace("\t", " Thank you.\t"), *lines[6:]]))
    (job,) = run_json(folder).json()["jobs"]
    assert (job["requests_sent"], job["actions"]) == (1, {"submit": 1, "reuse": 67})
    assert json.loads((folder / "target/run_results.json").read_text())["jobs"][0]["requests_sent"] == 1


def test_the_support_desk_is_built_in_three_waves_with_its_tests(tmp_path: Path) -> None:
    folder = copy_example("support", tmp_path)
    first = run_cli(folder, "build")
    assert first.exit_code == 0, first.stdout + first.stderr
    begun = [line.partition(":")[0] for line in first.stderr.splitlines() if " to submit" in line]
    assert set(begun[:3]) == {"classify", "wishes", "histories"}
    assert begun.index("judge_briefs") > begun.index("briefs")
    assert "8 of 8 OK" in first.stdout
    assert first.stdout.startswith("1 of 8 OK source:tickets: 40 rows, 0 requests")
    assert "FAIL=0 ERROR=0 SKIP=0 WAIT=0" in first.stdout
    second = run_cli(folder, "build", "--output", "json").json()
    assert [job["requests_sent"] for job in second["jobs"]] == [0] * 8


def _summaries(folder: Path, target: str) -> list[dict[str, Any]]:
    path = folder / f"target/{target}/outputs/weekly_summary.jsonl"
    return [row for _, row in read_rows(path, path.name, TableOptions("jsonl"))]


def test_the_weeks_of_a_shop_are_summarised_into_a_table(tmp_path: Path) -> None:
    folder = copy_example("jaffle_summaries", tmp_path)
    assert run_cli(folder, "fetch").stdout == "1 fetched, 1 of them changed\n"
    plan = run_cli(folder, "plan")
    assert re.search(r"note: snapshot [0-9a-f]{12} of queries/weeks.sql: 15 rows, \d+ s old", plan.stdout), plan.stdout
    first = run_cli(folder, "run")
    assert first.exit_code == 0, first.stderr
    assert "and the table reports.weekly_summaries" in first.stdout
    rows = _summaries(folder, "local")
    assert rows[0]["week"] == "2018-01-01"
    assert {row["_status"] for row in rows} == {"answered"}
    with closing(sqlite3.connect(folder / "target/local/reports.db")) as database:
        written = database.execute("SELECT week, paid_usd, summary FROM weekly_summaries ORDER BY week").fetchall()
    assert written == [(row["week"], row["paid_usd"], row["summary"]) for row in rows]
    second = run_cli(folder, "run")
    assert "15 rows, 0 requests sent: 15 answered before" in second.stdout


def test_postgresql_gives_the_same_rows_as_the_files(tmp_path: Path, postgres: PostgresServer) -> None:
    folder = copy_example("jaffle_summaries", tmp_path)
    url = postgres.new_database()
    with psycopg.connect(url) as database:
        database.execute("CREATE TABLE raw_customers (id int, first_name text, last_name text)")
        database.execute("CREATE TABLE raw_orders (id int, user_id int, order_date date, status text)")
        database.execute("CREATE TABLE raw_payments (id int, order_id int, payment_method text, amount int)")
        for table in ("raw_customers", "raw_orders", "raw_payments"):
            with database.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write((folder / f"data/{table}.csv").read_bytes().replace(b"\r\n", b"\n"))
    assert run_cli(folder, "run").exit_code == 0
    done = run_cli(folder, "run", "--target", "postgres", SHOP_URL=url)
    assert done.exit_code == 0, done.stderr
    given = [(row["week"], row["orders"], row["paid_usd"], row["returned"]) for row in _summaries(folder, "local")]
    assert [
        (row["week"], row["orders"], row["paid_usd"], row["returned"]) for row in _summaries(folder, "postgres")
    ] == given
    with psycopg.connect(url) as database:
        weeks = database.execute("SELECT week::text, paid_usd::text FROM weekly_summaries ORDER BY week").fetchall()
        types = database.execute(
            "SELECT pg_typeof(week)::text, pg_typeof(paid_usd)::text FROM weekly_summaries LIMIT 1"
        )
        assert set(types.fetchall()) == {("date", "numeric")}
    assert weeks == [(week, paid_usd) for week, _, paid_usd, _ in given]


def test_the_leases_are_read_as_documents_and_keep_their_references(tmp_path: Path) -> None:
    folder = copy_example("leases", tmp_path)
    plan = run_cli(folder, "plan")
    assert plan.exit_code == 0, plan.stderr
    assert "2 new" in plan.stdout
    first = run_json(folder)
    assert first.exit_code == 0, first.stderr
    rows = [json.loads(line) for line in (folder / "target/local/outputs/summaries.jsonl").read_text().splitlines()]
    assert [row["_status"] for row in rows] == ["answered", "answered"]
    assert all(row["summary"] and row["reference"].startswith("Description:") for row in rows)
    assert [row["_citations"][0]["type"] for row in rows] == ["page_location", "char_location"]
    with (folder / "target/local/outputs/questions.csv").open(newline="") as file:
        cached = [int(row["_cache_read_tokens"]) > 10_000 for row in csv.DictReader(file)]
    assert cached == [False, True, True, False, True, True]
    second = run_json(folder)
    assert [job["requests_sent"] for job in second.json()["jobs"]] == [0, 0]


def test_messages_go_up_until_a_model_is_sure(tmp_path: Path) -> None:
    folder = copy_example("escalation", tmp_path)
    first = run_json(folder)
    assert first.exit_code == 0, first.stderr
    jobs = {job["job"]: job for job in first.json()["jobs"]}
    for name, job in jobs.items():
        rows = [json.loads(line) for line in (folder / f"target/local/outputs/{name}.jsonl").read_text().splitlines()]
        assert sum(rung["kept"] for rung in job["ladder"]["rungs"]) == len(rows) == 12
        assert {row["_status"] for row in rows} == {"answered"}
    assert jobs["sort_by_votes"]["ladder"]["guarantee"]["sample"] == 12
    second = run_json(folder)
    assert [job["requests_sent"] for job in second.json()["jobs"]] == [0, 0]
