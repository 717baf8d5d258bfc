"""HTTP as clients speak it: framing, encodings, keys, versions, headers, streams of events."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import BATCHES, HEADERS, Wire, body_of, params, raw_request, read_all, row, rows


def statuses(answer: bytes) -> list[int]:
    return [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def exchange(wire: Wire, *pieces: bytes) -> bytes:
    with wire.socket() as connection:
        for piece in pieces:
            connection.sendall(piece)
        # The server may have closed already, where it was told nonsense.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def test_requests_in_one_piece_are_answered_one_after_the_other(wire: Wire) -> None:
    message = raw_request("POST", "/v1/messages", json.dumps(params()).encode())
    answer = exchange(wire, message + raw_request("GET", "/v1/models") + message)
    assert statuses(answer) == [200, 200, 200]


def test_a_request_can_come_byte_by_byte(wire: Wire) -> None:
    message = raw_request("POST", "/v1/messages", json.dumps(params()).encode())
    assert statuses(exchange(wire, *(bytes([byte]) for byte in message))) == [200]


@pytest.mark.parametrize("count", [2, 3000])
def test_a_batch_can_be_sent_in_chunks(wire: Wire, emulator: EmulatorServer, count: int) -> None:
    body = body_of(rows(count))

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 7919):
            yield body[start : start + 7919]

    response = wire.send("POST", BATCHES, content=chunks())
    assert response.status_code == 200
    assert emulator.counters().requests_accepted == count


def test_after_chunks_the_connection_goes_on(wire: Wire) -> None:
    head = raw_request("POST", "/v1/messages/count_tokens").replace(b"content-length: 0", b"transfer-encoding: chunked")
    body = json.dumps({"model": "claude-opus-4-8", "messages": params()["messages"]}).encode()
    message = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert statuses(exchange(wire, message + message + raw_request("GET", "/v1/models"))) == [200, 200, 200]


def test_a_client_that_waits_for_continue_is_told_to_go_on(wire: Wire) -> None:
    body = json.dumps(params()).encode()
    message = raw_request("POST", "/v1/messages", body, {**HEADERS, "expect": "100-continue"})
    head, _, _ = message.partition(body)
    with wire.socket() as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_can_be_compressed(wire: Wire, encoding: str, encode: object) -> None:
    assert callable(encode)
    for path, body in ((BATCHES, body_of(rows(3))), ("/v1/messages", json.dumps(params()).encode())):
        response = wire.send("POST", path, content=encode(body), headers={"content-encoding": encoding})
        assert response.status_code == 200, response.text


def test_a_body_in_an_unknown_encoding_or_a_broken_one_is_refused(wire: Wire) -> None:
    unknown = wire.send("POST", BATCHES, content=b"x", headers={"content-encoding": "br"})
    assert unknown.json()["error"]["details"] == {"error_code": "request_body_encoding_unsupported"}
    broken = wire.send("POST", BATCHES, content=b"x", headers={"content-encoding": "gzip"})
    assert broken.json()["error"]["details"] == {"error_code": "request_body_encoding_invalid"}
    bomb = gzip.compress(bytes(33 * 1024 * 1024))
    large = wire.send("POST", "/v1/messages", content=bomb, headers={"content-encoding": "gzip"})
    assert large.status_code == 413
    assert large.json()["error"]["details"] == {"error_code": "request_body_too_large_after_decoding"}


def test_what_is_not_http_is_refused(wire: Wire) -> None:
    assert statuses(exchange(wire, b"nonsense\r\n\r\n")) == [400]


def test_a_client_that_leaves_in_the_middle_harms_nobody(wire: Wire, emulator: EmulatorServer) -> None:
    message = raw_request("POST", BATCHES, body_of(rows(5000)))
    with wire.socket() as connection:
        connection.sendall(message[: len(message) // 2])
    assert wire.get("/v1/models").status_code == 200
    assert emulator.counters().batches_created == 0


def test_an_unknown_path_and_a_wrong_method_are_told_apart(wire: Wire) -> None:
    assert wire.get("/v1/complete").status_code == 404
    assert wire.send("PUT", BATCHES).status_code == 405
    assert wire.get("/v1/complete").json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("credentials", [{"x-api-key": "good"}, {"authorization": "Bearer good"}])
def test_a_key_is_taken_in_both_headers(start: StartEmulator, connect: Connect, credentials: dict[str, str]) -> None:
    server = start(api_keys=frozenset({"good"}))
    version = {"anthropic-version": "2026-10-21"}
    assert connect(server, {**credentials, **version}).get(BATCHES).status_code == 200


def test_a_wrong_key_is_a_401(start: StartEmulator, connect: Connect) -> None:
    server = start(api_keys=frozenset({"good"}))
    response = connect(server).get(BATCHES)
    assert response.status_code == 401
    assert response.json()["error"] == {"type": "authentication_error", "message": "API key is invalid."}
    missing = connect(server, {"anthropic-version": "2026-10-21"}).get(BATCHES)
    assert missing.json()["error"]["message"] == "x-api-key header is required"


def test_without_a_list_of_keys_any_key_is_good(wire: Wire, emulator: EmulatorServer, connect: Connect) -> None:
    assert wire.get(BATCHES).status_code == 200
    assert connect(emulator, {"anthropic-version": "2026-10-21"}).get(BATCHES).status_code == 401


def test_a_version_must_be_given_and_known(emulator: EmulatorServer, connect: Connect) -> None:
    missing = connect(emulator, {"x-api-key": "any"}).get(BATCHES)
    assert missing.json()["error"]["message"] == "anthropic-version: header is required"
    unknown = connect(emulator, {"x-api-key": "any", "anthropic-version": "2020-01-01"}).get(BATCHES)
    assert unknown.status_code == 400
    for version in ("2023-06-01", "2026-10-21"):
        known = connect(emulator, {"x-api-key": "any", "anthropic-version": version})
        assert known.get(BATCHES).status_code == 200


def test_answers_carry_the_apis_headers(wire: Wire) -> None:
    response = wire.post("/v1/messages", params())
    assert response.headers["request-id"].startswith("req_01")
    assert response.headers["anthropic-organization-id"]
    assert response.headers["anthropic-workspace-id"].startswith("wrkspc_01")
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for part in ("limit", "remaining", "reset"):
            assert f"anthropic-ratelimit-{kind}-{part}" in response.headers
    assert wire.post("/v1/messages", params()).headers["request-id"] != response.headers["request-id"]


def test_a_tiers_rate_limit_is_a_429_until_the_minute_is_over(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(requests_per_minute=3))
    server.clock.speed = 0
    wire = connect(server)
    responses = [wire.get(BATCHES) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert [response.headers["anthropic-ratelimit-requests-remaining"] for response in responses] == list("21000")
    assert 1 <= int(responses[3].headers["retry-after"]) <= 60
    assert responses[3].json()["error"]["type"] == "rate_limit_error"
    assert wire.get("/v1/models").status_code == 200
    server.clock.advance(60)
    assert wire.get(BATCHES).status_code == 200


def test_the_queue_of_a_tier_fills_and_empties(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=60, queued_requests=10))
    wire = connect(server)
    first = wire.create(rows(8))["id"]
    full = wire.post(BATCHES, {"requests": rows(3)})
    assert full.status_code == 429
    assert "8 are queued already" in full.json()["error"]["message"]
    wire.create(rows(2))
    server.clock.advance(60)
    wire.ended(first)
    wire.create(rows(10))
    assert server.counters().batches_created == 3


def test_a_tier_is_known_by_its_name(start: StartEmulator, connect: Connect) -> None:
    wire = connect(start(Scenario(tier="build")))
    assert wire.get(BATCHES).headers["anthropic-ratelimit-requests-limit"] == "2000"


def test_an_ipv6_address_can_be_listened_on(connect: Connect) -> None:
    with EmulatorServer(host="::1") as server:
        assert server.base_url.startswith("http://[::1]:")
        assert connect(server).get("/v1/models").status_code == 200


def events_of(text: str) -> list[tuple[str, dict[str, object]]]:
    events = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


def test_a_stream_is_a_sequence_of_events(wire: Wire) -> None:
    response = wire.post("/v1/messages", params(stream=True, model="claude-opus-5-5", max_tokens=3000))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(response.text)
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    assert names[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("content_block_start") == names.count("content_block_stop") == 2
    assert "ping" in names


def test_a_large_batch_does_not_stay_in_memory_but_in_a_file(wire: Wire, emulator: EmulatorServer) -> None:
    batch_id = wire.create([row("large", text="x" * 3_000_000)])["id"]
    assert wire.ended(batch_id)["request_counts"]["succeeded"] == 1
    left = [path.name for path in emulator.database.with_name("emulator.sqlite.bodies").iterdir()]
    assert left == [f"{batch_id}.jsonl"]


def test_refused_bodies_are_not_kept(wire: Wire, emulator: EmulatorServer) -> None:
    wire.send("POST", BATCHES, content=b"x" * 3_000_000)
    wire.send("POST", "/v1/messages", content=b"x" * 3_000_000)
    wire.send("POST", "/v1/unknown", content=b"x" * 3_000)
    wire.send("POST", BATCHES, content=b"x" * 3_000_000, headers={"x-api-key": ""})
    assert list(emulator.database.with_name("emulator.sqlite.bodies").iterdir()) == []


def test_the_format_of_answers_can_be_asked_for_as_before_its_release(wire: Wire) -> None:
    schema = {
        "type": "object",
        "properties": {"color": {"type": "string"}},
        "required": ["color"],
        "additionalProperties": False,
    }
    asked = params(output_format={"type": "json_schema", "schema": schema})
    beta = {"anthropic-beta": "structured-outputs-2025-11-13"}
    answer = wire.post("/v1/messages", asked, headers=beta).json()
    assert list(json.loads(answer["content"][0]["text"])) == ["color"]
    refused = wire.post("/v1/messages", asked)
    assert refused.json()["error"]["message"] == "output_format: Extra inputs are not permitted"
    batch_id = wire.create([row("a", output_format=asked["output_format"])], headers=beta)["id"]
    assert wire.ended(batch_id)["request_counts"]["succeeded"] == 1
