"""A gateway in front of the API, below a path of its own, that names its results by path."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from tests.builders import ProjectFiles

PREFIX = "/anthropic"


class Gateway(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: EmulatorServer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api = api.base_url.removeprefix("http://")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{PREFIX}"


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        self.forward()

    def do_POST(self) -> None:
        self.forward()

    def forward(self) -> None:
        if not self.path.startswith(f"{PREFIX}/v1/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.api)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        connection.request(self.command, self.path.removeprefix(PREFIX), body, headers)
        answer = connection.getresponse()
        content = answer.read().replace(f'"http://{self.server.api}/'.encode(), f'"{PREFIX}/'.encode())
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def gateway(emulator: EmulatorServer) -> Iterator[Gateway]:
    with Gateway(emulator) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_results_are_read_where_the_gateway_says_they_are(
    tmp_path: Path, gateway: Gateway, emulator: EmulatorServer
) -> None:
    project = ProjectFiles(tmp_path / "p", emulator, base_url=gateway.base_url)
    assert project.run().status == "ok"
    assert [row["_status"] for row in project.rows_of()] == ["answered"] * 3
