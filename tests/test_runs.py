"""`batchforge runs`: what was run, by whom, what it sent and cost."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from batchforge.commands import runs
from batchforge.terminal.terminal_text import display_width
from tests.builders import JOB_NAME, ProjectFiles, interrupt
from tests.conftest import StartEmulator
from tests.test_show import printed, refused, run


def listed(project: ProjectFiles, *words: str) -> Any:
    return json.loads(printed(runs.command, project, *words, "--output", "json"))


def shown(project: ProjectFiles, run_id: str) -> Any:
    return json.loads(printed(runs.show, project, run_id, "--output", "json"))


def test_runs_are_listed_the_last_one_first(project: ProjectFiles) -> None:
    first, second = project.run(), project.run()
    values = listed(project)
    assert [value["run_id"] for value in values] == [second.run_id, first.run_id]
    assert [value["requests_sent"] for value in values] == [0, 3]
    assert values[1]["cost_usd"] == first.to_json()["cost_usd"] > 0
    assert values[1]["jobs"] == [JOB_NAME]
    assert "@" in values[1]["started_by"]


def test_the_list_can_be_limited(project: ProjectFiles) -> None:
    project.run()
    last = project.run()
    assert [value["run_id"] for value in listed(project, "--limit", "1")] == [last.run_id]


def test_one_run_is_shown_with_its_stored_summary_and_batches(project: ProjectFiles) -> None:
    summary = project.run()
    value = shown(project, summary.run_id)
    assert value["summary"]["jobs"][0]["output"]["statuses"] == {"answered": 3}
    assert sum(batch["succeeded"] for batch in value["batches"]) == 3
    text = printed(runs.show, project, summary.run_id)
    assert "wrote outputs/answers.jsonl" in text
    assert max(display_width(line) for line in text.splitlines()) <= 80


def test_a_run_is_named_by_the_beginning_of_its_id_or_as_the_last_one(project: ProjectFiles) -> None:
    summary = project.run()
    assert shown(project, summary.run_id[:-2])["run_id"] == summary.run_id
    assert shown(project, "last")["run_id"] == summary.run_id


def test_an_unknown_or_ambiguous_run_is_refused(project: ProjectFiles) -> None:
    project.run()
    project.run()
    assert refused(runs.show, project, "1999").problems[0].code == "BF941"
    assert "2 runs begin with" in refused(runs.show, project, "20").problems[0].message


def submitted(project: ProjectFiles) -> subprocess.Popen[str]:
    """A run whose batch is under way."""
    process = project.start("run", "--yes")
    for _ in range(200):
        time.sleep(0.1)
        if project.path(".batchforge").exists() and project.cli("status").exit_code == 3:
            break
    return process


def test_a_run_that_was_interrupted_still_says_what_it_sent(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600.0))
    process = submitted(project)
    interrupt(process)
    (value,) = listed(project)
    assert (value["status"], value["requests_sent"], value["cost_usd"]) == ("interrupted", 3, None)


def test_options_before_show_are_refused_since_they_would_do_nothing(project: ProjectFiles) -> None:
    project.run()
    result = run(runs.command, project, "--output", "json", "show", "last")
    assert (result.exit_code, "Options go behind `show`." in result.stderr) == (2, True)


def test_a_run_that_was_killed_is_told_to_have_broken_off_and_nothing_is_written(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600.0))
    process = submitted(project)
    assert listed(project)[0]["status"] == "running"
    process.kill()
    process.communicate()
    (value,) = listed(project)
    assert (value["status"], value["ended_at"]) == ("broke_off", None)
    assert " · broke off · 3 sent" in printed(runs.command, project)
    assert " (run): broke off, started " in project.cli("status").stdout
    with project.state() as state:
        assert [run.status for run in state.runs(5)] == ["running"]
