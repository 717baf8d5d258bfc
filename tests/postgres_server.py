"""A real PostgreSQL server of a test run's own: a fresh cluster in a private folder, on a socket and a port of its own.

As root the server runs as the user `postgres`, since it refuses to be root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

PASSWORD = "geheim"
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    port: int
    folder: Path
    process_id: int

    @property
    def url(self) -> str:
        """Of the first database; without the password."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def state_url(self, schema: str, password: str = PASSWORD) -> str:
        """Of a state in a schema of its own, with the password."""
        return f"postgresql://tester:{password}@127.0.0.1:{self.port}/postgres?schema={schema}"

    def new_database(self) -> str:
        """The URL of an empty database, with the password."""
        import psycopg

        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        with psycopg.connect(self.url, password=PASSWORD, autocommit=True) as database:
            database.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/{name}"


def programs() -> Path:
    """The folder of `initdb` and `postgres`; Debian keeps them out of the way."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert folders, "PostgreSQL's server is needed: apt-get install postgresql"
    return folders[-1]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="batchforge-postgres-"))
    user = _owner(folder)
    try:
        _make_cluster(folder, user)
        port = _free_port()
        command = [str(programs() / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=60", "timezone=Europe/Berlin"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *(word for each in settings for word in ("-c", each))],
                stdout=log,
                stderr=log,
                cwd=folder,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
            )
        try:
            _wait_until_ready(port, process, folder / "log")
            yield PostgresServer(port, folder, process.pid)
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(folder: Path) -> str | None:
    """Whom the server runs as; None for whoever runs the tests."""
    if os.getuid() != 0:
        return None
    entry = pwd.getpwnam("postgres")
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return "postgres"


def _make_cluster(folder: Path, user: str | None) -> None:
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o644)
    words = ["-D", str(folder / "data"), "-U", "tester", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run(
        [str(programs() / "initdb"), *words, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
    )


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"postgresql://tester@127.0.0.1:{port}/postgres", password=PASSWORD).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
