"""Each deviation differs from the API in the one thing that it names."""

from __future__ import annotations

import socket
import time

from batchforge.emulator import Scenario
from batchforge.emulator.deviations import Deviation
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import BATCHES, Wire, body_of, raw_request, row, rows


def deviating(start: StartEmulator, connect: Connect, *deviations: Deviation) -> Wire:
    return connect(start(Scenario(processing_time_s=0, deviations=deviations)))


def test_refusals_come_in_other_words(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "other_words")
    error = wire.post(BATCHES, {"requests": []}).json()["error"]
    assert error == {"type": "invalid_request_error", "message": "The batch is not valid."}


def test_duplicates_are_taken(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "duplicates_taken")
    batch_id = wire.create([row("a"), row("a")])["id"]
    wire.ended(batch_id)
    assert [line["custom_id"] for line in wire.results(batch_id)] == ["a", "a"]


def test_params_are_checked_at_once(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "params_checked_at_once")
    response = wire.post(BATCHES, {"requests": [row("a"), row("b", max_tokens=0)]})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("requests.1.params.max_tokens:")
    assert wire.run(rows(2))["row-0"]["type"] == "succeeded"


def test_row_errors_are_flat(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "flat_row_errors")
    results = wire.run([row("good"), row("bad", max_tokens=0)])
    assert results["good"]["type"] == "succeeded"
    assert results["bad"]["error"]["type"] == "invalid_request_error"


def test_null_keys_are_left_out(start: StartEmulator, connect: Connect) -> None:
    assert "ended_at" not in deviating(start, connect, "null_keys_left_out").create(rows(1))


def test_request_ids_are_missing(start: StartEmulator, connect: Connect) -> None:
    assert "request-id" not in deviating(start, connect, "no_request_ids").get(BATCHES).headers


def test_limits_of_models_are_halved(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "halved_limits")
    assert wire.get("/v1/models/claude-opus-5-5").json()["max_tokens"] == 64_000
    listed = {model["id"]: model["max_tokens"] for model in wire.get("/v1/models").json()["data"]}
    assert listed["claude-opus-5-5"] == 64_000


def test_the_list_is_oldest_first(start: StartEmulator, connect: Connect) -> None:
    wire = deviating(start, connect, "oldest_first")
    ids = [wire.create(rows(1))["id"] for _ in range(3)]
    assert [batch["id"] for batch in wire.get(BATCHES).json()["data"]] == ids


def abandoned_posts(wire: Wire) -> int:
    """Batches that are there after a client closed its connection as soon as it had sent one."""
    message = raw_request("POST", BATCHES, body_of(rows(3000)))
    with wire.socket() as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    return len(wire.get(BATCHES).json()["data"])


def test_a_post_whose_client_is_gone_leaves_a_batch(wire: Wire) -> None:
    assert abandoned_posts(wire) == 1


def test_a_post_whose_client_is_gone_can_be_forgotten(start: StartEmulator, connect: Connect) -> None:
    assert abandoned_posts(deviating(start, connect, "lost_posts_forgotten")) == 0
