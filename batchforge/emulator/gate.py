"""Who is let in: a key, a known API version; and what the request's headers say about workspace and betas."""

from __future__ import annotations

from dataclasses import dataclass

from batchforge.emulator.api_fault import authentication, invalid_request
from batchforge.emulator.http_messages import Refused, Request

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
DEFAULT_WORKSPACE = "wrkspc_01EmuLatorDefau1tWorkspace"


@dataclass(frozen=True, slots=True)
class Caller:
    workspace: str
    api_version: str
    betas: frozenset[str]


def let_in(request: Request, api_keys: frozenset[str] | None) -> Caller:
    """Without a list of keys any key is good, but there must be one."""
    key = _key(request)
    if not key:
        raise Refused(authentication("x-api-key header is required"))
    if api_keys is not None and key not in api_keys:
        raise Refused(authentication())
    return Caller(
        workspace=request.header("anthropic-workspace-id") or DEFAULT_WORKSPACE,
        api_version=_version(request),
        betas=frozenset(beta.strip() for beta in (request.header("anthropic-beta") or "").split(",") if beta.strip()),
    )


def _key(request: Request) -> str:
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.header("x-api-key") or ""


def _version(request: Request) -> str:
    version = request.header("anthropic-version")
    if not version:
        raise Refused(invalid_request("anthropic-version: header is required"))
    if version not in VERSIONS:
        raise Refused(invalid_request(f'anthropic-version: "{version}" is not a valid version'))
    return version
