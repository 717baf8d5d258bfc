"""One database outlives its processes: killed in the middle, or used by several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from batchforge.emulator import EmulatorServer, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.processes import process
from tests.emulator.wire import BATCHES, HEADERS, rows


def kill(running: subprocess.Popen[str]) -> None:
    os.kill(running.pid, signal.SIGKILL)
    running.wait()


def test_a_batch_survives_a_kill(tmp_path: Path) -> None:
    with process("--database", str(tmp_path / "e.sqlite"), "--processing-time", "3600") as (wire, running):
        batch = wire.create(rows(50))
        kill(running)
    with process("--database", str(tmp_path / "e.sqlite")) as (wire, _):
        assert wire.batch(batch["id"]) == batch
        wire.post("/emulator/clock", {"advance_s": 3600})
        assert wire.ended(batch["id"])["request_counts"]["succeeded"] == 50
        assert len(wire.results(batch["id"])) == 50
        counters = wire.get("/emulator/counters").json()
    assert (counters["batches_created"], counters["requests_billed"]) == (1, 50)
    assert counters["custom_ids_billed_twice"] == 0


def test_kills_while_rows_are_answered_bill_each_row_once(tmp_path: Path) -> None:
    count = 6000
    with process("--database", str(tmp_path / "e.sqlite"), "--processing-time", "0") as (wire, running):
        batch_id = wire.create(rows(count))["id"]
        kill(running)
    for pause_s in (0.05, 0.1, 0.2, 0.3):
        with process("--database", str(tmp_path / "e.sqlite")) as (_, running):
            time.sleep(pause_s)
            kill(running)
    with process("--database", str(tmp_path / "e.sqlite")) as (wire, _):
        assert wire.ended(batch_id)["request_counts"]["succeeded"] == count
        results = wire.results(batch_id)
        counters = wire.get("/emulator/counters").json()
    assert len(results) == count
    assert len({line["custom_id"] for line in results}) == count
    assert counters["requests_billed"] == count
    assert counters["custom_ids_billed_twice"] == 0
    sent = sum(line["result"]["message"]["usage"]["output_tokens"] for line in results)
    assert counters["output_tokens"] == sent


def test_everything_answered_with_a_200_is_there_after_a_kill(tmp_path: Path) -> None:
    accepted: list[str] = []
    with process("--database", str(tmp_path / "e.sqlite"), "--processing-time", "3600") as (wire, running):

        def create_until_it_dies() -> None:
            with httpx2.Client(base_url=wire.base_url, headers=HEADERS) as client:
                try:
                    while True:
                        accepted.append(client.post(BATCHES, json={"requests": rows(3)}).json()["id"])
                except httpx2.TransportError:
                    return

        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(create_until_it_dies)
            give_up = time.monotonic() + 30
            while len(accepted) < 10 and time.monotonic() < give_up:
                time.sleep(0.02)
            kill(running)
    assert len(accepted) >= 10
    with process("--database", str(tmp_path / "e.sqlite")) as (wire, _):
        listed = {batch["id"] for batch in wire.get(BATCHES, params={"limit": 1000}).json()["data"]}
        assert set(accepted) <= listed


def test_two_processes_see_one_world(tmp_path: Path, start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=3600))
    here = connect(server)
    batch_id = here.create(rows(10))["id"]
    with process("--database", str(server.database)) as (there, _):
        assert there.batch(batch_id)["processing_status"] == "in_progress"
        server.clock.advance(3600)
        assert there.ended(batch_id)["request_counts"]["succeeded"] == 10
        assert {line["custom_id"] for line in there.results(batch_id)} == {f"row-{n}" for n in range(10)}
        assert there.get("/emulator/counters").json()["requests_billed"] == server.counters().requests_billed == 10
        second = there.create(rows(2))["id"]
    assert here.batch(second)["id"] == second


def test_many_servers_on_one_database_decide_each_row_once(start: StartEmulator, connect: Connect) -> None:
    first = start(Scenario(processing_time_s=0.3, counts="move"))
    wires = [connect(first)]
    with EmulatorServer(first.database) as second, EmulatorServer(first.database) as third:
        wires += [connect(second), connect(third)]
        ids = [wire.create(rows(1500))["id"] for wire in wires]
        with ThreadPoolExecutor(9) as pool:
            list(pool.map(lambda pair: pair[0].ended(pair[1]), [(wire, id_) for wire in wires for id_ in ids]))
        texts = [{wire.get(f"{BATCHES}/{id_}/results").text for wire in wires} for id_ in ids]
        assert [len(text) for text in texts] == [1, 1, 1]
    counters = first.counters()
    assert counters.requests_billed == counters.requests_succeeded == 4500
    assert counters.custom_ids_billed_twice == 1500


def test_a_private_database_is_gone_at_the_end() -> None:
    server = EmulatorServer()
    with server:
        assert server.database.exists()
    assert not server.database.parent.exists()
