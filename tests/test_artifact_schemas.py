"""What plan, compile and run write is what the schemas say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.builders import TREE, ProjectFiles
from tests.conftest import StartEmulator

NAMES = ("plan", "run_results", "manifest", "diff")


def schema(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((TREE / "schemas" / f"{name}.schema.json").read_text())
    return value


def problems(name: str, value: Any) -> list[str]:
    validator = Draft202012Validator(schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def properties(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.get("properties", {}).items():
            yield f"{place}/{name}", item
        for name, item in value.items():
            yield from properties(item, f"{place}/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_property_is_described(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert not [place for place, item in properties(schema(name)) if not item.get("description")]


@pytest.mark.parametrize("words", [(), ("--no-wait",), ("--limit", "2", "--include-bodies"), ("--full-refresh",)])
def test_plans_are_as_described(project: ProjectFiles, words: tuple[str, ...]) -> None:
    project.run(limit=1)
    project.write_rows(["A red bicycle.", {"id": "x", "text": ""}, "A green train.", "A blue whale."])
    finished = project.cli("plan", "--out", "plan.json", "--output", "json", *words)
    assert finished.exit_code == 0, finished.stderr
    assert not problems("plan", json.loads(project.path("plan.json").read_text()))
    assert not problems("plan", finished.json())


def test_plans_with_groups_without_prices_and_without_state_are_as_described(project: ProjectFiles) -> None:
    rows = [{"id": str(n), "text": "A long document. " * 3000, "question": f"Question {n}?"} for n in range(6)]
    project.write_rows(rows)
    user = [{"type": "text", "text": "{{ row.text }}"}, {"type": "text", "text": "{{ row.question }}"}]
    project.write_job(user=user, cache={"per": "text"})
    project.write_job("unpriced", model="claude-next", thinking=None, output={"file": "outputs/next.jsonl"})
    finished = project.cli("plan", "--output", "json", "--allow-unknown-model")
    value = finished.json()
    assert value["jobs"]["about"]["caching"]["groups"]["marked_rows"] == 6
    assert value["jobs"]["unpriced"]["expected_usd"] is None
    assert not problems("plan", value)


def test_run_results_are_as_described_while_batches_are_in_flight_and_after(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    project = ProjectFiles(tmp_path / "p", start_emulator(processing_time_s=0.5))
    for summary in (project.run(wait=False), project.collect(), project.run(), project.run(mode="sync", limit=1)):
        assert not problems("run_results", json.loads(json.dumps(summary.to_json())))
        assert not problems("run_results", json.loads(project.path("target/run_results.json").read_text()))


def test_manifests_are_as_described(project: ProjectFiles) -> None:
    project.write_rows(["A red bicycle.", {"id": "x", "text": ""}])
    assert project.cli("compile").exit_code == 0
    assert not problems("manifest", json.loads(project.path("target/manifest.json").read_text()))
