"""What a run tells while it happens: plain lines, a live table, lines of JSON."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchforge.events import Event, EventName
from batchforge.terminal.log_format import COMMON_FIELDS, EVENTS, JsonLog
from batchforge.terminal.plain_progress import PlainProgress
from batchforge.terminal.progress import open_progress
from batchforge.terminal.report import render_run
from batchforge.terminal.terminal_text import display_width
from tests.builders import CLI, ProjectFiles, child_environment, copy_example
from tests.golden_files import check_golden, masked


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def batch(name: EventName, number: int, message: str, **data: Any) -> Event:
    return Event(name, "triage", f"batch b{number}: {message}", {"batch_id": f"b{number}", **data})


def story() -> Iterator[Event]:
    """A run of two batches, with all that can be told of it."""
    yield Event(EventName.RUN_STARTED, message="run r1 (run) on prod", data={"run_id": "r1"})
    yield Event(EventName.JOB_PLANNED, "triage", "30 rows: 30 to submit (30 new)", {"requests_to_send": 30})
    yield Event(EventName.WARNING, "triage", "30 rows make only 5 distinct requests")
    yield Event(EventName.WAITING, "triage", "not accepted (HTTP 429); trying again in 2 s", {"seconds": 2})
    yield batch(EventName.BATCH_SUBMITTED, 1, "20 requests, 0.1 MB", requests=20)
    yield Event(EventName.ATTEMPT_MOVED, "triage", "attempt 1: known", {"attempt_id": 1})
    yield batch(EventName.BATCH_SUBMITTED, 2, "10 requests, 0.1 MB", requests=10)
    for left in (20, 20, 20, 8, 8, 0):
        yield batch(EventName.BATCH_PROGRESS, 1, f"in_progress, {left} of 20 to go", processing=left)
    yield batch(EventName.RESULTS_STORED, 1, "20 of 20 results stored", results={"answered": 19, "refused": 1})
    yield batch(EventName.BATCH_PROGRESS, 2, "ended, 0 of 10 to go", processing=0)
    yield Event(EventName.OUTPUT_WRITTEN, "triage", "outputs/triage.csv", {"path": "outputs/triage.csv"})
    yield Event(EventName.RUN_ENDED, message="run r1: ok", data={"run_id": "r1"})


def told(stream: io.StringIO, events: Iterator[Event], **options: Any) -> str:
    seconds = iter(range(1_000))
    progress = PlainProgress(stream, clock=lambda: float(next(seconds)), **options)
    for event in events:
        progress(event)
    return stream.getvalue()


# ---- plain lines


@pytest.mark.parametrize(
    ("name", "options"), [("plain", {}), ("quiet", {"is_quiet": True}), ("verbose", {"is_verbose": True})]
)
def test_the_plain_form(name: str, options: dict[str, bool]) -> None:
    check_golden(f"progress_{name}.txt", told(io.StringIO(), story(), **options))


def test_a_line_that_says_the_same_again_is_left_out() -> None:
    lines = told(io.StringIO(), story()).splitlines()
    assert sum("20 of 20 to go" in line for line in lines) == 1


def test_answers_that_come_one_by_one_are_told_now_and_then() -> None:
    events = (
        Event(EventName.ANSWERS_STORED, "triage", f"{n} of 100 answered", {"stored": n, "requests": 100})
        for n in range(1, 101)
    )
    lines = told(io.StringIO(), events).splitlines()
    assert 2 < len(lines) < 30
    assert "100 of 100" in lines[-1]


def test_what_comes_from_outside_never_steers_the_terminal() -> None:
    event = Event(EventName.WARNING, "triage", "the API says \x1b[2J\u202eoh\n")
    assert told(io.StringIO(), iter([event])) == "warning: triage: the API says \\x1b[2J\\u202eoh\\n\n"


@pytest.mark.parametrize("variable", ["CI", "TERM"])
def test_a_terminal_that_cannot_be_drawn_over_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, "dumb")
    progress = open_progress(Screen(), quiet=False, verbose=False, log_format="text")
    assert isinstance(progress, PlainProgress)


def test_warnings_are_coloured_only_where_colour_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    warning = Event(EventName.WARNING, "triage", "look")
    assert "\x1b[" in told(Screen(), iter([warning]))
    monkeypatch.setenv("NO_COLOR", "1")
    assert told(Screen(), iter([warning])) == "warning: triage: look\n"


# ---- the live table


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Screen()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_live_table_fits_the_terminal(live: Screen, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = open_progress(live, quiet=False, verbose=False, log_format="text")
    job = "a_job_with_quite_a_long_name_for_a_table"
    progress(Event(EventName.JOB_PLANNED, job, "9 rows", {"requests_to_send": 9, "estimated_usd": 1234.5}))
    progress(Event(EventName.BATCH_SUBMITTED, job, "b", {"batch_id": "b", "requests": 9}))
    results = {"answered": 8, "refused": 1}
    progress(
        Event(EventName.RESULTS_STORED, job, "b", {"results": results, "cost_usd": 12.5, "input_tokens": 2_500_000})
    )
    progress.close()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).replace("\r", "") for line in live.getvalue().split("\n")]
    assert all(display_width(line) <= columns for line in lines[1:])
    spent = "$12.50 of about $1,234.50" if columns >= 100 else "$12.50"
    assert columns < 80 or any(line.rstrip().endswith(spent) for line in lines)


def test_nothing_is_drawn_before_there_is_something_to_watch(live: Screen) -> None:
    progress = open_progress(live, quiet=False, verbose=False, log_format="text")
    progress(Event(EventName.JOB_PLANNED, "triage", "30 rows: 30 to submit (30 new)"))
    assert live.getvalue() == "triage: 30 rows: 30 to submit (30 new)\n"
    progress.close()


def test_the_live_table_leaves_nothing_behind(tmp_path: Path) -> None:
    """On a real terminal: what was drawn over is gone, the result stays."""
    folder = copy_example("tickets", tmp_path)
    ours, terminal = os.openpty()
    environment = child_environment(TERM="xterm-256color", COLUMNS="80")
    environment.pop("CI", None)
    process = subprocess.Popen(
        [*CLI, "run"], cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    screen = b"".join(iter(lambda: _read(ours), b"")).decode()
    assert process.wait(30) == 0
    assert "\x1b[1mclassify_tickets\x1b[0m: 68 rows" in screen
    assert "\x1b[32m68 answered\x1b[0m" in screen
    os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other side has closed
        return b""


# ---- lines of JSON


def test_each_event_is_one_line_of_json() -> None:
    stream = io.StringIO()
    for event in story():
        JsonLog(stream)(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [event.name.value for event in story()]


def test_every_event_is_documented() -> None:
    assert {name.value for name in EventName} <= EVENTS.keys()


def test_a_run_logs_only_what_is_documented_and_no_prompts(project: ProjectFiles) -> None:
    done = project.cli("run", "--log-format", "json", "-v")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [lines[0]["event"], lines[-1]["event"]] == ["run_started", "run_ended"]
    for line in lines:
        assert line.keys() - COMMON_FIELDS.keys() <= EVENTS[line["event"]].fields.keys()
    assert "bicycle" not in done.stderr
    assert "in one sentence" not in done.stderr
    (stored,) = [line for line in lines if line["event"] == "results_stored"]
    assert stored["results"] == {"answered": 3}
    assert stored["cost_usd"] > 0


def test_a_problem_is_a_line_of_json_too(project: ProjectFiles) -> None:
    project.write("jobs/bad.yml", "modle: x\n")
    done = project.cli("run", "--log-format=json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.exit_code == 2
    assert {"problem"} == {line["event"] for line in lines}
    assert "BF101" in {line["code"] for line in lines}


# ---- a whole run, as it is told


def test_a_run_without_a_terminal(tmp_path: Path) -> None:
    folder = copy_example("tickets", tmp_path)
    environment = child_environment()
    done = subprocess.run([*CLI, "run"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    check_golden("run_stderr.txt", masked(done.stderr))
    check_golden("run_stdout.txt", masked(done.stdout))


def test_quiet_leaves_only_the_result(project: ProjectFiles) -> None:
    done = project.cli("run", "-q")
    assert done.stderr == ""
    assert "3 answered" in done.stdout


def test_the_summary_fits_eighty_columns(project: ProjectFiles) -> None:
    project.write_rows(["a", "b", {"id": "x", "text": "c", "a_column": "d"}])
    text = render_run(project.run(), columns=60)
    assert all(len(line) <= 60 or " " not in line.strip() for line in text.splitlines())
