"""HTTP values: the request that was received, its body in memory or on disk, and the answer that goes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from batchforge.emulator.api_fault import ApiFault

JSON = "application/json"
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True, slots=True)
class Body:
    """A small body is bytes; a large one lies in a file that belongs to whoever takes it."""

    content: bytes = b""
    path: Path | None = None
    size_bytes: int = 0

    def read(self) -> bytes:
        return self.content if self.path is None else self.path.read_bytes()

    def discard(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    query_lists: Mapping[str, list[str]]
    raw_query: str
    headers: Mapping[str, str]
    id: str
    body: Body = field(default_factory=Body)

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


def with_body(request: Request, body: Body) -> Request:
    return replace(request, body=body)


@dataclass(frozen=True, slots=True)
class FilePart:
    """The first bytes of a file, sent without passing through memory."""

    path: Path
    size_bytes: int


def file_lines(part: FilePart) -> Iterator[bytes]:
    with part.path.open("rb") as file:
        left = part.size_bytes
        while left > 0 and (line := file.readline()):
            left -= len(line)
            yield line


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes | FilePart | Iterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = JSON


class Refused(Exception):
    """A handler cannot go on: the API's error, as an answer."""

    def __init__(self, fault: ApiFault, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(fault.message)
        self.fault, self.headers = fault, headers or {}


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, msgspec.json.encode(value), headers or {})


def fault_response(fault: ApiFault, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(fault.body(request_id), status=fault.status, headers=headers)


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)
"""What decoding raises for bytes that are no JSON."""


def json_error(error: Exception, body: bytes | memoryview) -> str:
    """The API's words for a body that is not JSON, with line and column."""
    if isinstance(error, UnicodeDecodeError):
        return "The request body is not valid JSON: it is not valid UTF-8"
    text = str(error)
    at = len(body) if "truncated" in text else _byte_number(text)
    try:
        # The standard library finds the fault again, with better words; it needs the text only up to there.
        json.loads(bytes(body[: at + 1]))
    except json.JSONDecodeError as found:
        return f"The request body is not valid JSON: {found}"
    except UnicodeDecodeError:
        pass
    return f"The request body is not valid JSON: unexpected character at byte {at}"


def _byte_number(text: str) -> int:
    digits = text.rsplit("(byte ", 1)[-1].rstrip(")")
    return int(digits) if digits.isdigit() else 0
