"""One target of batchforge.yml: its address, key, origin, state and outputs, each resolved only when asked for."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from batchforge.errors import Location, ProjectError
from batchforge.nearest import did_you_mean

Mode = Literal["batch", "sync"]
"""How requests reach Claude: in batches at half price, or one by one at once. Never part of what is asked."""

STATE_SCHEMES = ("sqlite", "postgresql", "file", "s3", "gs", "az")
"""How the address of a state can begin."""
CLAUDE_URL = "https://api.anthropic.com"
CLAUDE_HOST = "api.anthropic.com"
ANTHROPIC_VERSION = "2026-10-21"
FEDERATION = ("ANTHROPIC_FEDERATION_RULE_ID", "ANTHROPIC_ORGANIZATION_ID")
"""Variables by which the SDK exchanges the runner's own identity for a token that soon ends."""
KEY_HEADERS = frozenset({"authorization", "x-api-key"})

ENV_VAR = re.compile(
    r"""\{\{-?\s*env_var\(\s*(?P<q>['"])(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P=q)\s*"""
    r"""(?:,\s*(?P<dq>['"])(?P<default>.*?)(?P=dq)\s*)?\)\s*-?\}\}"""
)
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/\[\]%-]+")


class HasRoot(Protocol):
    @property
    def root(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Who answers: an emulator's answers and Claude's, or two workspaces', are never mixed."""

    kind: Literal["emulator", "claude"]
    host: str
    workspace: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.host, self.workspace) if part)

    @property
    def slug(self) -> str:
        """A name for files: the same for the same origin, always; different for different ones, also in lower case."""
        plain = "-".join(part for part in (self.kind, self.host, self.workspace) if part)
        safe = re.sub(r"[^a-z0-9._-]", "_", plain.lower())
        if safe == plain and not self.workspace:
            return safe
        exact = "\n".join((self.kind, self.host, self.workspace))
        return f"{safe[:80]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Target:
    """A place to run against. Values may hold `{{ env_var('NAME') }}`; they are resolved only when asked for."""

    name: str
    type: Literal["emulator", "claude"]
    settings: Mapping[str, Any]
    """As written in batchforge.yml (checked against the schema, templates unresolved)."""
    location: Location | None = None

    def api_key(self) -> str:
        """The key; empty where the runner's own identity is exchanged for a token.

        The address is checked first: a key or an identity goes only where this machine's owner lets it go.
        """
        self.base_url()
        if "api_key" in self.settings:
            return self._text("api_key")
        if not os.environ.get("ANTHROPIC_API_KEY") and all(map(os.environ.get, FEDERATION)):
            return ""
        return self._env("ANTHROPIC_API_KEY", None)

    def base_url(self) -> str:
        if self.type == "emulator":
            raise ValueError("an embedded emulator has an address only while it runs")
        if "base_url" not in self.settings:
            return CLAUDE_URL
        try:
            return checked_base_url(self._text("base_url"), self.location)
        except ProjectError as exc:
            raise self._without_values(exc, "base_url") from None

    def origin(self) -> Origin:
        """Needs no key. Each emulator target is an origin of its own, since its scenario shapes the answers."""
        if self.type == "emulator":
            return Origin("emulator", self.name)
        parts = urlsplit(self.base_url())
        port = f":{parts.port}" if parts.port and parts.port != _default_port(parts.scheme) else ""
        return Origin("claude", f"{parts.hostname}{port}", self.workspace_id or "")

    def state_url(self, project: HasRoot) -> str:
        """`sqlite:///` and an absolute path, or another store's address. It may hold a password."""
        root = project.root.absolute()
        if "state" not in self.settings:
            return f"sqlite:///{root}/.batchforge/state-{self.origin().slug}.db"
        return placed_url(self._text("state"), root)

    @property
    def outputs_dir(self) -> str:
        """Project-relative. Emulated outputs never lie where real ones do."""
        return f"target/{self.name}" if self.type == "emulator" else normal_folder(self.settings.get("outputs", "."))

    @property
    def workspace_id(self) -> str | None:
        return self._text("workspace_id") if "workspace_id" in self.settings else None

    @property
    def anthropic_version(self) -> str:
        return str(self.settings.get("anthropic_version", ANTHROPIC_VERSION))

    @property
    def betas(self) -> tuple[str, ...]:
        return tuple(self.settings.get("betas", ()))

    def headers(self) -> dict[str, str]:
        return {name: self._resolved(value) for name, value in self.settings.get("headers", {}).items()}

    @property
    def timeout_s(self) -> float:
        return float(self.settings.get("timeout_s", 60 if self.type == "emulator" else 600))

    @property
    def settle_after_s(self) -> float:
        """What an embedded emulator does not list, it did not take; the real API gets 15 minutes."""
        return float(self.settings.get("settle_after_s", 1 if self.type == "emulator" else 900))

    @property
    def poll_interval_s(self) -> float:
        return float(self.settings.get("poll_interval_s", 0.2 if self.type == "emulator" else 10))

    @property
    def mode(self) -> Mode | None:
        """How requests are delivered, where neither the command nor the job says it."""
        mode: Mode | None = self.settings.get("mode")
        return mode

    @property
    def concurrency(self) -> int:
        """Sync: how many requests are under way at the same time."""
        return int(self.settings.get("concurrency", 8))

    @property
    def asks_when_uncertain(self) -> bool:
        return bool(self.settings.get("on_uncertain", "resend") == "ask")

    @property
    def ask_above_usd(self) -> float:
        return float(self.settings.get("ask_above_usd", 10))

    @property
    def max_in_flight_requests(self) -> int | None:
        return self.settings.get("max_in_flight_requests")

    @property
    def deletes_remote(self) -> bool:
        """Whether batches are deleted at the API once their results are stored."""
        return bool(self.settings.get("delete_remote", "never") == "after_collect")

    @property
    def keeps_prompts(self) -> bool:
        """Whether state remembers what was asked, word by word."""
        return bool(self.settings.get("store_prompts", True))

    @property
    def may_upload(self) -> bool:
        """Whether documents may be kept by the API's Files endpoint; else each stands in its request."""
        return bool(self.settings.get("uploads", "auto") == "auto")

    @property
    def retention_days(self) -> int | None:
        """How long answers are kept that serve no row any more; None: until they are pruned."""
        return self.settings.get("retention_days")

    @property
    def processing_s(self) -> float:
        """Emulator: how long a batch takes."""
        return float(self.settings.get("processing_s", 0))

    @property
    def scenario(self) -> str | None:
        """Emulator: the project-relative path of the file that says how it behaves."""
        return self.settings.get("scenario")

    def _without_values(self, exc: ProjectError, setting: str) -> ProjectError:
        """What is wrong with a value, without what it takes from the environment: that may be a key."""
        written, code = str(self.settings[setting]), exc.problems[0].code
        if "{{" not in written or code == "BF132":
            return exc
        message = f"`{setting}: {written}`, with the environment as it is, is not an address that may be used."
        hint = "It must be a plain https address, of a host that BATCHFORGE_ALLOWED_HOSTS names in your environment."
        return ProjectError(code, message, hint=hint, location=self.location)

    def _text(self, setting: str) -> str:
        return self._resolved(self.settings[setting])

    def _resolved(self, text: str) -> str:
        return ENV_VAR.sub(lambda match: self._env(match["name"], match["default"]), text)

    def _env(self, name: str, default: str | None) -> str:
        value = os.environ.get(name) or default
        if value is not None:
            return value
        raise ProjectError(
            "BF132",
            f"The target `{self.name}` needs the environment variable {name}, which is not set.",
            hint=f"Set it in your shell (export {name}=...), or choose another target with --target.",
            location=self.location,
        )


