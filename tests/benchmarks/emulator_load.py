"""How fast the emulator takes 100,000 requests of 12 KB, answers them, gives the results; and the memory it needs.

    python tests/benchmarks/emulator_load.py [requests] [requests per batch]

The server runs in a process of its own. The client sends prepared bytes, so that the server is what is measured.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SYSTEM = "You sort support tickets into one of five queues. Answer with its name. " * 170
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01", "content-type": "application/json"}
SERVER = "from batchforge.commands.emulator import command; command()"


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    per_batch = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        bodies = [
            write_body(Path(folder), first, min(per_batch, requests - first)) for first in range(0, requests, per_batch)
        ]
        server = start(Path(folder) / "emulator.sqlite")
        try:
            measure(server, bodies)
        finally:
            server.process.terminate()
            server.process.wait()


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, HEADERS)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read()

    def peak_mb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024

    def anonymous_mb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) // 1024


def start(database: Path) -> Server:
    command = [sys.executable, "-c", SERVER, "--port", "0", "--output", "json", "--database", str(database)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return Server(process, int(json.loads(process.stdout.readline())["base_url"].rsplit(":", 1)[1]))


def measure(server: Server, bodies: list[Path]) -> None:
    size_mb = sum(body.stat().st_size for body in bodies) / 1e6
    print(f"{len(bodies)} batches, {size_mb:,.0f} MB, empty server {server.anonymous_mb()} MB")
    started = time.perf_counter()
    ids = [create(server, body) for body in bodies]
    accepted_s = time.perf_counter() - started
    print(f"accepted in {accepted_s:.2f} s ({size_mb / accepted_s:,.0f} MB/s); heap {server.anonymous_mb()} MB")
    while any(
        json.loads(server.call("GET", f"/v1/messages/batches/{id_}")[1])["processing_status"] != "ended" for id_ in ids
    ):
        time.sleep(0.2)
    answered_s = time.perf_counter() - started
    print(f"answered in {answered_s:.2f} s; heap {server.anonymous_mb()} MB")
    started = time.perf_counter()
    lines = sum(server.call("GET", f"/v1/messages/batches/{id_}/results")[1].count(b"\n") for id_ in ids)
    print(f"{lines:,} results read in {time.perf_counter() - started:.2f} s")
    print(f"peak with mapped files {server.peak_mb()} MB")


def create(server: Server, body: Path) -> str:
    with body.open("rb") as file, socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = ["POST /v1/messages/batches HTTP/1.1", "host: localhost", f"content-length: {body.stat().st_size}"]
        head.extend(f"{name}: {value}" for name, value in HEADERS.items())
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        connection.sendfile(file)
        response = http.client.HTTPResponse(connection)
        response.begin()
        status, answer = response.status, response.read()
    assert status == 200, answer
    return str(json.loads(answer)["id"])


def write_body(folder: Path, first: int, count: int) -> Path:
    path = folder / f"body_{first}.json"
    with path.open("wb") as file:
        file.writelines(body_pieces(first, count))
    return path


def body_pieces(first: int, count: int) -> Iterator[bytes]:
    yield b'{"requests":['
    for number in range(first, first + count):
        params = {
            "model": "claude-haiku-4-5",
            "max_tokens": 200,
            "system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": f"Ticket {number}: the parcel did not arrive."}],
        }
        item = json.dumps({"custom_id": f"row-{number}", "params": params}).encode()
        yield item if number == first else b"," + item
    yield b"]}"


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    main()
