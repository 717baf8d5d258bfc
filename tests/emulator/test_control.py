"""What surrounds the API: clock, counters, log, reset; scenarios from files; the pytest fixture; the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer, Fault, RowRule, Scenario, ScenarioError, load_scenario
from batchforge.emulator.scenario import fault_from, scenario_from
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.processes import ROOT, process
from tests.emulator.wire import BATCHES, Wire, params, row, rows

pytest_plugins = ["pytester"]


def test_the_clock_is_set_moved_and_sped_up_over_http(start: StartEmulator, connect: Connect) -> None:
    server = start()
    wire = connect(server)
    shown = wire.post("/emulator/clock", {"now": "2030-01-01T00:00:00+00:00", "advance_s": 3600, "speed": 0}).json()
    assert shown == {"now": "2030-01-01T01:00:00+00:00", "speed": 0.0}
    assert wire.get("/emulator/clock").json() == shown
    assert server.clock.now() == datetime(2030, 1, 1, 1, tzinfo=UTC)
    assert wire.create(rows(1))["created_at"] == "2030-01-01T01:00:00.000000+00:00"


@pytest.mark.parametrize("body", [{"now": "tomorrow"}, {"advance_s": "long"}, {"hours": 1}, [], {"now": 7}])
def test_a_clock_that_makes_no_sense_is_refused(wire: Wire, body: object) -> None:
    assert wire.post("/emulator/clock", body).status_code == 400


def test_a_batch_begun_before_the_clock_moves_back_still_ends(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=60))
    wire = connect(server)
    batch_id = wire.create(rows(5))["id"]
    server.clock.advance(-3600)
    assert wire.batch(batch_id)["processing_status"] == "in_progress"
    server.clock.advance(3660)
    assert wire.ended(batch_id)["request_counts"]["succeeded"] == 5


def test_the_log_holds_what_was_received_and_no_credentials(emulator: EmulatorServer, connect: Connect) -> None:
    version = {"anthropic-version": "2026-10-21", "anthropic-beta": "some-beta"}
    for credentials in ({"x-api-key": "sk-secret"}, {"authorization": "Bearer sk-secret"}):
        connect(emulator, {**version, **credentials}).post("/v1/messages", params("hello there"))
    wire = connect(emulator)
    wire.get(BATCHES, params={"limit": 3})
    log = wire.get("/emulator/log").json()["data"]
    assert [(entry["endpoint"], entry["status"]) for entry in log] == [
        ("messages", 200),
        ("messages", 200),
        ("batches.list", 200),
    ]
    assert "sk-secret" not in json.dumps(log)
    assert b"sk-secret" not in emulator.database.read_bytes()
    assert log[0]["headers"]["anthropic-beta"] == "some-beta"
    assert json.loads(log[0]["body"]) == params("hello there")
    assert log[2]["path"] == f"{BATCHES}?limit=3"
    assert [entry["no"] for entry in wire.get("/emulator/log", params={"after": log[1]["no"]}).json()["data"]] == [3]
    assert len(wire.get("/emulator/log", params={"endpoint": "messages"}).json()["data"]) == 2
    assert emulator.received("messages")[0].json() == params("hello there")


def test_reset_forgets_everything_but_the_clock(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=0, faults=(Fault(kind="status", status=503),)))
    wire = connect(server)
    server.clock.advance(3600)
    assert wire.get(BATCHES).status_code == 503
    wire.run(rows(2))
    wire.post("/emulator/reset")
    assert server.counters().batches_created == 0
    assert server.received() == []
    assert server.clock.now().timestamp() > time.time() + 3000
    assert wire.get(BATCHES).status_code == 503
    assert wire.get(BATCHES).json()["data"] == []


def test_counters_over_http_are_the_servers(wire: Wire, emulator: EmulatorServer) -> None:
    wire.run([*rows(3), row("bad", max_tokens=0)])
    wire.post("/v1/messages", params())
    counters = wire.get("/emulator/counters").json()
    assert counters["batches_created"] == emulator.counters().batches_created == 1
    assert counters["requests_accepted"] == 4
    assert counters["requests_succeeded"] == 3
    assert counters["requests_errored"] == 1
    assert counters["messages_answered"] == 1
    assert counters["requests_billed"] == 4


def test_a_scenario_comes_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yml"
    path.write_text(
        """
seed: 7
processing_time_s: 1800
counts: move
tier: start
rows:
  - {outcome: errored, error_type: overloaded_error, share: 0.05, submissions: 1}
  - {outcome: refused, custom_id: "^bad-"}
faults:
  - {kind: status, on: batches.create, status: 529, times: 3}
  - {kind: lose_answer, on: batches.create, share: 0.1, times: null}