def placed_url(url: str, root: Path) -> str:
    """The address of a state, its path relative to a project's folder made absolute."""
    if not url.startswith("sqlite:///"):
        return url
    return f"sqlite:///{root.absolute() / url.removeprefix('sqlite:///')}"


def resolve_env(text: str, setting: str, location: Location | None = None) -> str:
    """The text with the values of its `{{ env_var('NAME') }}`.

    Raises:
        ProjectError: BF132 one of them is not set.
    """

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match["name"]) or match["default"]
        if value is None:
            message = f"`{setting}` needs the environment variable {match['name']}, which is not set."
            hint = f"Set it in your shell: export {match['name']}=..."
            raise ProjectError("BF132", message, hint=hint, location=location)
        return str(value)

    return ENV_VAR.sub(value_of, text)


def checked_base_url(url: str, location: Location | None = None) -> str:
    """The address, if a key may be sent there: Claude's own host, this machine, or a host that is allowed outside."""
    parts = checked_url(url, location)
    host = (parts.hostname or "").lower()
    allowed = {item.strip().lower() for item in os.environ.get("BATCHFORGE_ALLOWED_HOSTS", "").split(",")}
    if host == CLAUDE_HOST or is_loopback(host) or {host, f"{host}:{parts.port}"} & allowed:
        return url.rstrip("/")
    hint = f"If you trust it, set BATCHFORGE_ALLOWED_HOSTS={host} in your own environment."
    near = did_you_mean(host, [CLAUDE_HOST])
    raise ProjectError(
        "BF135",
        f"The host `{host}` is not one that keys and prompts may be sent to.",
        hint=f"{near} {hint}".strip(),
        location=location,
    )


def checked_state_host(host: str, location: Location | None = None) -> None:
    """
    Raises:
        ProjectError: BF135 the host, which will hold prompts and answers, was not allowed outside the repository.
    """
    allowed = {item.strip().lower() for item in os.environ.get("BATCHFORGE_ALLOWED_HOSTS", "").split(",")}
    if not host or is_loopback(host.lower()) or host.lower() in allowed:
        return
    raise ProjectError(
        "BF135",
        f"The host `{host}` is not one that keys and prompts may be sent to.",
        hint=f"If you trust it with the state, set BATCHFORGE_ALLOWED_HOSTS={host} in your own environment.",
        location=location,
    )


def checked_url(url: str, location: Location | None = None) -> Any:
    """The address's parts, if it is a plain http(s) address and encrypted on the way to other machines."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host = ""
    if not host or not _URL_CHARACTERS.fullmatch(url) or parts.scheme not in ("http", "https"):
        hint = "Write scheme, host and path only, e.g. https://api.anthropic.com."
        raise ProjectError("BF134", "This is not the address of a server.", hint=hint, location=location)
    if parts.scheme == "http" and not is_loopback(host):
        hint = "Use https. Plain http is for this machine only: it would show the key to everyone on the way."
        raise ProjectError("BF134", f"`{host}` would be reached without encryption.", hint=hint, location=location)
    return parts


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def normal_folder(folder: str) -> str:
    return "/".join(part for part in folder.split("/") if part not in ("", ".")) or "."


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
