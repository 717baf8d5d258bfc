"""Answers have the shape of recorded ones, field by field, in the order of the wire.

Only shapes and facts are kept here. Batches and results: recordings in the tests of bespokelabsai/curator (2025) and a
published batch of 2026; messages, streams and errors: recordings in the tests of pydantic-ai (2026).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import BATCHES, Wire, params, rows

BATCH = """{"id":"msgbatch_#","type":"message_batch","processing_status":"$","request_counts":
{"processing":0,"succeeded":0,"errored":0,"canceled":0,"expired":0},"ended_at":@,"created_at":"T","expires_at":"T","archived_at":null,
"cancel_initiated_at":@,"results_url":@}"""
USAGE = """{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":
{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0,"service_tier":"$","inference_geo":"$"}"""
MESSAGE_KEYS = ["model", "id", "type", "role", "content", "stop_reason", "stop_sequence", "stop_details", "usage"]
STREAM = [
    ("message_start", ["type", "message"]),
    ("content_block_start", ["type", "index", "content_block"]),
    ("content_block_delta", ["type", "index", "delta"]),
    ("ping", ["type"]),
    ("content_block_stop", ["type", "index"]),
    ("message_delta", ["type", "delta", "usage"]),
    ("message_stop", ["type"]),
]
RECORDED_HEADERS = ["content-type", "date", "anthropic-organization-id", "request-id"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
ID = re.compile(r"(msgbatch|msg|req|file)_01[1-9A-HJ-NP-Za-km-z]{22}")


def shape(value: Any) -> Any:
    """Keys in order and kinds of values: numbers, words, ids and times of the API's form."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str):
        return "time" if TIME.fullmatch(value) else "id" if ID.fullmatch(value) else "word"
    return type(value).__name__


def paths(value: Any, path: str = "") -> list[str]:
    """Every field, with its place, in the order in which it stands."""
    if not isinstance(value, dict):
        return []
    return [p for key, inner in value.items() for p in (f"{path}.{key}", *paths(inner, f"{path}.{key}"))]


def recorded(text: str) -> Any:
    return json.loads(text.replace("@", "null").replace("\n", ""))


def test_a_batch_has_the_recorded_fields_in_the_recorded_order(start: StartEmulator, connect: Connect) -> None:
    server = start(Scenario(processing_time_s=60, cancel_time_s=60))
    wire = connect(server)
    created = wire.create(rows(3))
    canceled = wire.post(f"{BATCHES}/{created['id']}/cancel").json()
    server.clock.advance(60)
    ended = wire.batch(created["id"])
    for batch in (created, canceled, ended):
        assert paths(batch) == paths(recorded(BATCH))
    assert shape(created["id"]) == "id"
    assert [shape(created[key]) for key in ("created_at", "expires_at", "ended_at")] == ["time", "time", "NoneType"]
    assert shape(canceled["cancel_initiated_at"]) == "time"
    assert canceled["request_counts"] == created["request_counts"]
    assert shape(ended["ended_at"]) == "time"
    assert ended["results_url"].endswith(f"/v1/messages/batches/{created['id']}/results")


def test_a_result_has_the_recorded_fields_in_the_recorded_order(wire: Wire) -> None:
    batch_id = wire.create(rows(1, model="claude-sonnet-4-5"))["id"]
    wire.ended(batch_id)
    [line] = wire.results(batch_id)
    assert list(line) == ["custom_id", "result"]
    assert list(line["result"]) == ["type", "message"]
    message = line["result"]["message"]
    assert list(message) == MESSAGE_KEYS
    assert message["model"] == "claude-sonnet-4-5-20250929"
    assert shape(message["id"]) == "id"
    assert [list(block) for block in message["content"]] == [["type", "text"]]
    assert paths(message["usage"])[: len(paths(recorded(USAGE)))] == paths(recorded(USAGE))
    assert (message["usage"]["service_tier"], message["usage"]["inference_geo"]) == ("batch", "not_available")


def test_a_message_of_a_thinking_model_has_the_recorded_fields(wire: Wire) -> None:
    message = wire.post("/v1/messages", params(model="claude-opus-5", max_tokens=4096)).json()
    assert list(message) == MESSAGE_KEYS
    assert [sorted(block) for block in message["content"]] == [["signature", "thinking", "type"], ["text", "type"]]
    assert message["usage"]["inference_geo"] == "global"
    assert message["usage"]["service_tier"] == "standard"
    assert message["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    assert paths(message["usage"]) == [
        *paths(recorded(USAGE)),
        ".output_tokens_details",
        ".output_tokens_details.thinking_tokens",
    ]


def test_a_stream_has_the_recorded_events(wire: Wire) -> None:
    text = wire.post("/v1/messages", params(stream=True)).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]
    seen = {event["type"]: list(event) for event in events}
    assert seen == dict(STREAM)
    opening, closing = events[0]["message"], events[-2]
    assert list(opening) == MESSAGE_KEYS
    assert opening["content"] == []
    assert paths(opening["usage"]) == paths(recorded(USAGE))
    assert list(closing["delta"]) == ["stop_reason", "stop_sequence", "stop_details"]
    assert list(closing["usage"]) == [
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    ]


def test_an_error_has_the_recorded_fields(wire: Wire) -> None:
    counted = {"model": "claude-does-not-exist", "messages": [{"role": "user", "content": "hello"}]}
    response = wire.post("/v1/messages/count_tokens", counted)
    assert response.status_code == 404
    body = response.json()
    assert shape(body.pop("request_id")) == "id"
    error = {"message": "model: claude-does-not-exist", "type": "not_found_error"}
    assert body == {"type": "error", "error": error}


@pytest.mark.parametrize("path", [BATCHES, "/v1/models"])
def test_the_recorded_headers_are_there(wire: Wire, emulator: EmulatorServer, path: str) -> None:
    headers = wire.get(path).headers
    assert all(name in headers for name in RECORDED_HEADERS)
    assert shape(headers["request-id"]) == "id"
