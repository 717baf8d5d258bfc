"""The address of a state -> the state, opened by the store that its scheme names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from batchforge.clock import Clock
from batchforge.errors import StateError
from batchforge.nearest import did_you_mean
from batchforge.state.sql_state import SqlState

LOCK_TIMEOUT_S = 30.0
"""How long a write waits for another process's write."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a state is to be opened."""

    read_only: bool = False
    """True: nothing is made or brought up to date."""
    lock_timeout_s: float = LOCK_TIMEOUT_S
    clock: Clock | None = None
    folder: Path | None = None
    """Where a store may keep files of its own on this machine for the next time."""


@dataclass(frozen=True, slots=True)
class Store:
    """One kind of place where a state can be."""

    open: Callable[[str, Opening], SqlState]
    exists: Callable[[str], bool]
    """Whether there is a state at an address. Makes nothing."""


def open_state(url: str, opening: Opening | None = None) -> SqlState:
    """The state at an address; made if there is none, unless it is opened for reading.

    Raises:
        StateError: BF501 newer schema, BF503 damaged or not ours, BF505 not writable, BF509 cannot be reached.
        StateLocked: BF502 another process writes for longer than the lock's timeout.
    """
    return _store_of(url).open(url, opening or Opening())


def state_exists(url: str) -> bool:
    return _store_of(url).exists(url)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite state; None for other kinds."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def scheme_of(url: str) -> str:
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_url(url: str) -> str:
    """The address without a password or anything else that may be one."""
    if sqlite_path(url) is not None:
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{scheme_of(url)}://…"
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{host}{port}{parts.path}"


def _store_of(url: str) -> Store:
    scheme = scheme_of(url)
    if scheme in STORES:
        return STORES[scheme]
    hint = f"{did_you_mean(scheme, STORES)} It can be one of {', '.join(f'{name}://' for name in STORES)}.".strip()
    raise StateError("BF137", f"There is no store for a state at `{scheme}:`.", hint=hint)


def _open_sqlite(url: str, opening: Opening) -> SqlState:
    from batchforge.state.sqlite import SqliteState

    path = Path(url.removeprefix("sqlite:///"))
    return SqliteState(path, read_only=opening.read_only, lock_timeout_s=opening.lock_timeout_s, clock=opening.clock)


def _sqlite_exists(url: str) -> bool:
    return Path(url.removeprefix("sqlite:///")).exists()


def _open_postgres(url: str, opening: Opening) -> SqlState:
    from batchforge.state.postgres import PostgresDatabase

    database = PostgresDatabase(url, read_only=opening.read_only, lock_timeout_s=opening.lock_timeout_s)
    return SqlState(database, opening.clock)


def _postgres_exists(url: str) -> bool:
    from batchforge.state.postgres import postgres_state_exists

    return postgres_state_exists(url)


def _open_objects(url: str, opening: Opening) -> SqlState:
    from batchforge.state.objects.state import open_objects

    return open_objects(
        url,
        opening.folder,
        read_only=opening.read_only,
        lock_timeout_s=opening.lock_timeout_s,
        clock=opening.clock,
    )


def _objects_exist(url: str) -> bool:
    from batchforge.state.objects.state import objects_exist

    return objects_exist(url)


STORES: dict[str, Store] = {
    "sqlite": Store(_open_sqlite, _sqlite_exists),
    "postgresql": Store(_open_postgres, _postgres_exists),
    **{scheme: Store(_open_objects, _objects_exist) for scheme in ("file", "s3", "gs", "az")},
}
