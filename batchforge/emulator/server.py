"""`EmulatorServer`: the emulator on a port of this machine, in threads of this process."""

from __future__ import annotations

import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from batchforge.emulator.answers import AnswerSource
from batchforge.emulator.application import Application
from batchforge.emulator.clock import ServerClock
from batchforge.emulator.counters import Counters, read_counters
from batchforge.emulator.faults import Faults
from batchforge.emulator.received import Received
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scenario import Scenario
from batchforge.emulator.service import Service

BACKLOG = 512


class EmulatorServer:
    """Starts with `with server:` or `start()`. Without a database it remembers nothing after its end."""

    def __init__(
        self,
        database: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        api_keys: frozenset[str] | None = None,
        scenario: Scenario | None = None,
        answers: AnswerSource | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="batchforge-emulator-")) if database is None else None
        self.database = database if database is not None else self._private_database()
        self.scenario = scenario or Scenario()
        self._host, self._port = host, port
        self._app = Application(self.database, self.scenario, answers or RuleAnswers(), api_keys)
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        host = f"[{self._host}]" if self._family == socket.AF_INET6 else self._host
        return f"http://{host}:{self._port}"

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self._host else socket.AF_INET

    @property
    def clock(self) -> ServerClock:
        return self._app.clock

    @property
    def faults(self) -> Faults:
        return self._app.faults

    def counters(self) -> Counters:
        return read_counters(self._app.store)

    def received(self, endpoint: str | None = None) -> list[Received]:
        """What came in, oldest first; of one endpoint, such as `batches.create`, or of all."""
        return self._app.log.read(endpoint=endpoint)

    def start(self) -> EmulatorServer:
        self._listener = socket.create_server((self._host, self._port), family=self._family, backlog=BACKLOG)
        self._port = self._listener.getsockname()[1]
        self._app.background.start()
        self._thread(self._accept, "emulator-accept")
        return self

    def stop(self) -> None:
        """Open connections are closed; what was stored stays, if a database was given."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _hang_up(client)
        self._app.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> EmulatorServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _private_database(self) -> Path:
        assert self._folder is not None
        return self._folder / "emulator.sqlite"

    def _accept(self) -> None:
        listener, service = self._listener, Service(self._app)
        assert listener is not None
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._clients.add(client)
            self._thread(partial(self._serve, service, client), "emulator-client")

    def _serve(self, service: Service, client: socket.socket) -> None:
        try:
            service.serve(client)
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _thread(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()


def _hang_up(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        logging.getLogger(__name__).debug("a client was gone already")
