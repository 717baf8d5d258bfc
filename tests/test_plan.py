"""What a plan says: pure, with a reason for every row, and what is worth knowing before anything is sent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.errors import ProjectError
from batchforge.planning.plan_rows import Action
from batchforge.planning.plan_values import render_markdown, render_plan
from tests.builders import ProjectFiles, child_environment
from tests.planning import plan_json, planned, project_plan

LONG = "Say in one sentence what the text is about, and be exact about colours, vehicles and the weather. " * 120
BLOCKED = """
import socket, sys
def refuse(*args, **kwargs):
    raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = refuse
from batchforge.cli import main
main()
"""


def notes(project: ProjectFiles, job: str = "about") -> list[str]:
    with project_plan(project) as plan:
        return list(plan.notes.get(job, ()))


# ---- purity


def test_a_plan_gives_the_same_bytes_twice_and_writes_nothing(project: ProjectFiles) -> None:
    project.run(limit=2)
    before = file_hashes(project.root)
    first = project.cli("plan", "--output", "json")
    assert first.exit_code == 0, first.stderr
    assert project.cli("plan", "--output", "json").stdout == first.stdout
    assert file_hashes(project.root) == before


def file_hashes(root: Path) -> dict[str, tuple[str, int]]:
    # SQLite's -shm file holds who reads at this moment, nothing that is remembered.
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def test_a_plan_opens_no_socket_and_needs_no_key(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.targets["real"] = {"type": "claude"}
    project.write_project()
    command = [sys.executable, "-c", BLOCKED, "plan", "--target", "real", "--output", "json"]
    finished = subprocess.run(command, cwd=project.root, env=child_environment(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["jobs"]["about"]["rows"]["new"] == 3
    assert not (project.root / ".batchforge").exists()


def test_a_plan_reads_a_state_that_may_not_be_written(project: ProjectFiles) -> None:
    project.run()
    for path in (project.root / ".batchforge").iterdir():
        path.chmod(0o400)
    assert plan_json(project)["jobs"]["about"]["rows"]["reuse"] == 3


# ---- rows and reasons


def test_it_names_new_changed_reused_and_gone_rows(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A red bicycle.", "A blue whale."])
    project.write("data/more.jsonl", "")
    rows = plan_json(project)["jobs"]["about"]
    assert {name: count for name, count in rows["rows"].items() if count} == {
        "total": 2,
        "rerun": 1,
        "reuse": 1,
        "gone": 1,
    }
    assert rows["rerun_because"] == {"row changed": 1}


_PLACE = st.integers(0, 1 << 30)
_EDITS = st.lists(st.tuples(st.sampled_from(["move", "change", "remove", "add", "turn"]), _PLACE, _PLACE), max_size=6)


@pytest.mark.parametrize(("count", "examples"), [(7, 20), (2_300, 5)])
def test_rows_are_counted_as_sets_of_keys_are_however_the_input_was_edited(
    project: ProjectFiles, count: int, examples: int
) -> None:
    base = [(f"k{number}", f"Text {number}.") for number in range(count)]
    project.write_rows({"id": key, "text": text} for key, text in base)
    project.run()

    @settings(max_examples=examples)
    @given(_EDITS)
    def check(edits: list[tuple[str, int, int]]) -> None:
        rows = edited(base, edits)
        project.write_rows({"id": key, "text": text} for key, text in rows)
        with planned(project) as (plan,):
            counted = (plan.reasons.get("new", 0), plan.reasons.get("row changed", 0), plan.gone_rows)
            reused = plan.counts.get(Action.REUSE, 0)
        old, now = dict(base), dict(rows)
        changed = sum(old[key] != now[key] for key in old.keys() & now.keys())
        assert counted == (len(now.keys() - old.keys()), changed, len(old.keys() - now.keys()))
        assert reused == len(old.keys() & now.keys()) - changed

    check()


def edited(rows: list[tuple[str, str]], edits: list[tuple[str, int, int]]) -> list[tuple[str, str]]:
    rows = list(rows)
    for number, (kind, first, second) in enumerate(edits):
        place, other = first % len(rows), second % len(rows)
        match kind:
            case "move":
                rows.insert(other, rows.pop(place))
            case "change":
                rows[place] = (rows[place][0], f"Edit {number}.")
            case "remove" if len(rows) > 1:
                del rows[place]
            case "add":
                rows.insert(other, (f"new {number}", f"Addition {number}."))
            case "turn":
                rows = rows[place:] + rows[:place]
    return rows


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"model": "claude-haiku-4-5"}, "model changed"),
        ({"system": "Answer in one word."}, "system changed"),
        ({"user": "The text: {{ row.text }}"}, "messages changed"),
        ({"stop_sequences": ["END"]}, "params changed"),
        ({"output": {"file": "outputs/a.jsonl", "fields": {"topic": "text"}}}, "schema changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_says_which_part_of_a_request_changed(project: ProjectFiles, change: dict[str, Any], because: str) -> None:
    project.run()
    project.write_job(**change)
    with planned(project) as (plan,):
        assert dict(plan.reasons) == {because: 3}


def test_equal_rows_are_one_request(project: ProjectFiles) -> None:
    project.write_rows(["The same."] * 50)
    value = plan_json(project)["jobs"]["about"]
    assert (value["rows"]["total"], value["distinct_requests"], value["requests_to_send"]) == (50, 1, 1)


def test_why_names_the_change_of_one_row_with_a_diff(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A red bicycle.", "A blue whale.", "A green train."])
    finished = project.cli("plan", "--why", "1")
    assert "submit, row changed" in finished.stdout
    assert "-A blue boat." in finished.stdout
    assert "+A blue whale." in finished.stdout
    assert "reuse, answered before" in project.cli("plan", "--why", "0").stdout
    assert project.cli("plan", "--why", "1", "--output", "json").json()[0]["reason"] == "row changed"
    unknown = project.cli("plan", "--why", "nobody")
    assert (unknown.exit_code, "BF907" in unknown.stderr) == (2, True)


def test_the_detailed_exit_code_tells_whether_there_are_changes(project: ProjectFiles) -> None:
    assert project.cli("plan", "--detailed-exitcode").exit_code == 10
    project.run()
    assert project.cli("plan", "--detailed-exitcode").exit_code == 0
    assert "No changes" in project.cli("plan").stdout


def test_a_plan_can_do_without_a_state_that_is_not_reached(project: ProjectFiles) -> None:
    project.run()
    project.targets["api"]["state"] = "postgresql://user@127.0.0.1:1/db"
    project.write_project()
    assert project.cli("plan").exit_code == 2
    value = project.cli("plan", "--no-state", "--output", "json").json()
    assert (value["jobs"]["about"]["rows"]["new"], value["state_serial"]) == (3, None)
    for form in ("text", "markdown"):
        assert "no state was read, so every row is new" in project.cli("plan", "--no-state", "--output", form).stdout


def test_a_missing_input_file_is_named(project: ProjectFiles) -> None:
    project.path("data/rows.jsonl").unlink()
    finished = project.cli("plan")
    assert finished.exit_code == 2
    assert "data/rows.jsonl" in finished.stderr
    assert "Traceback" not in finished.stderr


# ---- text, Markdown


def test_text_tells_rows_phases_costs_and_the_four_ways(project: ProjectFiles) -> None:
    project.write_prompt(LONG)
    project.write_job(cache={"prime": "batch"})
    with project_plan(project) as plan:
        text = "\n".join(render_plan(plan.plans, plan.notes, target="api", has_state=False))
    for words in ("+ 3 new", "1 (prime), then 2 (rest)", "expected", "at most", "standard $", "batch $", "53% hits"):
        assert words in text


def test_markdown_has_a_line_for_each_job(project: ProjectFiles) -> None:
    with project_plan(project) as plan:
        lines = render_markdown(plan.plans, plan.notes, target="api", has_state=True).splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| `")] == ["`about`"]


def test_without_waiting_nothing_is_primed_and_that_is_said(project: ProjectFiles) -> None:
    project.write_prompt(LONG)
    project.write_rows([f"Text number {n}." for n in range(50)])
    value = plan_json(project, "--no-wait")["jobs"]["about"]
    assert [phase["name"] for phase in value["phases"]] == ["rest"]
    assert "--no-wait" in value["caching"]["note"]


# ---- caching


def test_cache_off_marks_nothing_and_auto_primes(project: ProjectFiles) -> None:
    project.write_prompt(LONG)
    project.write_rows([f"Text number {n}." for n in range(50)])
    marks = {}
    for cache in ("off", "auto"):
        project.write_job(cache=cache)
        with planned(project) as (plan,):
            body = next(body for _, body in plan.bodies("rest"))
            marks[cache] = (b"cache_control" in body, len(plan.phases))
    assert marks == {"off": (False, 1), "auto": (True, 2)}


def test_nobody_waits_for_a_row_that_goes_first_where_it_saves_less_than_a_twentieth_of_a_cent(
    project: ProjectFiles,
) -> None:
    project.write_prompt(LONG)
    few = plan_json(project)["jobs"]["about"]
    assert [phase["name"] for phase in few["phases"]] == ["rest"]
    assert "to wait for a row that goes first would save less than $0.0005" in few["caching"]["note"]
    project.write_job(cache={"prime": "batch"})
    assert [phase["name"] for phase in plan_json(project)["jobs"]["about"]["phases"]] == ["prime", "rest"]


def test_nobody_waits_for_groups_that_save_next_to_nothing(project: ProjectFiles) -> None:
    write_questions(project, {"a": 3, "b": 3}, prime="auto")
    with planned(project) as (plan,):
        assert [phase.name for phase in plan.phases] == ["rest"]


def test_a_short_prompt_is_not_marked_and_what_is_missing_is_said(project: ProjectFiles) -> None:
    assert "too few for this model to cache" in plan_json(project)["jobs"]["about"]["caching"]["note"]


def test_rows_that_share_a_document_are_primed_group_by_group(project: ProjectFiles) -> None:
    write_questions(project, {"a": 5, "b": 4, "c": 1})
    with planned(project) as (plan,):
        assert [(phase.name, phase.requests) for phase in plan.phases] == [("prime groups", 2), ("rest", 8)]
        keys = [planned_row.row.key for planned_row, _ in plan.bodies("rest")]
        bodies = {row.row.key: body.count(b"cache_control") for p in plan.phases for row, body in plan.bodies(p.name)}
    groups = [key[0] for key in keys]
    assert groups == sorted(groups), "rows of a group go together"
    assert [bodies[key] for key in ("a0", "a4", "b3", "c0")] == [1, 1, 1, 0]


def test_what_all_rows_share_and_what_a_group_shares_are_both_cached(project: ProjectFiles) -> None:
    project.write_prompt(LONG)
    write_questions(project, {"a": 5, "b": 4})
    with planned(project) as (plan,):
        assert [(phase.name, phase.requests) for phase in plan.phases] == [
            ("prime", 1),
            ("prime groups", 1),
            ("rest", 7),
        ]
        assert all(body.count(b"cache_control") == 2 for phase in plan.phases for _, body in plan.bodies(phase.name))


def test_a_group_whose_rows_do_not_share_the_block_is_an_error_that_names_the_place(project: ProjectFiles) -> None:
    write_questions(project, {"a": 3}, user="{{ row.question }} {{ row.document }}")
    with pytest.raises(ProjectError) as caught, planned(project):
        pass
    (problem,) = caught.value.problems
    assert problem.code == "BF801"
    assert "{{ row.question }} {{ row.document }}" in problem.message
    assert "differs from byte 9 on" in problem.message
    assert "data/rows.jsonl:1" in problem.message


def write_questions(project: ProjectFiles, counts: dict[str, int], user: Any = None, prime: str = "batch") -> None:
    """Some questions about each of some documents."""
    document = "The parties agree on what is written here about {}. " * 150
    rows = [
        {"id": f"{name}{n}", "name": name, "document": document.replace("{}", name), "question": f"Question {n}?"}
        for name, count in counts.items()
        for n in range(count)
    ]
    project.write_rows(rows[::2] + rows[1::2])
    blocks = [{"type": "text", "text": "{{ row.document }}"}, {"type": "text", "text": "{{ row.question }}"}]
    project.write_job(user=user or blocks, cache={"per": "name", "prime": prime})


# ---- notes


@pytest.mark.parametrize(
    ("before", "after"),
    [("2026-11-23", "2026-11-24"), ("14:05", "14:06"), ("0b5e7c9a-1f0d-4d5e-9a53-6a9c3f0b1d2e",) * 2],
    ids=["date", "time", "unchanged"],
)
def test_a_shared_prompt_that_changes_with_the_date_is_noted(project: ProjectFiles, before: str, after: str) -> None:
    project.write_prompt(f"It is {before}. Say what the text is about.")
    project.run()
    project.write_prompt(f"It is {after}. Say what the text is about.")
    found = [note for note in notes(project) if "differs from the last run's only in" in note]
    assert bool(found) == (before != after)
    assert all(before in note and after in note for note in found)


def test_another_prompt_is_no_change_of_date(project: ProjectFiles) -> None:
    project.write_prompt("It is 2026-11-23. Say what the text is about.")
    project.run()
    project.write_prompt("It is 2026-11-24. Say in short what the text is about.")
    assert not notes(project)


def test_jobs_that_begin_alike_and_then_differ_are_told_where(project: ProjectFiles) -> None:
    project.write_job("one", system=LONG + "Answer in French.", output={"file": "outputs/one.jsonl"})
    project.write_job("two", system=LONG + "Answer in Dutch.", output={"file": "outputs/two.jsonl"})
    (note,) = [note for note in notes(project, "two") if "begins like one" in note]
    assert "Dutch" in note
    assert "French" in note


def test_jobs_that_share_a_prompt_but_not_the_effort_are_told_so(project: ProjectFiles) -> None:
    settings = {"model": "claude-opus-4-8", "system": LONG, "thinking": None}
    project.write_job("one", **settings, effort="low", output={"file": "outputs/one.jsonl"})
    project.write_job("two", **settings, effort="high", output={"file": "outputs/two.jsonl"})
    assert any("not effort" in note for note in notes(project, "two"))


def test_a_shared_block_behind_the_row_is_proposed_to_stand_before_it(project: ProjectFiles) -> None:
    project.write_rows([f"Text {n}." for n in range(400)])
    blocks = [{"type": "text", "text": "{{ row.text }}"}, {"type": "text", "text": LONG}]
    project.write_job(user=blocks, model="claude-sonnet-5-5", thinking=None)
    (note,) = [note for note in notes(project) if "stands behind what differs by row" in note]
    assert "block 2 of message 1" in note
    project.write_job(user=blocks[::-1], model="claude-sonnet-5-5", thinking=None)
    assert not notes(project)


def test_the_end_of_a_template_behind_the_row_is_proposed_too(project: ProjectFiles) -> None:
    project.write_rows([f"Text {n}." for n in range(400)])
    project.write_job(user="{{ row.text }}\n\n" + LONG, model="claude-sonnet-5-5", thinking=None)
    assert any("the end of jobs/about.yml" in note for note in notes(project))


def test_a_prompt_near_the_end_of_the_context_window_is_noted(project: ProjectFiles) -> None:
    project.write_job(model="claude-haiku-4-5", thinking=None)
    project.write_rows(["word " * 185_000, "short"])
    assert any("context window holds 200,000" in note for note in notes(project))


def test_a_row_that_surely_exceeds_the_context_window_is_named(project: ProjectFiles) -> None:
    project.write_job(model="claude-haiku-4-5", thinking=None)
    project.write_rows(["short", "word " * 600_000])
    (note,) = notes(project)
    assert "the row `1` (data/rows.jsonl:2)" in note


def test_nothing_is_noted_of_an_ordinary_job(project: ProjectFiles) -> None:
    assert not notes(project)


def test_a_column_to_group_by_that_is_not_there_is_named(project: ProjectFiles) -> None:
    project.write_job(cache={"per": "nam"})
    with pytest.raises(ProjectError) as caught, planned(project):
        pass
    assert caught.value.problems[0].code == "BF809"
