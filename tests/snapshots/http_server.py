"""A small HTTP server of files, with etags and ranges or without, that can break off and fall silent in mid-read."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class FileServer:
    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    has_ranges: bool = True
    has_etags: bool = True
    has_length: bool = True
    cut_after: list[int] = field(default_factory=list)
    """For each response to come: after so many bytes the connection is closed."""
    silent_after: int | None = None
    """The next response stops there, and says nothing for a while."""
    statuses: list[int] = field(default_factory=list)
    """For each response to come: an error instead."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, status and bytes sent."""


@contextmanager
def file_server() -> Iterator[FileServer]:
    served = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing is to be written."""

        def do_GET(self) -> None:
            self.close_connection = True
            if self.path in served.redirects:
                self.answer(302, {"Location": served.redirects[self.path], "Content-Length": "0"}, b"")
            elif served.statuses:
                self.answer(served.statuses.pop(0), {"Content-Length": "0"}, b"")
            elif (content := served.files.get(self.path)) is None:
                self.answer(404, {"Content-Length": "0"}, b"")
            else:
                self.serve(content)

        def serve(self, content: bytes) -> None:
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            headers = {"ETag": etag} if served.has_etags else {}
            if served.has_etags and self.headers.get("If-None-Match") == etag:
                return self.answer(304, headers, b"")
            start, status = 0, 200
            wanted = self.headers.get("Range", "")
            if served.has_ranges and wanted and self.headers.get("If-Range") == etag:
                start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if served.has_length:
                headers["Content-Length"] = str(len(content) - start)
            return self.answer(status, headers, content[start:])

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            if body and served.cut_after:
                body = body[: served.cut_after.pop(0)]
            served.requests.append((self.path, status, len(body)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            silent_after, served.silent_after = served.silent_after, None if body else served.silent_after
            if body and silent_after is not None:
                self.wfile.write(body[:silent_after])
                self.wfile.flush()
                time.sleep(1.5)
                return
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
