"""Several commands on one project at the same moment: each ends well, all is paid once, the outputs are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import ProjectFiles, end_of
from tests.conftest import StartEmulator

COMMANDS = (("run", "--output", "json"), ("build", "--output", "json"), ("collect", "--wait"))


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_commands_at_once_end_well_and_pay_once(kind: str, tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(processing_time_s=0.1)
    settings = {"state": f"file://{tmp_path}/state"} if kind == "file" else {}
    project = ProjectFiles(tmp_path / "p", emulator, **settings)
    project.write_job(tests=[{"row_count": {"min": 3}}], output={"file": "outputs/answers.csv"})
    project.write_job(
        "second", input={"ref": "about"}, system=None, output={"file": "outputs/second.jsonl", "text_column": "said"}
    )
    ends = [end_of(process) for process in [project.start(*words) for words in COMMANDS]]
    assert [(end.exit_code, "Traceback" in end.stderr) for end in ends] == [(0, False)] * len(COMMANDS)
    assert [end.json()["status"] for end in ends[:2]] == ["ok", "ok"]
    assert [row["_status"] for row in project.rows_of("outputs/second.jsonl")] == ["answered"] * 3
    counted = emulator.counters()
    assert (counted.requests_billed, counted.custom_ids_billed_twice) == (6, 0)
    assert sorted(path.name for path in project.path("outputs").iterdir()) == ["answers.csv", "second.jsonl"]
