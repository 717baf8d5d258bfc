"""A Message Batches API that answers at once and always the same, so that the client is what is measured.

    python -m tests.benchmarks.canned_server

Prints its port. It checks nothing and forgets everything when it ends; to test against, there is the emulator.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHUNK_BYTES = 1 << 20
LINES_AT_ONCE = 2_000
TIME = "2026-01-01T00:00:00Z"
ANSWER = "The parcel is late, and the customer asks for a refund.\n\n- queue: **parcels**\n- tone: angry\n" * 4
MESSAGE: dict[str, Any] = {
    "id": "msg_canned",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": ANSWER}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 180,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 3_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 120,
        "service_tier": "batch",
    },
}
LINE_END = b'","result":{"type":"succeeded","message":' + json.dumps(MESSAGE).encode() + b"}}\n"
LINE_START = b'{"custom_id":"'


class _Batches:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._ids: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()

    def create(self, body: bytearray) -> str:
        ids = list(_custom_ids(body))
        with self._lock:
            name = f"msgbatch_{next(self._numbers):06d}"
            self._ids[name] = ids
        return name

    def ids(self, name: str) -> list[bytes]:
        return self._ids[name]

    def names(self) -> list[str]:
        return list(reversed(self._ids))


def _custom_ids(body: bytearray) -> Iterator[bytes]:
    """Found as bytes: to decode the body would cost more than sending it."""
    at = body.find(b'"custom_id"')
    while at >= 0:
        start = body.index(b'"', at + 12) + 1
        end = body.index(b'"', start)
        yield bytes(body[start:end])
        at = body.find(b'"custom_id"', end)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    batches: _Batches

    def do_POST(self) -> None:
        name = self.batches.create(self._body())
        self._send_json(self._described(name, "in_progress"))

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        *_, before_last, last = path.split("/")
        if last == "results":
            self._send_results(self.batches.ids(before_last))
        elif last == "batches":
            data = [self._described(name, "ended") for name in self.batches.names()[:100]]
            self._send_json({"data": data, "has_more": False, "first_id": None, "last_id": None})
        else:
            self._send_json(self._described(last, "ended"))

    def _body(self) -> bytearray:
        if self.headers.get("Transfer-Encoding") == "chunked":
            raise ValueError("bodies come with a Content-Length")
        body = bytearray(int(self.headers["Content-Length"]))
        view, filled = memoryview(body), 0
        while filled < len(body):
            filled += self.rfile.readinto(view[filled : filled + CHUNK_BYTES])
        return body

    def _described(self, name: str, status: str) -> dict[str, Any]:
        count, has_ended = len(self.batches.ids(name)), status == "ended"
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        counts = dict.fromkeys(("errored", "canceled", "expired"), 0)
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if has_ended else count, "succeeded": count * has_ended, **counts},
            "created_at": TIME,
            "expires_at": TIME,
            "ended_at": TIME if has_ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"http://127.0.0.1:{port}/v1/messages/batches/{name}/results" if has_ended else None,
        }

    def _send_results(self, ids: list[bytes]) -> None:
        size = sum(len(LINE_START) + len(name) + len(LINE_END) for name in ids)
        self._send_head("application/x-jsonl", size)
        for first in range(0, len(ids), LINES_AT_ONCE):
            some = ids[first : first + LINES_AT_ONCE]
            self.wfile.write(b"".join(LINE_START + name + LINE_END for name in some))

    def _send_json(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self._send_head("application/json", len(data))
        self.wfile.write(data)

    def _send_head(self, content_type: str, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(size))
        self.send_header("request-id", "req_canned")
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(timestamp, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is told."""


def main() -> None:
    _Handler.batches = _Batches()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
