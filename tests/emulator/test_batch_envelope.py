"""What is refused when a batch is created, in the API's words; and what is only found out later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.emulator import EmulatorServer
from batchforge.emulator.api_fault import ApiFault
from batchforge.emulator.envelope import read_envelope
from tests.emulator.conftest import Connect
from tests.emulator.wire import BATCHES, OLD_VERSION, Wire, body_of, params, row, rows


def refusal(wire: Wire, body: bytes) -> str:
    response = wire.send("POST", BATCHES, content=body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


REFUSED = [
    (
        [row("dup"), row("other"), row("dup")],
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
    ),
    ([{"params": params()}], "requests.0.custom_id: Field required"),
    ([row("a"), row("x" * 65)], "requests.1.custom_id: String should have at most 64 characters"),
    ([row("a b")], "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
    ([row("")], "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
    ([row("ü")], "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
    ([], "requests: List should have at least 1 item after validation, not 0"),
    ([{"custom_id": 7, "params": {}}], "requests.0.custom_id: Input should be a valid string"),
    ([{"custom_id": "a"}], "requests.0.params: Field required"),
    ([{"custom_id": "a", "params": []}], "requests.0.params: Input should be a valid dictionary"),
    ([{"custom_id": "a", "params": {}, "priority": 1}], "requests.0.priority: Extra inputs are not permitted"),
    (["a"], "requests.0: Input should be a valid dictionary"),
]


@pytest.mark.parametrize(("requests", "message"), REFUSED)
def test_an_envelope_that_is_wrong_is_refused_at_once(
    wire: Wire, emulator: EmulatorServer, requests: list[Any], message: str
) -> None:
    assert refusal(wire, body_of(requests)) == message
    assert emulator.counters().batches_created == 0


def test_a_body_that_is_not_json_is_refused_with_the_place(wire: Wire) -> None:
    start = "The request body is not valid JSON: "
    assert refusal(wire, b'{"requests": [}').startswith(start)
    assert "line 1 column 15" in refusal(wire, b'{"requests": [}')
    assert "line 2 column" in refusal(wire, b'{"requests":\n [nope]}')
    assert refusal(wire, b'{"requests": [{"custom').startswith(start)
    assert refusal(wire, b"").startswith(start)
    assert refusal(wire, b'{"requests": "\xff"}').startswith(start)


def test_a_body_without_requests_is_refused(wire: Wire) -> None:
    assert refusal(wire, b"{}") == "requests: Field required"
    assert refusal(wire, b"[]") == "Input should be a valid dictionary"
    assert refusal(wire, b'{"requests": {}}') == "requests: Input should be a valid list"
    assert refusal(wire, b'{"requests": [{"custom_id":"a","params":{}}], "mode": 1}') == (
        "mode: Extra inputs are not permitted"
    )


def test_100_001_requests_are_one_too_many(wire: Wire) -> None:
    item = '{"custom_id":"%d","params":{}}'
    body = '{"requests":[' + ",".join(item % number for number in range(100_001)) + "]}"
    assert (
        refusal(wire, body.encode()) == "requests: List should have at most 100000 items after validation, not 100001"
    )


def test_what_is_wrong_in_params_is_an_errored_row_after_the_end(wire: Wire, emulator: EmulatorServer) -> None:
    results = wire.run(
        [
            row("good"),
            row("zero", max_tokens=0),
            row("streaming", stream=True),
            row("model", model="claude-unknown"),
            row("much", model="claude-haiku-4-5", max_tokens=100_000),
            {"custom_id": "empty", "params": {}},
            {"custom_id": "none", "params": params(messages=[])},
        ]
    )
    assert results.pop("good")["type"] == "succeeded"
    messages = {key: result["error"]["error"]["message"] for key, result in results.items()}
    assert messages == {
        "zero": "max_tokens: must be greater than or equal to 1",
        "streaming": '"stream=True" is not supported in the Message Batches API',
        "model": "model: claude-unknown",
        "much": "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for "
        "claude-haiku-4-5-20251001",
        "empty": messages["empty"],
        "none": "messages: at least one message is required",
    }
    assert messages["empty"].endswith("Field required")
    assert results["model"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "details": {"error_visibility": "user_facing"},
                "type": "not_found_error",
                "message": "model: claude-unknown",
            },
            "request_id": None,
        },
    }
    assert emulator.counters().requests_billed == 1


def test_the_synchronous_endpoint_refuses_the_same_at_once(wire: Wire) -> None:
    response = wire.post("/v1/messages", params(model="claude-unknown"))
    assert response.status_code == 404
    assert response.json() == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "model: claude-unknown"},
        "request_id": response.headers["request-id"],
    }


def test_sampling_is_refused_under_the_new_version_and_taken_under_the_old(
    emulator: EmulatorServer, connect: Connect
) -> None:
    sampled = [row("a", model="claude-haiku-4-5", temperature=0.2)]
    assert connect(emulator).run(sampled)["a"]["type"] == "errored"
    assert connect(emulator, OLD_VERSION).run(sampled)["a"]["type"] == "succeeded"


def test_a_larger_body_than_256_mb_is_too_large_and_the_client_gets_to_know(wire: Wire) -> None:
    response = wire.send("POST", BATCHES, content=bytes(256 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"
    assert wire.get("/v1/models").status_code == 200


def test_a_larger_message_than_32_mb_is_too_large(wire: Wire) -> None:
    response = wire.send("POST", "/v1/messages", content=bytes(32 * 1024 * 1024 + 1))
    assert response.status_code == 413


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text("abcXYZ019-_", min_size=1, max_size=64),
        st.dictionaries(st.text() | st.just("params"), json_values, max_size=4),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_the_bytes_of_each_requests_params_are_found(
    requests: dict[str, dict[str, Any]], indent: int | None, params_first: bool
) -> None:
    items = [
        {"params": value, "custom_id": key} if params_first else {"custom_id": key, "params": value}
        for key, value in requests.items()
    ]
    body = json.dumps({"requests": items}, indent=indent).encode()
    entries = read_envelope(body)
    assert not isinstance(entries, ApiFault)
    found = {e.custom_id: json.loads(body[e.first_byte : e.first_byte + e.size_bytes]) for e in entries}
    assert found == requests


def test_a_key_written_with_escapes_is_found_too() -> None:
    body = b'{"requests":[{"custom_id":"params","par\\u0061ms":{"model":1}},{"custom_id":"b","params":{"model":2}}]}'
    entries = read_envelope(body)
    assert not isinstance(entries, ApiFault)
    assert [body[e.first_byte : e.first_byte + e.size_bytes] for e in entries] == [b'{"model":1}', b'{"model":2}']


def test_many_rows_keep_their_own_params(wire: Wire) -> None:
    results = wire.run(rows(700, model="claude-haiku-4-5"))
    assert len(results) == 700
    for number in range(700):
        assert results[f"row-{number}"]["message"]["content"][0]["text"].endswith(f"Question {number}")
