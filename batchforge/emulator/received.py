"""The log of everything that was received, without credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchforge.emulator.clock import ServerClock
from batchforge.emulator.http_messages import Request
from batchforge.emulator.store import Store

BODY_BYTES = 64 * 1024
"""Bodies up to this size are in the log."""
_SECRET = ("authorization", "x-api-key", "proxy-authorization", "cookie")


@dataclass(frozen=True, slots=True)
class Received:
    no: int
    at: datetime
    """By the emulator's clock."""
    endpoint: str
    """Such as `batches.create`; `unknown` for a path that the API does not have."""
    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None
    """None when it was longer than 64 KiB, or not text."""
    body_bytes: int
    status: int | None
    """None while it is worked on, or when no answer was sent."""
    request_id: str
    fault: str | None
    """The kind of the fault that hit it."""

    def json(self) -> Any:
        return None if not self.body else json.loads(self.body)


class ReceivedLog:
    def __init__(self, store: Store, clock: ServerClock) -> None:
        self._store, self._clock = store, clock

    def add(self, request: Request, endpoint: str, fault: str | None) -> int:
        query = f"?{request.raw_query}" if request.raw_query else ""
        headers = {name: value for name, value in request.headers.items() if name not in _SECRET}
        return self._store.execute(
            "INSERT INTO received (at, endpoint, method, path, headers, body, body_bytes, request_id, fault) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._clock.now_s(),
            endpoint,
            request.method,
            request.path + query,
            json.dumps(headers),
            _text(request),
            request.body.size_bytes,
            request.id,
            fault,
        )

    def answered(self, no: int, status: int) -> None:
        self._store.execute("UPDATE received SET status = ? WHERE no = ?", status, no)

    def read(self, after_no: int = 0, endpoint: str | None = None) -> list[Received]:
        rows = self._store.rows(
            "SELECT * FROM received WHERE no > ? AND (? IS NULL OR endpoint = ?) ORDER BY no",
            *(after_no, endpoint, endpoint),
        )
        return [
            Received(
                no=row["no"],
                at=datetime.fromtimestamp(row["at"], UTC),
                endpoint=row["endpoint"],
                method=row["method"],
                path=row["path"],
                headers=json.loads(row["headers"]),
                body=row["body"],
                body_bytes=row["body_bytes"],
                status=row["status"],
                request_id=row["request_id"],
                fault=row["fault"],
            )
            for row in rows
        ]


def _text(request: Request) -> str | None:
    if request.body.size_bytes > BODY_BYTES:
        return None
    try:
        return request.body.read().decode()
    except UnicodeDecodeError:
        return None
