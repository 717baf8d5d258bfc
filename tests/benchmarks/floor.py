"""The least that it can take: the same bytes out by sendfile, the results in as they are, into a file.

python -m tests.benchmarks.floor prepare ROWS.csv SYSTEM.txt FOLDER
python -m tests.benchmarks.floor run PORT FOLDER
"""

from __future__ import annotations

import csv
import json
import socket
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

BATCH_SIZE = 20_000
CHUNK_BYTES = 1 << 20


def prepare(rows_path: str, system_path: str, folder: str) -> None:
    """One body a batch, the same requests as the loop of the SDK sends."""
    from jinja2 import Template

    from tests.benchmarks.naive_loop import PROMPT, request

    system, template = Path(system_path).read_text(), Template(PROMPT)
    with Path(rows_path).open(newline="", encoding="utf-8") as file:
        rows, number = csv.DictReader(file), 0
        while some := list(islice(rows, BATCH_SIZE)):
            with (Path(folder) / f"body-{number:04d}.json").open("w", encoding="utf-8") as body:
                body.write('{"requests":[')
                for place, row in enumerate(some):
                    line = json.dumps(request(row, system, template), ensure_ascii=False, separators=(",", ":"))
                    body.write("," + line if place else line)
                body.write("]}")
            number += 1


def run(port: str, folder: str) -> None:
    address = ("127.0.0.1", int(port))
    names = [_send(address, path) for path in sorted(Path(folder).glob("body-*.json"))]
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with (Path(folder) / "results.jsonl").open("wb", buffering=0) as out:
        for name in names:
            with _request(
                address, f"GET /v1/messages/batches/{name}/results HTTP/1.1\r\nHost: x\r\n\r\n"
            ) as connection:
                head, rest = _head(connection)
                left = _content_length(head) - out.write(rest)
                while left:
                    size = connection.recv_into(buffer)
                    out.write(buffer[:size])
                    left -= size


def _send(address: tuple[str, int], path: Path) -> str:
    size = path.stat().st_size
    head = f"POST /v1/messages/batches HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    with _request(address, head) as connection, path.open("rb") as body:
        connection.sendfile(body)
        head_of_answer, rest = _head(connection)
        while len(rest) < _content_length(head_of_answer):
            rest += connection.recv(CHUNK_BYTES)
        return str(json.loads(rest)["id"])


def _request(address: tuple[str, int], head: str) -> socket.socket:
    connection = socket.create_connection(address)
    connection.sendall(head.encode())
    return connection


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(CHUNK_BYTES)
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


if __name__ == "__main__":
    COMMANDS: dict[str, Callable[..., None]] = {"prepare": prepare, "run": run}
    COMMANDS[sys.argv[1]](*sys.argv[2:])
