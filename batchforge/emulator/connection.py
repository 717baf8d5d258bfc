"""One client's connection: requests come in, large bodies straight to disk; answers go out, byte by byte if told so."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkstemp
from urllib.parse import parse_qs, unquote

import h11

from batchforge.emulator.api_fault import invalid_request
from batchforge.emulator.http_messages import REASONS, Body, FilePart, Refused, Request, Response
from batchforge.emulator.ids import new_id

CHUNK_BYTES = 1 << 20
HEAD_READ_BYTES = 1 << 16
IN_MEMORY_BYTES = 1 << 20
DRAIN_TIMEOUT_S = 30.0
CLOSE_WAIT_S = 0.05


class ConnectionCut(Exception):
    """The connection ends here, by the client's doing or by a fault that was asked for."""


class AnswerCut(Exception):
    """As much of the answer went out as it was told to."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request before its body."""

    request: Request
    content_length: int
    is_chunked: bool
    is_last: bool
    """The client takes no further answer on this connection."""


class Connection:
    def __init__(self, client: socket.socket, bodies: Path) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = client
        self._bodies = bodies
        self._rest = b""
        self._parser = h11.Connection(h11.SERVER)

    def read_head(self) -> Head | None:
        """The next request's head; None when the client is done."""
        self._parser = h11.Connection(h11.SERVER)
        data = self._rest
        while True:
            if data:
                self._parser.receive_data(data)
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise Refused(invalid_request(f"The request is not valid HTTP: {error}")) from error
            if isinstance(event, h11.Request):
                self._rest = self._parser.trailing_data[0]
                return _head(event)
            data = self._receive()
            if not data:
                return None

    def read_body(self, head: Head, limit_bytes: int, cut_at: int | None = None) -> Body | None:
        """The body; None when it is larger than the limit. Then it was read and thrown away."""
        if head.request.header("expect") == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces = self._chunked() if head.is_chunked else None
        if cut_at is not None:
            _take_and_cut(self._pieces(min(cut_at, head.content_length)) if pieces is None else pieces, cut_at)
        if pieces is not None:
            return self._spool(pieces, limit_bytes)
        if head.content_length > limit_bytes:
            self._throw_away(head.content_length)
            return None
        if head.content_length > IN_MEMORY_BYTES:
            return self._to_file(head.content_length)
        return _in_memory(self._exactly(head.content_length))

    def send(
        self, head: Head | None, response: Response, *, cut_at: int | None = None, bytes_per_s: float | None = None
    ) -> None:
        sender = _Sender(self._socket, cut_at, bytes_per_s)
        body = response.body
        sender.send(_head_bytes(response))
        if head is not None and head.request.method == "HEAD":
            return
        if isinstance(body, bytes):
            sender.send(body)
        elif isinstance(body, FilePart):
            sender.send_file(body)
        else:
            for piece in body:
                sender.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            sender.send(b"0\r\n\r\n")

    def is_abandoned(self) -> bool:
        """Whether the client has closed its side already."""
        readable, _, _ = select.select([self._socket], [], [], CLOSE_WAIT_S)
        return bool(readable) and not self._socket.recv(1, socket.MSG_PEEK)

    def reset(self) -> None:
        """Ends the connection the hard way: what was sent and not yet read is lost, too."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(HEAD_READ_BYTES)
        except OSError as error:
            raise ConnectionCut from error

    def _chunked(self) -> Iterator[bytes]:
        # The parser kept what followed the head.
        self._rest = b""
        while True:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise ConnectionCut from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._rest = self._parser.trailing_data[0]
                return
            else:
                data = self._receive()
                if not data:
                    raise ConnectionCut
                self._parser.receive_data(data)

    def _spool(self, pieces: Iterator[bytes], limit_bytes: int) -> Body | None:
        """A body whose length nobody knows before: written to a file, and brought back if it is small."""
        path = _new_file(self._bodies)
        size_bytes = 0
        with path.open("wb") as file:
            for piece in pieces:
                size_bytes += len(piece)
                if size_bytes <= limit_bytes:
                    file.write(piece)
        body = Body(path=path, size_bytes=size_bytes)
        if size_bytes > limit_bytes:
            body.discard()
            return None
        if size_bytes > IN_MEMORY_BYTES:
            return body
        small = _in_memory(path.read_bytes())
        body.discard()
        return small

    def _exactly(self, size_bytes: int) -> bytes:
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        buffer = bytearray(size_bytes)
        buffer[: len(taken)] = taken
        self._receive_into(memoryview(buffer)[len(taken) :])
        return bytes(buffer)

    def _to_file(self, size_bytes: int) -> Body:
        path = _new_file(self._bodies)
        try:
            with path.open("wb", buffering=0) as file:
                for piece in self._pieces(size_bytes):
                    file.write(piece)
        except BaseException:
            path.unlink()
            raise
        return Body(path=path, size_bytes=size_bytes)

    def _pieces(self, size_bytes: int) -> Iterator[memoryview]:
        """Views of one buffer that is used again and again."""
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        yield memoryview(taken)
        left, buffer = size_bytes - len(taken), memoryview(bytearray(CHUNK_BYTES))
        while left:
            count = self._receive_some(buffer[:left])
            yield buffer[:count]
            left -= count

    def _receive_into(self, target: memoryview) -> None:
        while target:
            target = target[self._receive_some(target) :]

    def _receive_some(self, target: memoryview) -> int:
        try:
            count = self._socket.recv_into(target)
        except OSError as error:
            raise ConnectionCut from error
        if not count:
            raise ConnectionCut
        return count

    def _throw_away(self, size_bytes: int) -> None:
        # A client that still sends would not see the answer if we closed on it.
        self._socket.settimeout(DRAIN_TIMEOUT_S)
        for _ in self._pieces(size_bytes):
            pass
        self._socket.settimeout(None)


class _Sender:
    """Counts bytes, so that an answer can end at any of them, and can be slow."""

    def __init__(self, client: socket.socket, cut_at: int | None, bytes_per_s: float | None) -> None:
        self._socket = client
        self._left = cut_at
        self._bytes_per_s = bytes_per_s

    def send(self, data: bytes) -> None:
        piece = data if self._left is None else data[: self._left]
        self._send_at_speed(piece)
        if self._left is None:
            return
        self._left -= len(piece)
        if not self._left:
            raise AnswerCut

    def send_file(self, part: FilePart) -> None:
        with part.path.open("rb") as file:
            if self._left is None and self._bytes_per_s is None:
                self._guarded(lambda: self._socket.sendfile(file, 0, part.size_bytes) if part.size_bytes else 0)
                return
            left = part.size_bytes
            while left:
                piece = file.read(min(left, CHUNK_BYTES))
                self.send(piece)
                left -= len(piece)

    def _send_at_speed(self, data: bytes) -> None:
        if self._bytes_per_s is None:
            self._guarded(lambda: self._socket.sendall(data))
            return
        step = max(1, int(self._bytes_per_s / 20))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._guarded(partial(self._socket.sendall, piece))
            time.sleep(len(piece) / self._bytes_per_s)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            raise ConnectionCut from error


def _head(event: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for name, value in event.headers:
        key = name.decode("ascii").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    path, _, query = event.target.decode("latin-1").partition("?")
    lists = parse_qs(query, keep_blank_values=True)
    request = Request(
        method=event.method.decode("ascii"),
        path=unquote(path).rstrip("/") or "/",
        query={name: values[-1] for name, values in lists.items()},
        query_lists=lists,
        raw_query=query,
        headers=headers,
        id=new_id("req"),
    )
    is_chunked = "chunked" in headers.get("transfer-encoding", "")
    is_last = headers.get("connection", "").lower() == "close" or event.http_version == b"1.0"
    return Head(request, int(headers.get("content-length", 0)), is_chunked, is_last)


def _head_bytes(response: Response) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Error')}"]
    if response.content_type is not None:
        lines.append(f"content-type: {response.content_type}")
    if isinstance(response.body, bytes):
        lines.append(f"content-length: {len(response.body)}")
    elif isinstance(response.body, FilePart):
        lines.append(f"content-length: {response.body.size_bytes}")
    else:
        lines.append("transfer-encoding: chunked")
    lines.extend(f"{name}: {value}" for name, value in response.headers.items())
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _take_and_cut(pieces: Iterator[bytes] | Iterator[memoryview], size_bytes: int) -> None:
    for piece in pieces:
        size_bytes -= len(piece)
        if size_bytes <= 0:
            break
    raise ConnectionCut


def _in_memory(content: bytes) -> Body:
    return Body(content=content, size_bytes=len(content))


def _new_file(folder: Path) -> Path:
    handle, name = mkstemp(prefix="incoming-", dir=folder)
    os.close(handle)
    return Path(name)
