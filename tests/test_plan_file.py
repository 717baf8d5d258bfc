"""A saved plan: what it holds, and that a run never goes beyond it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchforge.emulator import EmulatorServer
from batchforge.errors import BudgetExceeded, UsageError
from batchforge.planning.plan_file import SavedPlan, read_plan
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator

TEXTS = [f"Text number {n}." for n in range(6)]
PRICES = {"claude-haiku-5-5": {"input": 1, "output": 5, "cache_write_5m": 1.25, "cache_write_1h": 2, "cache_read": 0.1}}


def save(project: ProjectFiles, *words: str) -> SavedPlan:
    finished = project.cli("plan", "--out", "plan.json", *words)
    assert finished.exit_code == 0, finished.stderr
    return read_plan(project.path("plan.json"))


def set_project(project: ProjectFiles, **changes: Any) -> None:
    value = json.loads(project.path("batchforge.yml").read_text())
    project.write("batchforge.yml", json.dumps({**value, **changes}))


def test_it_holds_hashes_and_counts_and_no_words_of_prompts_or_rows(project: ProjectFiles) -> None:
    project.write_rows(["A very secret bicycle."])
    save(project)
    text = project.path("plan.json").read_text()
    assert "bicycle" not in text
    assert "one sentence" not in text
    assert "any-key" not in text


def test_bodies_are_in_it_where_they_are_asked_for(project: ProjectFiles) -> None:
    saved = save(project, "--include-bodies")
    (first, *_) = saved.jobs["about"]["bodies"]
    assert first["messages"][0]["content"][0]["text"] == "A red bicycle."


def test_a_run_of_it_sends_what_it_approved(project: ProjectFiles, emulator: EmulatorServer) -> None:
    save(project)
    assert project.cli("run", "--plan", "plan.json").exit_code == 0
    assert emulator.counters().requests_accepted == 3


def test_a_run_of_it_asks_for_the_rows_that_it_was_made_for(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    save(project, "--limit", "2", "--full-refresh")
    assert project.cli("run", "--plan", "plan.json").exit_code == 0
    assert emulator.counters().requests_accepted == 5


def test_it_may_be_run_where_some_of_it_was_answered_meanwhile(project: ProjectFiles, emulator: EmulatorServer) -> None:
    saved = save(project)
    project.run(limit=2)
    assert project.run(saved_plan=saved).jobs[0].requests_sent == 1
    assert any("other requests have been sent" in event.message for event in project.events)


def test_a_full_refresh_that_was_approved_once_is_not_run_twice(project: ProjectFiles) -> None:
    project.run()
    save(project, "--full-refresh")
    assert project.cli("run", "--plan", "plan.json").exit_code == 0
    again = project.cli("run", "--plan", "plan.json")
    assert again.exit_code == 5
    assert "BF807" in again.stderr


def test_another_target_or_other_prices_refuse(project: ProjectFiles, start_emulator: StartEmulator) -> None:
    saved = save(project)
    with pytest.raises(BudgetExceeded, match="the target is local"):
        project.run(saved_plan=saved, target="local")
    set_project(project, prices=PRICES)
    with pytest.raises(BudgetExceeded, match="prices have changed"):
        project.run(saved_plan=saved)


def test_one_job_of_a_plan_may_be_run_though_another_has_another_model(project: ProjectFiles) -> None:
    project.write_job("other", model="claude-sonnet-5-5", output={"file": "outputs/other.jsonl"}, thinking=None)
    saved = save(project)
    assert project.run("about", saved_plan=saved).status == "ok"


def test_a_higher_max_tokens_refuses_since_it_may_cost_more(project: ProjectFiles) -> None:
    saved = save(project)
    project.write_job(max_tokens=4_000)
    with pytest.raises(BudgetExceeded, match="in the plan"):
        project.run(saved_plan=saved)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"plan_version": 99}', b"\xff\xfe"])
def test_what_is_no_plan_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert caught.value.problems[0].code == "BF808"


EDITS: dict[str, Callable[[ProjectFiles], object]] = {
    "another row": lambda p: p.write_rows([*TEXTS, "One more."]),
    "an edited row": lambda p: p.write_rows([*TEXTS[:-1], "Something else."]),
    "fewer rows": lambda p: p.write_rows(TEXTS[:3]),
    "another order": lambda p: p.write_rows(TEXTS[::-1]),
    "another prompt": lambda p: p.write_prompt("Say it in two sentences.\n"),
    "another model": lambda p: p.write_job(model="claude-haiku-4-5"),
    "more tokens": lambda p: p.write_job(max_tokens=900),
    "other marks": lambda p: p.write_job(cache="off"),
    "other prices": lambda p: set_project(p, prices=PRICES),
    "answered before": lambda p: p.run(limit=2),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(sorted(EDITS)), max_size=3, unique=True))
def test_whatever_is_edited_a_saved_plan_sends_nothing_that_it_did_not_approve(
    tmp_path_factory: pytest.TempPathFactory, emulator: EmulatorServer, names: list[str]
) -> None:
    project = ProjectFiles(tmp_path_factory.mktemp("edited"), emulator)
    project.write_rows(TEXTS)
    saved = saved_in_process(project)
    approved = base64.b64decode(saved.jobs["about"]["requests"])
    for name in names:
        EDITS[name](project)
    before = sent_ids(emulator)
    try:
        project.run(saved_plan=saved)
    except BudgetExceeded:
        assert sent_ids(emulator) == before
        return
    assert all(hash_of(custom_id) in approved for custom_id in sent_ids(emulator)[len(before) :])


def saved_in_process(project: ProjectFiles) -> SavedPlan:
    from click.testing import CliRunner

    from batchforge.commands.plan import command

    path = project.path("plan.json")
    result = CliRunner().invoke(command, ["--project-dir", str(project.root), "--out", str(path)])
    assert result.exit_code == 0, result.output
    return read_plan(path)


def sent_ids(emulator: EmulatorServer) -> list[str]:
    bodies = [json.loads(received.body or "") for received in emulator.received("batches.create")]
    return [request["custom_id"] for body in bodies for request in body["requests"]]


def hash_of(custom_id: str) -> bytes:
    import hashlib

    from batchforge.requests.fingerprint import parse_custom_id

    named = parse_custom_id(custom_id)
    assert named is not None
    request_id, ordinal = named
    return hashlib.sha256(request_id + ordinal.to_bytes(4, "big")).digest()[:12]