"""
    )
    assert load_scenario(path) == Scenario(
        seed=7,
        processing_time_s=1800,
        counts="move",
        tier="start",
        rows=(
            RowRule(outcome="errored", error_type="overloaded_error", share=0.05, submissions=1),
            RowRule(outcome="refused", custom_id="^bad-"),
        ),
        faults=(
            Fault(kind="status", on="batches.create", status=529, times=3),
            Fault(kind="lose_answer", on="batches.create", share=0.1, times=None),
        ),
    )
    path.write_text("")
    assert load_scenario(path) == Scenario()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"sed": 1}, "unknown sed"),
        ([], "a mapping is expected"),
        ({"rows": [{"outcome": "lost"}]}, "lost"),
        ({"rows": [{"outcome": "errored", "error_type": "odd"}]}, "no error type is called 'odd'"),
        ({"rows": [{"outcome": "cut", "custom_id": "("}]}, "not a regular expression"),
        ({"rows": [{"outcome": "cut", "share": 2}]}, "a share lies between 0 and 1"),
        ({"faults": [{"kind": "status", "on": "batch.create"}]}, "no endpoint is called 'batch.create'"),
        ({"faults": [{"kind": "status", "statuss": 3}]}, "faults[0]: unknown statuss"),
        ({"faults": 3}, "faults"),
        ({"processing_time_s": "long"}, "processing_time_s"),
    ],
)
def test_a_scenario_that_says_something_unknown_is_refused(data: object, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_from(data)
    assert words in str(caught.value)


def test_a_fault_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ScenarioError):
        fault_from(["status"])


def test_an_emulator_starts_quickly() -> None:
    code = """
from batchforge.emulator import EmulatorServer
import time
started = time.process_time()
with EmulatorServer() as server:
    print(time.process_time() - started)
"""
    command = [sys.executable, "-c", code]
    # Processor time: the machine may be busy with other things.
    started_s = float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout)
    assert started_s < 0.3


def test_the_fixture_points_clients_to_a_fresh_emulator(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert(ROOT)
    pytester.makepyfile(
        """
        import os, urllib.request
        import pytest

        def test_one(claude_emulator):
            assert os.environ["ANTHROPIC_BASE_URL"] == claude_emulator.base_url
            request = urllib.request.Request(
                claude_emulator.base_url + "/v1/models",
                headers={"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01"},
            )
            with urllib.request.urlopen(request) as answer:
                assert answer.status == 200
            assert len(claude_emulator.received()) == 1

        @pytest.mark.claude_scenario(processing_time_s=7, retry_after_s=1)
        def test_two(claude_emulator):
            assert claude_emulator.received() == []
            assert claude_emulator.scenario.processing_time_s == 7
        """
    )
    result = pytester.runpytest_subprocess("-p", "batchforge.emulator.pytest_plugin", "--strict-markers")
    result.assert_outcomes(passed=2)


def run_command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from batchforge.cli import main; main()", "emulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_says_where_it_listens_and_stops_when_told() -> None:
    with process() as (wire, running):
        assert wire.get("/v1/models").status_code == 200
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


def test_the_command_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yml"
    scenario.write_text("sed: 1")
    failed = run_command("--scenario", str(scenario))
    assert (failed.returncode, "BF972" in failed.stderr, "unknown sed" in failed.stderr) == (2, True, True)
    answers = tmp_path / "answers.jsonl"
    answers.write_text("{")
    assert "BF973" in run_command("--answers", str(answers)).stderr
    assert "BF974" in run_command("--upstream", "localhost").stderr
    notes = tmp_path / "notes.txt"
    notes.write_text("This is no database. " * 200)
    assert "BF975" in run_command("--database", str(notes)).stderr
    with EmulatorServer() as server:
        assert "BF971" in run_command("--port", server.base_url.rsplit(":", 1)[1]).stderr


def test_answers_of_a_file_reach_batches(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    lines = [{"custom_id": "row-1", "answer": "told by its id"}, {"regex": "Question 2", "answer": "told by its text"}]
    answers.write_text("\n".join(map(json.dumps, lines)))
    with process("--answers", str(answers), "--processing-time", "0") as (wire, _):
        texts = {key: result["message"]["content"][0]["text"] for key, result in wire.run(rows(3)).items()}
    assert (texts["row-1"], texts["row-2"]) == ("told by its id", "told by its text")
    assert "emulated" in texts["row-0"]


def test_an_emulator_can_be_the_upstream_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "the-key")
    with EmulatorServer(api_keys=frozenset({"the-key"})) as upstream:
        options = ("--upstream", upstream.base_url, "--upstream-key-env", "UPSTREAM_KEY")
        with process(*options, "--processing-time", "0") as (wire, _):
            results = wire.run(rows(3))
        assert {result["type"] for result in results.values()} == {"succeeded"}, results
        assert upstream.counters().messages_answered == 3
