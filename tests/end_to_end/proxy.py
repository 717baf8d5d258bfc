"""A TCP proxy that knows nothing of HTTP: it passes bytes on, and cuts the connection at the n-th one."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

Way = Literal["up", "down"]
"""up: to the server. down: back to the client."""


@dataclass(frozen=True, slots=True)
class Cut:
    way: Way
    at_byte: int
    """So many bytes are passed on in this way, over all connections, and no more."""
    is_reset: bool = False
    """True: the client sees a reset. False: an end."""
    silent_s: float = 0.0
    """For so long the connection stays open, and nothing comes."""


class CuttingProxy:
    def __init__(self, port: int) -> None:
        """Passes on to a server on this machine."""
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._open: set[socket.socket] = set()
        self.passed: dict[Way, int] = {"up": 0, "down": 0}
        self.cuts = 0
        _thread(self._accept)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def arm(self, cut: Cut | None) -> None:
        """Counts from here on, and cuts once."""
        with self._lock:
            self._cut = cut
            self.passed = {"up": 0, "down": 0}

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for each in left:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            _thread(partial(self._serve, client))

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server_port)) as server:
            with self._lock:
                self._open |= {client, server}
            cut = self._pass_on(client, server)
            with self._lock:
                self._open -= {client, server}
            if cut is not None and cut.is_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass_on(self, client: socket.socket, server: socket.socket) -> Cut | None:
        """Until one of them ends, or the connection is to be cut."""
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return None
                allowed, cut = self._count("up" if source is client else "down", len(data))
                (server if source is client else client).sendall(data[:allowed])
                if cut is not None:
                    time.sleep(cut.silent_s)
                    return cut

    def _count(self, way: Way, size: int) -> tuple[int, Cut | None]:
        """How many of some bytes are passed on, and whether the connection is cut after them."""
        with self._lock:
            before = self.passed[way]
            self.passed[way] += size
            cut = self._cut
            if cut is None or cut.way != way or before + size < cut.at_byte:
                return size, None
            self._cut = None
            self.cuts += 1
            return cut.at_byte - before, cut


def _thread(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()
