"""The projects that the documentation shows, on the embedded emulator, by the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
from tests.builders import Finished, copy_example, run_cli


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
    assert "7 of 7 OK" in first.stdout
    assert "FAIL=0 ERROR=0 SKIP=0 WAIT=0" in first.stdout
    second = run_cli(folder, "build", "--output", "json").json()
    assert [job["requests_sent"] for job in second["jobs"]] == [0] * 7
