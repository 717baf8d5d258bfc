"""Ways in which the emulator can be made to differ from the API as it is known: to try whoever checks those facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import msgspec

from batchforge.emulator.http_messages import FilePart, Response, file_lines

Deviation = Literal[
    "other_words",
    "duplicates_taken",
    "params_checked_at_once",
    "flat_row_errors",
    "null_keys_left_out",
    "no_request_ids",
    "halved_limits",
    "oldest_first",
    "lost_posts_forgotten",
]


def deviate(response: Response, endpoint: str, deviations: tuple[Deviation, ...]) -> Response:
    """The answer with what differs in its body."""
    for deviation in deviations:
        change = _CHANGES.get(deviation)
        if change is not None:
            response = change(response, endpoint)
    return response


def _other_words(response: Response, endpoint: str) -> Response:
    """Refusals of a batch in other words."""
    if endpoint != "batches.create" or response.status != 400:
        return response
    return _with_json(response, lambda body: {**body, "error": {**body["error"], "message": "The batch is not valid."}})


def _null_keys_left_out(response: Response, endpoint: str) -> Response:
    if not endpoint.startswith("batches.") or response.status != 200:
        return response
    return _with_json(response, lambda body: {key: value for key, value in body.items() if value is not None})


def _halved_limits(response: Response, endpoint: str) -> Response:
    if endpoint == "models.retrieve" and response.status == 200:
        return _with_json(response, _with_half_the_output)
    if endpoint == "models.list" and response.status == 200:
        return _with_json(response, lambda body: {**body, "data": [_with_half_the_output(m) for m in body["data"]]})
    return response


def _with_half_the_output(model: Mapping[str, Any]) -> dict[str, Any]:
    return {**model, "max_tokens": model["max_tokens"] and model["max_tokens"] // 2}


def _oldest_first(response: Response, endpoint: str) -> Response:
    if endpoint != "batches.list" or response.status != 200:
        return response
    return _with_json(
        response,
        lambda body: {
            **body,
            "data": body["data"][::-1],
            "first_id": body["last_id"],
            "last_id": body["first_id"],
        },
    )


def _flat_row_errors(response: Response, endpoint: str) -> Response:
    """Errored rows with the error itself, not the body of an answer around it."""
    if endpoint != "batches.results" or not isinstance(response.body, FilePart):
        return response
    return replace(response, body=_flattened(file_lines(response.body)))


def _flattened(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        row = msgspec.json.decode(line)
        if row["result"]["type"] == "errored":
            row["result"]["error"] = row["result"]["error"]["error"]
        yield msgspec.json.encode(row) + b"\n"


def _with_json(response: Response, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
    if not isinstance(response.body, bytes):
        return response
    return replace(response, body=msgspec.json.encode(change(msgspec.json.decode(response.body))))


_CHANGES: Mapping[str, Callable[[Response, str], Response]] = {
    "other_words": _other_words,
    "null_keys_left_out": _null_keys_left_out,
    "halved_limits": _halved_limits,
    "oldest_first": _oldest_first,
    "flat_row_errors": _flat_row_errors,
}
