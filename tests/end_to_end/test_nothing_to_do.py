"""A rerun of what a run has settled does not look at the rows; whatever could change an answer makes it look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.events import EventName
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_values import plan_value
from batchforge.state.erasure import erase
from batchforge.state.sqlite import SqliteState
from tests.builders import JOB_NAME, OUTPUT, ProjectFiles, state_path
from tests.planning import planned


def looked_at_rows(project: ProjectFiles, *names: str, **options: Any) -> bool:
    """Run, and tell whether the rows were planned one by one."""
    project.events.clear()
    project.run(*names, **options)
    (planned,) = [event for event in project.events if event.name is EventName.JOB_PLANNED]
    return "unchanged" not in planned.message


def test_a_settled_job_is_not_looked_at_again(project: ProjectFiles, emulator: EmulatorServer) -> None:
    assert looked_at_rows(project)
    assert not looked_at_rows(project)
    assert emulator.counters().requests_accepted == 3


def test_rows_written_anew_with_the_same_bytes_are_settled_too(project: ProjectFiles) -> None:
    project.run()
    path = project.path("data/rows.jsonl")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert not looked_at_rows(project)


CHANGES: dict[str, Callable[[ProjectFiles], None]] = {
    "a row": lambda project: project.write_rows(["A red bicycle.", "A blue whale.", "A green train."]),
    "the prompt": lambda project: project.write_prompt("What is it about?\n"),
    "max_tokens": lambda project: project.write_job(max_tokens=201),
    "the output": lambda project: project.write_job(output={"file": OUTPUT, "columns": ["id"]}),
    "the input": lambda project: project.write_job(input={"file": "data/rows.jsonl", "key": ["id"], "limit": 2}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_a_run_look_at_the_rows(project: ProjectFiles, change: Callable[[ProjectFiles], None]) -> None:
    project.run()
    change(project)
    assert looked_at_rows(project)
    assert not looked_at_rows(project)


def test_an_included_prompt_that_changes_is_seen(project: ProjectFiles) -> None:
    project.write("prompts/tone.md.j2", "Be brief about {{ row.text }}.")
    project.write_job(user="{% include 'tone.md.j2' %}")
    project.run()
    project.write("prompts/tone.md.j2", "Be kind about {{ row.text }}.")
    assert looked_at_rows(project)


def test_an_include_that_a_row_chooses_is_always_looked_at(project: ProjectFiles) -> None:
    project.write("prompts/tone.md.j2", "Be brief about {{ row.text }}.")
    project.write_job(user="{% include row.prompt %}")
    project.write_rows([{"id": "0", "text": "A red bicycle.", "prompt": "tone.md.j2"}])
    project.run()
    assert looked_at_rows(project)


def test_a_full_refresh_asks_settled_rows_again(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    assert looked_at_rows(project, resend=Resend.ALL)
    assert emulator.counters().requests_accepted == 6


def test_answers_of_another_job_unsettle(project: ProjectFiles) -> None:
    project.write_job("other", user="Again: {{ row.text }}", output={"file": "outputs/other.jsonl"})
    project.run(JOB_NAME)
    project.run("other")
    assert looked_at_rows(project, JOB_NAME)


def test_erased_answers_are_asked_for_again(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    opened, _, target = project.load()
    state = SqliteState(state_path(opened, target))
    erase(state, JOB_NAME, ["1"])
    state.close()
    assert looked_at_rows(project)
    assert emulator.counters().requests_accepted == 4


def plan_value_of(project: ProjectFiles, **options: Any) -> dict[str, Any]:
    with planned(project, **options) as (plan,):
        return plan_value(plan)


def test_a_plan_of_a_settled_job_is_the_one_that_a_look_at_its_rows_gives(project: ProjectFiles) -> None:
    project.write_rows(["A red bicycle.", "A blue boat.", "A red bicycle."])
    project.run()
    looked, settled = plan_value_of(project, looks_at_rows=True), plan_value_of(project)
    assert settled == looked
    assert settled["rows"]["reuse"] == 3


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_plan_after_a_change_looks_at_the_rows(project: ProjectFiles, change: Callable[[ProjectFiles], None]) -> None:
    project.run()
    change(project)
    assert plan_value_of(project) == plan_value_of(project, looks_at_rows=True)


def test_a_plan_of_a_settled_job_reads_no_row(project: ProjectFiles) -> None:
    project.run()
    with planned(project) as (plan,):
        assert list(plan.rows()) == []
    with planned(project, looks_at_rows=True) as (plan,):
        assert len(list(plan.rows())) == 3
