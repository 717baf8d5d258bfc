"""The table of answers: its columns and formats, what every row is told to be, and when it may replace the old one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchforge import pipeline
from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from batchforge.errors import BatchForgeError, ProjectError
from batchforge.events import Event, EventName
from batchforge.outputs import OVERTAKEN, OutputReport, write_outputs
from batchforge.running.run_options import RunOptions
from batchforge.state.sqlite import SqliteState
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from tests.builders import JOB_NAME, OUTPUT, ProjectFiles, state_path
from tests.conftest import StartEmulator

Answers = dict[str, Any]
REFUSAL = {"content": [{"type": "text", "text": "No."}], "stop_reason": "refusal"}
META = [
    *("_status", "_error", "_request_id", "_model", "_stop_reason"),
    *("_input_tokens", "_cache_read_tokens", "_cache_write_tokens", "_output_tokens"),
]


@pytest.fixture
def answered(tmp_path: Path) -> Any:
    """A project whose rows are answered as is said: text of the row -> answer."""
    servers: list[EmulatorServer] = []

    def project(answers: Answers, **settings: Any) -> ProjectFiles:
        def answer(params: Any, _custom_id: str | None) -> Any:
            return answers[params["messages"][-1]["content"][-1]["text"]]

        source = ScriptAnswers(answer, RuleAnswers())
        scenario = Scenario(processing_time_s=0, retry_after_s=None)
        servers.append(EmulatorServer(tmp_path / "emulator.db", scenario=scenario, answers=source).start())
        files = ProjectFiles(tmp_path / "p", servers[-1])
        files.write_rows(list(answers))
        files.write_job(**settings)
        return files

    yield project
    for server in servers:
        server.stop()


Answered = Callable[..., ProjectFiles]


def written(project: ProjectFiles) -> OutputReport:
    report = project.run().jobs[0].output
    assert report is not None
    return report


def table(project: ProjectFiles, name: str) -> list[dict[str, Any]]:
    path = project.path(name)
    return [values for _, values in read_rows(path, name, TableOptions(format_of(name)))]


# ---- columns and formats


def test_a_row_has_its_input_then_its_answer_then_what_is_known_of_it(answered: Answered) -> None:
    project = answered({"one": "ONE"})
    written(project)
    (row,) = project.rows_of()
    assert list(row) == ["id", "text", "answer", *META]
    assert (row["text"], row["answer"], row["_status"], row["_error"]) == ("one", "ONE", "answered", None)
    assert row["_stop_reason"] == "end_turn"


def test_the_columns_of_the_input_can_be_chosen(answered: Answered) -> None:
    project = answered({"one": "ONE"}, output={"file": OUTPUT, "columns": ["text"], "text_column": "said"})
    written(project)
    assert list(project.rows_of()[0]) == ["text", "said", *META]


FIELDS = {
    "label": {"one_of": ["yes", "no"]},
    "count": "integer",
    "share": "number",
    "sure": "boolean",
    "words": {"list_of": "text"},
}
VALUES = {"label": "yes", "count": 3, "share": 0.25, "sure": True, "words": ["a", "ü"]}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_fields_keep_their_types(answered: Answered, ending: str) -> None:
    name = f"outputs/answers.{ending}"
    project = answered({"one": json.dumps(VALUES)}, output={"fields": FIELDS, "file": name})
    written(project)
    (row,) = table(project, name)
    assert {field: row[field] for field in VALUES} == VALUES


@pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_texts_come_back_from_delimited_files_as_they_were(answered: Answered, ending: str, delimiter: str) -> None:
    odd = 'a,b\tc "quoted"\nnext line \r\n ünï 🚲'
    name = f"outputs/answers.{ending}"
    project = answered({odd: odd}, output={"file": name})
    written(project)
    with project.path(name).open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file, delimiter=delimiter)
    assert (row["text"], row["answer"]) == (odd, odd)


def test_formulas_are_escaped_where_that_is_asked_for(answered: Answered) -> None:
    output = {"file": "outputs/answers.csv", "escape_formulas": True}
    project = answered({"=1+1": "=HYPERLINK()"}, output=output)
    written(project)
    with project.path("outputs/answers.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["text"], row["answer"]) == ("'=1+1", "'=HYPERLINK()")


@pytest.mark.parametrize("column", ["answer", "_status", "_emulated", "_request_id"])
def test_a_column_that_the_answer_would_hide_is_refused_before_anything_is_sent(
    project: ProjectFiles, column: str
) -> None:
    project.write_rows([{"id": "a", "text": "One.", column: "mine"}])
    with pytest.raises(ProjectError, match=f"BF702 .*column '{column}', and so has its output"):
        project.run()
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 0


def test_labels_get_the_spelling_of_the_schema(answered: Answered) -> None:
    fields = {"label": {"one_of": ["Billing", "Claim"]}}
    project = answered({"one": '{"label": "BILLING"}'}, output={"fields": fields, "file": OUTPUT})
    written(project)
    assert project.rows_of()[0]["label"] == "Billing"


# ---- every row is told to be one thing


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "the answer is not JSON"),
        ('{"label": "perhaps"}', "the answer breaks the schema at label"),
        ('{"other": "yes"}', "the answer breaks the schema"),
        ("[]", "the answer breaks the schema"),
    ],
)
def test_an_answer_that_breaks_its_schema_is_invalid(answered: Answered, text: str, reason: str) -> None:
    output = {"fields": {"label": {"one_of": ["yes", "no"]}}, "file": OUTPUT}
    project = answered({"one": text}, output=output, min_success=0)
    report = written(project)
    (row,) = project.rows_of()
    assert (row["_status"], row["label"]) == ("invalid", None)
    assert reason in row["_error"]
    assert report.statuses == {"invalid": 1}
    (rejected,) = project.rows_of("outputs/answers.rejected.jsonl")
    assert (rejected["_answer"], rejected["_key"], rejected["_place"]) == (text, "0", "data/rows.jsonl:1")


def test_a_refusal_keeps_what_was_said(answered: Answered) -> None:
    refusal = {"content": [{"type": "text", "text": "I would rather not."}], "stop_reason": "refusal"}
    project = answered({"one": refusal}, min_success=0)
    written(project)
    assert project.rows_of()[0]["_status"] == "refused"
    assert project.rows_of("outputs/answers.rejected.jsonl")[0]["_answer"] == "I would rather not."


# ---- when it may replace the old one


@pytest.mark.parametrize(
    ("failing", "min_success", "is_published"),
    [(0, 1.0, True), (1, 0.75, True), (2, 0.75, False), (4, 0.0, True), (1, 1.0, False)],
)
def test_an_output_is_published_if_enough_of_its_rows_were_answered(
    answered: Answered, failing: int, min_success: float, is_published: bool
) -> None:
    project = answered({f"row {n}": REFUSAL if n < failing else "Yes." for n in range(4)}, min_success=min_success)
    summary = project.run()
    report = summary.jobs[0].output
    assert report is not None
    assert report.is_published is is_published
    assert project.path(OUTPUT).exists() is is_published
    assert summary.exit_code == (0 if is_published else 1)


def test_an_empty_input_makes_an_empty_output(project: ProjectFiles) -> None:
    project.write_rows([])
    assert project.run().exit_code == 0
    assert project.path(OUTPUT).read_bytes() == b""


def test_candidates_go_when_the_output_is_published(answered: Answered) -> None:
    answers: Answers = {"one": REFUSAL, "two": "Yes."}
    project = answered(answers)
    assert not written(project).is_published
    project.write_job(min_success=0.5)
    assert written(project).is_published
    assert names(project) == ["answers.jsonl", "answers.rejected.jsonl"]


def names(project: ProjectFiles) -> Sequence[str]:
    return sorted(path.name for path in project.path("outputs").iterdir())


def test_another_form_of_the_output_is_written_from_the_same_answers(answered: Answered) -> None:
    project = answered({"one": "ONE"})
    written(project)
    project.write_job(output={"file": "outputs/answers.csv"})
    job = project.run().jobs[0]
    assert (job.requests_sent, job.output is not None) == (0, True)
    assert table(project, "outputs/answers.csv")[0]["answer"] == "ONE"


def test_an_output_that_cannot_be_written_is_told_before_anything_is_sent(project: ProjectFiles) -> None:
    project.write("outputs", "a file stands where the folder should be")
    with pytest.raises(BatchForgeError, match=r"BF701 outputs/answers.jsonl: .*outputs is not a folder"):
        project.run()
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 0


def test_an_output_that_cannot_be_written_any_more_loses_no_answer(project: ProjectFiles) -> None:
    project.run(wait=False)
    project.write("outputs", "a file stands where the folder should be")
    with pytest.raises(BatchForgeError, match="BF701"):
        project.collect()
    project.path("outputs").unlink()
    assert project.collect().status == "ok"
    assert len(project.rows_of()) == 3
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 1


# ---- several processes


def test_rows_that_another_run_has_submitted_meanwhile_are_not_written_as_ours(project: ProjectFiles) -> None:
    """It may have other columns and other counts."""
    project.run()
    opened, (spec,), target = project.load()

    def run_meanwhile(_path: Path) -> str:
        project.write_rows([{"id": "9", "text": "A grey whale.", "weight": 30}])
        project.run()
        return ""

    with project.state() as state:
        manifest = state.manifest("api", JOB_NAME)
        assert manifest is not None
        report = write_outputs(spec, state, manifest, opened, target, run_meanwhile)
    assert (report.is_published, report.held_back_because) == (False, OVERTAKEN)
    assert [row["weight"] for row in project.rows_of()] == [30]


def test_whose_rows_the_jobs_are_is_looked_at_again_before_they_are_written(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    emulator = start_emulator(processing_time_s=600.0)
    project = ProjectFiles(tmp_path / "slow", emulator)
    project.run(wait=False)
    project.run(wait=False, limit=1)
    emulator.clock.advance(601)
    opened, specs, target = project.load()

    def submit_meanwhile(event: Event) -> None:
        if event.name is EventName.OUTPUT_WRITTEN:
            with closing(SqliteState(state_path(opened, target))) as state:
                held = state.manifest("api", JOB_NAME, "limit=1")
                assert held is not None
                state.save_manifest(replace(held, digest="others"), [])

    summary = pipeline.collect(opened, specs, target, RunOptions(submitted_rows=True), listen=submit_meanwhile)
    assert (summary.jobs[0].problem, summary.exit_code) == (OVERTAKEN, 1)
    assert not project.path("outputs/answers.sample.jsonl").exists()
