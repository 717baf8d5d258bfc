"""`postgresql://user:password@host:port/database?schema=name` -> what psycopg is handed, part by part.

Taken apart here and not by libpq, whose addresses can name another host behind a harmless one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from batchforge.errors import StateError
from batchforge.nearest import did_you_mean
from batchforge.target import checked_state_host

SCHEMA = "batchforge"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_PASSED_ON = ("sslmode", "sslrootcert", "connect_timeout", "application_name")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    shown: str
    """Without the password."""
    schema: str
    parameters: Mapping[str, Any] = field(repr=False)
    """Keywords of `psycopg.connect`. They hold the password."""


def read_address(url: str) -> PostgresAddress:
    """
    Raises:
        StateError: BF510 this is not such an address. ProjectError: BF135 the host is not allowed.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _not_an_address("It cannot be taken apart.") from None
    _check(host, parts.path, query)
    checked_state_host(host)
    schema = query.pop("schema", SCHEMA)
    names = {
        "host": host,
        "port": port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    shown_user = f"{parts.username}@" if parts.username else ""
    shown_port = f":{port}" if port else ""
    shown = f"postgresql://{shown_user}{parts.hostname or ''}{shown_port}{parts.path}"
    if schema != SCHEMA:
        shown += f"?schema={schema}"
    return PostgresAddress(shown, schema, {name: value for name, value in {**names, **query}.items() if value})


def _check(host: str, path: str, query: Mapping[str, str]) -> None:
    if "," in host or "/" in path.removeprefix("/"):
        raise _not_an_address("It names one host and one database.")
    for name in query:
        if name not in (*_PASSED_ON, "schema"):
            near = did_you_mean(name, [*_PASSED_ON, "schema"])
            raise _not_an_address(f"`{name}` cannot be set in it. {near}".rstrip())
    if not _SCHEMA_NAME.fullmatch(query.get("schema", SCHEMA)):
        raise _not_an_address("A schema has a name of lower-case letters, digits and underscores.")


def _not_an_address(reason: str) -> StateError:
    return StateError(
        "BF510",
        f"the state's address is not one of a PostgreSQL database. {reason}",
        hint="Write postgresql://user:{{ env_var('STATE_PASSWORD') }}@host:5432/database, and ?schema=name where "
        "several states share a database. Special characters in a password are written as %40.",
    )
