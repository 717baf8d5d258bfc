"""The commands of docs/costs-and-caching.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.builders import TREE, ProjectFiles, copy_example, run_cli
from tests.planning import planned

PAGE = (TREE / "docs" / "costs-and-caching.md").read_text()
ENDS = {"plan --detailed-exitcode --limit 3": 10}


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == kind]


def test_every_command_of_the_page_runs_in_an_example(tmp_path: Path) -> None:
    root = copy_example("tickets", tmp_path)
    commands = [line[len("$ batchforge ") :] for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        finished = run_cli(root, *command.split())
        assert finished.exit_code == ENDS.get(command, 0), (command, finished.stderr)


def test_the_plan_on_the_page_is_what_the_example_says(tmp_path: Path) -> None:
    (shown,) = blocks("")
    assert shown.strip() in run_cli(copy_example("tickets", tmp_path), "plan").stdout


def test_every_cache_setting_of_the_page_is_taken(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    policies, grouped = blocks("yaml")
    for line in policies.splitlines():
        cache = settings(line)["cache"]
        project.write_job(cache={"per": "id"} if "per" in cache else cache)
        with planned(project) as (plan,):
            assert plan.requests_to_send == 3
    project.write_rows([{"id": "1", "contract_id": "c", "contract": "A contract.", "question": "Which?"}])
    project.write_job(**settings(grouped))
    with planned(project) as (plan,):
        assert plan.requests_to_send == 1


def settings(text: str) -> dict[str, Any]:
    # Plain words stay words: `off` is no boolean in a job file.
    value: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return value
