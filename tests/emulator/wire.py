"""What tests send and see on the wire: requests by httpx2, and by plain sockets where bytes matter."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

HEADERS = {"x-api-key": "any-key", "anthropic-version": "2026-10-21"}
OLD_VERSION = {"x-api-key": "any-key", "anthropic-version": "2023-06-01"}
BATCHES = "/v1/messages/batches"


def params(text: str = "Hello", **changes: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-4-8",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        **changes,
    }


def row(custom_id: str, **changes: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": params(**changes)}


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [row(f"row-{number}", text=f"Question {number}", **changes) for number in range(count)]


class Wire:
    """A client that does nothing but HTTP."""

    def __init__(self, base_url: str, headers: Mapping[str, str] = HEADERS) -> None:
        self.base_url = base_url
        self._client = httpx2.Client(base_url=base_url, headers=dict(headers), timeout=30)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._client.get(path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return self._client.post(path, json=body, **options)

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return self._client.request(method, path, **options)

    def create(self, requests: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        response = self.post(BATCHES, {"requests": requests}, **options)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def batch(self, batch_id: str) -> dict[str, Any]:
        return dict(self.get(f"{BATCHES}/{batch_id}").json())

    def ended(self, batch_id: str) -> dict[str, Any]:
        """The batch when it has ended; for batches whose time is a matter of milliseconds."""
        give_up = time.monotonic() + 20
        while (batch := self.batch(batch_id))["processing_status"] != "ended":
            assert time.monotonic() < give_up, batch
            time.sleep(0.005)
        return batch

    def results(self, batch_id: str) -> list[dict[str, Any]]:
        response = self.get(f"{BATCHES}/{batch_id}/results")
        assert response.status_code == 200, response.text
        return [json.loads(line) for line in response.text.splitlines()]

    def run(self, requests: list[dict[str, Any]], **options: Any) -> dict[str, dict[str, Any]]:
        """The results of a batch by custom_id."""
        batch_id = self.create(requests, **options)["id"]
        self.ended(batch_id)
        return {line["custom_id"]: line["result"] for line in self.results(batch_id)}

    def socket(self) -> socket.socket:
        url = urlsplit(self.base_url)
        return socket.create_connection((url.hostname, url.port), timeout=30)


def raw_request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = HEADERS) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def body_of(requests: list[dict[str, Any]]) -> bytes:
    return json.dumps({"requests": requests}).encode()
