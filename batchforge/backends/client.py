"""The SDK client that all backends share, and what its errors mean for money: rejected, uncertain or unavailable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2

from batchforge.backends.base import BatchGone, Connection, Rejected, Unavailable, Uncertain
from batchforge.errors import ApiError

NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Failures before the first byte of a request: surely not accepted."""


def make_client(connection: Connection) -> anthropic.Anthropic:
    """A client that never repeats a request by itself and never follows a redirect with our credentials."""
    headers = dict(connection.headers)
    if connection.anthropic_version:
        headers["anthropic-version"] = connection.anthropic_version
    timeout = httpx2.Timeout(connection.timeout_s, connect=min(10.0, connection.timeout_s))
    return anthropic.Anthropic(
        api_key=connection.api_key or None,  # None: the SDK looks for the credentials of the runner itself
        base_url=connection.base_url,
        default_headers=headers,
        max_retries=0,
        timeout=timeout,
        http_client=anthropic.DefaultHttpxClient(follow_redirects=False, timeout=timeout),
    )


@contextmanager
def spending() -> Iterator[None]:
    """Around a request that costs: what failed surely becomes `Rejected`, everything else `Uncertain`."""
    try:
        yield
    except anthropic.APIStatusError as exc:
        if _is_surely_refused(exc):
            raise Rejected(
                describe(exc),
                status=exc.status_code,
                retry_after_s=retry_after_s(exc.response.headers),
                is_final=not may_pass_later(exc),
            ) from exc
        raise Uncertain(describe(exc)) from exc
    except anthropic.APIConnectionError as exc:
        if isinstance(exc.__cause__, NOTHING_SENT):
            raise Rejected(f"cannot connect: {exc.__cause__}", status=None, retry_after_s=None, is_final=False) from exc
        raise Uncertain(f"the connection broke: {type(exc.__cause__ or exc).__name__} {exc.__cause__ or exc}") from exc
    except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError, ValueError) as exc:
        # The answer came, in whole or in part, but could not be read: it may well have been a yes.
        raise Uncertain(f"the answer cannot be read: {type(exc).__name__}: {exc}") from exc


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around a request that costs nothing.

    Raises:
        ApiError: the credentials are refused.
        BatchGone: there is no such batch (any more).
        Unavailable: ask again later.
    """
    try:
        yield
    except (anthropic.AuthenticationError, anthropic.PermissionDeniedError) as exc:
        raise credentials_refused(what, describe(exc)) from exc
    except anthropic.NotFoundError as exc:
        raise BatchGone(describe(exc)) from exc
    except anthropic.APIStatusError as exc:
        raise Unavailable(describe(exc), retry_after_s(exc.response.headers)) from exc
    except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError) as exc:
        raise Unavailable(f"{type(exc.__cause__ or exc).__name__}: {exc.__cause__ or exc}") from exc


def credentials_refused(what: str, message: str) -> ApiError:
    return ApiError(
        "BF601",
        f"the API refused the credentials ({what}): {message}",
        hint="Check the target's `api_key` and workspace. What is in flight stays there and can be collected later.",
    )


def describe(exc: anthropic.APIStatusError) -> str:
    """Status, type and message as the API gave them; never a header, so never a key."""
    error = error_body(exc)
    if error is None:
        return f"HTTP {exc.status_code}"
    return f"HTTP {exc.status_code} {error.get('type', '')}: {error.get('message', '')}"


def retry_after_s(headers: Any) -> float | None:
    """Seconds of a retry-after header; dates and nonsense count as none."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def error_body(exc: anthropic.APIStatusError) -> dict[str, Any] | None:
    body = exc.body
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _is_surely_refused(exc: anthropic.APIStatusError) -> bool:
    # 413 comes from the edge, before the API, often without an API error in its body.
    if exc.status_code == 413:
        return True
    return (400 <= exc.status_code < 500 or exc.status_code == 529) and error_body(exc) is not None


def may_pass_later(exc: anthropic.APIStatusError) -> bool:
    details = (error_body(exc) or {}).get("details") or {}
    if details.get("error_code") == "enforced_spend_limit_reached":
        return False
    return exc.status_code in {409, 429, 529}
