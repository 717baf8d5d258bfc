"""Each fault as a client sees it: a plain socket where bytes matter, httpx2 elsewhere."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import httpx2
import pytest

from batchforge.emulator import EmulatorServer, Fault, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import BATCHES, Wire, body_of, params, raw_request, read_all, rows

CREATE = raw_request("POST", BATCHES, body_of(rows(2)))


def answered(wire: Wire, data: bytes) -> bytes:
    """What comes back for these bytes before the connection ends."""
    with wire.socket() as connection:
        connection.sendall(data)
        return read_all(connection)


STATUSES: list[tuple[dict[str, Any], str]] = [
    ({"status": 400}, "invalid_request_error"),
    ({"status": 401}, "authentication_error"),
    ({"status": 402}, "billing_error"),
    ({"status": 403}, "permission_error"),
    ({"status": 404}, "not_found_error"),
    ({"status": 409}, "conflict_error"),
    ({"status": 413}, "request_too_large"),
    ({"status": 429}, "rate_limit_error"),
    ({"status": 500}, "api_error"),
    ({"status": 503}, "api_error"),
    ({"status": 504}, "timeout_error"),
    ({"status": 529}, "overloaded_error"),
    ({"status": 500, "error_type": "timeout_error"}, "timeout_error"),
]


@pytest.mark.parametrize(("told", "error_type"), STATUSES)
def test_a_status_comes_with_its_error(
    emulator: EmulatorServer, wire: Wire, told: dict[str, Any], error_type: str
) -> None:
    emulator.faults.add(Fault(kind="status", message="as told", **told))
    response = wire.post(BATCHES, {"requests": rows(1)})
    assert response.status_code == told["status"]
    assert "retry-after" not in response.headers
    assert response.json() == {
        "type": "error",
        "error": {"type": error_type, "message": "as told"},
        "request_id": response.headers["request-id"],
    }
    assert emulator.counters().batches_created == 0
    assert wire.post(BATCHES, {"requests": rows(1)}).status_code == 200


def test_a_status_can_say_when_to_come_back(emulator: EmulatorServer, wire: Wire) -> None:
    details, headers = {"error_code": "x"}, {"x-should-retry": "false"}
    emulator.faults.add(Fault(kind="status", status=429, retry_after_s=17, headers=headers, details=details))
    response = wire.post("/v1/messages", params())
    assert response.headers["retry-after"] == "17"
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["details"] == {"error_code": "x"}


@pytest.mark.parametrize(("body", "content_type"), [("html", "text/html"), ("empty", None)])
def test_a_status_can_come_without_the_apis_body(
    emulator: EmulatorServer, wire: Wire, body: Any, content_type: str | None
) -> None:
    emulator.faults.add(Fault(kind="status", status=502, body=body))
    response = wire.get(BATCHES)
    assert response.status_code == 502
    assert response.headers.get("content-type") == content_type
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_lost_request_is_read_and_never_acted_upon(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="lose_request", on="batches.create"))
    assert answered(wire, CREATE) == b""
    assert emulator.counters().batches_created == 0
    assert emulator.received()[0].fault == "lose_request"
    assert emulator.received()[0].body is not None


def test_a_lost_answer_leaves_a_batch_that_the_client_does_not_know(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="lose_answer", on="batches.create"))
    assert answered(wire, CREATE) == b""
    assert emulator.counters().batches_created == 1
    assert len(wire.get(BATCHES).json()["data"]) == 1


def test_the_clients_library_sees_a_broken_connection(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="lose_answer", on="messages"))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        wire.post("/v1/messages", params())
    assert emulator.counters().messages_answered == 1


@pytest.mark.parametrize("at_byte", [0, 1, 100])
def test_a_request_can_be_cut_at_any_byte(emulator: EmulatorServer, wire: Wire, at_byte: int) -> None:
    emulator.faults.add(Fault(kind="cut_request", on="batches.create", at_byte=at_byte))
    body = body_of(rows(20_000))
    with wire.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(raw_request("POST", BATCHES, body) * 10)
    assert emulator.counters().batches_created == 0
    assert emulator.received()[0].fault == "cut_request"


@pytest.mark.parametrize("at_byte", [1, 15, 200, 500])
def test_an_answer_can_be_cut_at_any_byte(emulator: EmulatorServer, wire: Wire, at_byte: int) -> None:
    emulator.faults.add(Fault(kind="cut_answer", on="batches.create", at_byte=at_byte))
    assert len(answered(wire, CREATE)) == at_byte
    assert emulator.counters().batches_created == 1


def test_results_can_be_cut_in_the_middle_of_the_stream(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(500))["id"]
    wire.ended(batch_id)
    emulator.faults.add(Fault(kind="cut_answer", on="batches.results", at_byte=50_000))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        wire.get(f"{BATCHES}/{batch_id}/results")
    assert len(wire.results(batch_id)) == 500


def test_a_stream_of_events_can_be_cut(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="cut_answer", on="messages", at_byte=1500))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        wire.post("/v1/messages", params(stream=True))


def test_an_answer_can_be_slow(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="slow", on="models.list", bytes_per_s=40_000))
    started = time.monotonic()
    slow = wire.get("/v1/models")
    slow_s = time.monotonic() - started
    assert slow_s > len(slow.content) / 40_000
    assert slow.json() == wire.get("/v1/models").json()


def test_any_fault_can_wait_first(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="status", status=500, delay_s=0.2))
    started = time.monotonic()
    assert wire.get("/v1/models").status_code == 500
    assert time.monotonic() - started >= 0.2


def raw_results(wire: Wire, batch_id: str) -> list[str]:
    return wire.get(f"{BATCHES}/{batch_id}/results").text.split("\n")


def test_results_can_end_in_the_middle_of_their_last_line(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(10))["id"]
    wire.ended(batch_id)
    whole = raw_results(wire, batch_id)
    emulator.faults.add(Fault(kind="truncate_results"))
    cut = raw_results(wire, batch_id)
    assert cut[:9] == whole[:9]
    assert whole[9].startswith(cut[9])
    assert len(cut[9]) < len(whole[9])
    assert len(cut) == 10


def test_result_lines_can_come_twice(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(10))["id"]
    wire.ended(batch_id)
    whole = raw_results(wire, batch_id)[:-1]
    emulator.faults.add(Fault(kind="duplicate_results"))
    assert raw_results(wire, batch_id)[:-1] == [line for line in whole for _ in range(2)]


def test_a_result_line_can_be_left_out(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(10))["id"]
    wire.ended(batch_id)
    whole = raw_results(wire, batch_id)
    emulator.faults.add(Fault(kind="omit_results"))
    assert raw_results(wire, batch_id) == whole[1:]


def test_a_result_line_can_come_that_nobody_asked_for(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(10))["id"]
    wire.ended(batch_id)
    whole = raw_results(wire, batch_id)
    emulator.faults.add(Fault(kind="unasked_results"))
    more = raw_results(wire, batch_id)
    assert [more[0], *more[2:]] == whole
    assert json.loads(more[1])["custom_id"] == "nobody_asked"


def test_result_lines_can_come_in_another_order_at_each_reading(emulator: EmulatorServer, wire: Wire) -> None:
    batch_id = wire.create(rows(100))["id"]
    wire.ended(batch_id)
    whole = raw_results(wire, batch_id)
    assert raw_results(wire, batch_id) == whole
    emulator.faults.add(Fault(kind="reorder_results"))
    other = raw_results(wire, batch_id)
    assert other != whole
    assert sorted(other) == sorted(whole)


def test_a_fault_hits_only_its_endpoint_and_only_so_often(emulator: EmulatorServer, wire: Wire) -> None:
    emulator.faults.add(Fault(kind="status", on="batches.*", skip=1, times=2))
    seen = [wire.get(BATCHES).status_code for _ in range(5)]
    assert seen == [200, 500, 500, 200, 200]
    emulator.faults.add(Fault(kind="status", on="messages", times=None))
    assert wire.get(BATCHES).status_code == 200
    assert [wire.post("/v1/messages", params()).status_code for _ in range(3)] == [500] * 3
    emulator.faults.clear()
    assert wire.post("/v1/messages", params()).status_code == 200


def test_a_share_of_requests_is_hit_as_the_seed_draws(start: StartEmulator, connect: Connect) -> None:
    fault = Fault(kind="status", status=529, share=0.3, times=None)
    server = start(Scenario(seed=5, faults=(fault,)))
    wire = connect(server)
    statuses = [wire.get("/v1/models/claude-opus-5").status_code for _ in range(200)]
    assert 35 < statuses.count(529) < 85
    server.stop()
    again = start(Scenario(seed=5, faults=(fault,)))
    wire = connect(again)
    wire.post("/emulator/reset")
    assert [wire.get("/v1/models/claude-opus-5").status_code for _ in range(200)] == statuses


def test_a_scenarios_fault_is_not_armed_again_by_a_restart(start: StartEmulator, connect: Connect) -> None:
    scenario = Scenario(faults=(Fault(kind="status", status=503),))
    server = start(scenario)
    assert [connect(server).get("/v1/models").status_code for _ in range(2)] == [503, 200]
    server.stop()
    assert connect(start(scenario)).get("/v1/models").status_code == 200


def test_faults_can_be_added_over_http(wire: Wire) -> None:
    number = wire.post("/emulator/faults", {"kind": "status", "status": 418, "times": 2}).json()["no"]
    assert wire.get("/v1/models").status_code == 418
    listed = wire.get("/emulator/faults").json()["data"]
    assert [(fault["no"], fault["fired"], fault["status"]) for fault in listed] == [(number, 1, 418)]
    assert wire.send("DELETE", "/emulator/faults").status_code == 200
    assert wire.get("/v1/models").status_code == 200
    refused = wire.post("/emulator/faults", {"kind": "status", "knd": 1})
    assert refused.status_code == 400
    assert "unknown knd" in refused.json()["error"]["message"]
