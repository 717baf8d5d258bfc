"""`connections:` of batchforge.yml -> databases by name. Address and password are resolved only when one is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import Location, ProblemList, ProjectError
from batchforge.source_tree import SourceTree
from batchforge.target import ENV_VAR, is_loopback, resolve_env

EMBEDDED_URL = "duckdb://"
"""A connection of this URL is the private DuckDB over the declared sources, as is an input without any."""
FILE_SCHEMES = frozenset({"sqlite", "duckdb"})
_URL_HINT = "Write e.g. postgresql://user@host:5432/database, sqlite:///file.db or duckdb:///file.duckdb."


@dataclass(frozen=True, slots=True)
class Connection:
    """Values may hold `{{ env_var('NAME') }}`."""

    name: str
    url: str
    password: str | None = None
    timeout_s: float = 300.0
    location: Location | None = None

    def resolve(self) -> DatabaseUrl:
        """
        Raises:
            ProjectError: BF132 a variable is not set, BF134 it is no URL, BF135 its host is not allowed.
        """
        text = resolve_env(self.url, f"connections.{self.name}", self.location)
        parts = _split(text, self.location)
        is_owners = _is_from_environment(self.url)
        if not is_owners:
            _check_place(parts, self.location)
        password = resolve_env(self.password, f"connections.{self.name}", self.location) if self.password else None
        return DatabaseUrl(parts.scheme, text, password or parts.password, is_owners)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is; holds secrets, so it is shown only through `without_secrets`."""

    scheme: str
    """The dialect, e.g. postgresql or mysql+pymysql."""
    text: str = field(repr=False)
    password: str | None = field(repr=False)
    is_owners: bool = False
    """Whether the whole URL comes from the environment, so that it may name any place."""

    @property
    def dialect(self) -> str:
        return self.scheme.split("+")[0]

    @property
    def file(self) -> str:
        """Of sqlite and duckdb: the path behind the three slashes."""
        return unquote(urlsplit(self.text).path.removeprefix("/"))

    def local_file(self, tree: SourceTree) -> Path:
        """Of sqlite and duckdb: below the project, unless the URL comes from the environment.

        Raises:
            ProjectError: BF122, BF123 it lies elsewhere.
        """
        return Path(self.file) if self.is_owners and self.file.startswith("/") else tree.local_path(self.file)

    def without_secrets(self, message: str) -> str:
        """A driver's message, in which neither the URL nor the password stands any more."""
        for secret in (self.text, self.password, unquote(self.password or "")):
            if secret:
                message = message.replace(secret, "***")
        return message


def read_connections(entries: Mapping[str, ConfigNode], problems: ProblemList) -> dict[str, Connection]:
    for node in entries.values():
        _check_templates(node, problems)
        _check_no_password(node, problems)
    return {name: _read_connection(name, node) for name, node in entries.items()}


def _read_connection(name: str, node: ConfigNode) -> Connection:
    password = node.get("password")
    return Connection(
        name=name,
        url=node["url"].value,
        password=password.value if password is not None else None,
        timeout_s=float(node["timeout_s"].value) if "timeout_s" in node else 300.0,
        location=node.key_location,
    )


def _check_templates(node: ConfigNode, problems: ProblemList) -> None:
    for child in node.entries.values():
        if child.kind == "text" and ("{{" in ENV_VAR.sub("", child.value) or "{%" in child.value):
            hint = "Write \"{{ env_var('NAME') }}\" or \"{{ env_var('NAME', 'default') }}\"."
            problems.add("BF131", "Only env_var can be used in a connection.", location=child.location, hint=hint)


def _check_no_password(node: ConfigNode, problems: ProblemList) -> None:
    """A password in the file is a secret in git."""
    url, password = node["url"], node.get("password")
    try:
        parts = urlsplit(ENV_VAR.sub("env", url.value))
        is_bare = "{{" not in url.value and bool(parts.password) and not is_loopback(parts.hostname or "")
    except ValueError:
        is_bare = False
    hint = "Write password: \"{{ env_var('NAME') }}\" and set that in your shell. Change one that was committed."
    for child in (url if is_bare else None, password if password is not None and "{{" not in password.value else None):
        if child is not None:
            location = Location(child.source.path, child.line, child.column)
            problems.add("BF136", "The password stands in the file.", location=location, hint=hint)


def _split(text: str, location: Location | None) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port if "," not in parts.netloc else None
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if not parts.scheme or "://" not in text:
        # The text may be a secret, so it is not shown.
        raise ProjectError("BF134", "This is not the URL of a database.", hint=_URL_HINT, location=location)
    return parts


def _is_from_environment(template: str) -> bool:
    """Whether the whole URL comes from a variable: then the owner of this machine has chosen the host."""
    match = ENV_VAR.fullmatch(template.strip())
    return match is not None and match["default"] is None


def _check_place(parts: SplitResult, location: Location | None) -> None:
    """A URL that stands in the file leads to this project's files or to an allowed host, whatever its driver takes."""
    dialect, _, driver = parts.scheme.partition("+")
    hosts = list(_hosts(parts))
    can_lead_anywhere = driver and dialect in FILE_SCHEMES
    is_veiled = dialect not in {*FILE_SCHEMES, "postgresql", "postgres"} and (not hosts or parts.query)
    if can_lead_anywhere or is_veiled:
        hint = "Let the whole url come from your own environment: url: \"{{ env_var('NAME') }}\"."
        message = "It cannot be told from this URL which file or host it leads to."
        raise ProjectError("BF135", message, hint=hint, location=location)
    for host in hosts:
        _check_host(host, location)


def _hosts(parts: SplitResult) -> Iterator[str]:
    """All hosts that a URL can lead to; a list of them, and libpq's `?host=`, too."""
    if parts.scheme.split("+")[0] in FILE_SCHEMES:
        return
    named = [parts.netloc.rpartition("@")[2]]
    query = parse_qs(parts.query)
    named += [*query.get("host", ()), *query.get("hostaddr", ())]
    for host in ",".join(named).split(","):
        if host and not host.startswith("/"):
            yield (urlsplit(f"//{host}").hostname or "").lower()


def _check_host(host: str, location: Location | None) -> None:
    allowed = {item.strip().lower().split(":")[0] for item in os.environ.get("BATCHFORGE_ALLOWED_HOSTS", "").split(",")}
    if is_loopback(host) or host in allowed:
        return
    raise ProjectError(
        "BF135",
        f"The host `{host}` is not one that passwords and rows may be sent to.",
        hint=f"If you trust it, set BATCHFORGE_ALLOWED_HOSTS={host} in your own environment, "
        "or let the whole url come from there: url: \"{{ env_var('NAME') }}\".",
        location=location,
    )
