"""pytest fixture `claude_emulator`: a fresh emulator for each test.

Opt in with `-p batchforge.emulator.pytest_plugin`, or with `pytest_plugins` in the root conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchforge.emulator.scenario import Scenario, load_scenario, scenario_from
from batchforge.emulator.server import EmulatorServer

API_KEY = "sk-emulated"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "claude_scenario(path, **settings): the scenario of `claude_emulator`, from a YAML file or from settings",
    )


@pytest.fixture
def claude_scenario(request: pytest.FixtureRequest) -> Scenario:
    """Override this fixture, or mark a test, to choose another scenario."""
    marker = request.node.get_closest_marker("claude_scenario")
    if marker is None:
        return Scenario()
    return load_scenario(Path(marker.args[0])) if marker.args else scenario_from(marker.kwargs)


@pytest.fixture
def claude_emulator(
    claude_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorServer]:
    """A running emulator; ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY point every client in this process to it."""
    with EmulatorServer(tmp_path / "claude-emulator.sqlite", scenario=claude_scenario) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
        yield server
