"""docs/looking-and-erasing.md: its commands run, and its settings are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from batchforge.cli import batchforge
from tests.builders import ProjectFiles

PAGE = (Path(__file__).parents[1] / "docs" / "looking-and-erasing.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_runs(project: ProjectFiles, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    project.write_rows([{"id": str(n), "customer_id": n, "text": f"Text {n}."} for n in range(9)])
    project.run()
    monkeypatch.chdir(project.root)
    some_id = re.compile(r"bf1_A+")
    words = shlex.split(some_id.sub(project.rows_of()[0]["_request_id"], line))[1:]
    result = CliRunner().invoke(batchforge, words)
    assert result.exit_code == 0, result.exception
    assert result.stdout


def test_the_settings_of_the_page_are_read(project: ProjectFiles) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    settings = yaml.safe_load(text)["targets"]["prod"]
    project.targets["api"] |= settings
    project.write_project()
    assert project.load()[2].deletes_remote
