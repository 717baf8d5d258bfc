"""JSON over HTTPS to the API of GitHub or GitLab: paging, rate limits, and refusals as values that a step can tell."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 120.0
_TRIES = 4
_MOST_PAGES = 100


class ForgeRefused(Exception):
    """The API did not do it. `status` is 0 where it was not reached."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}" if status else message)
        self.status, self.message = status, message

    @property
    def is_read_only(self) -> bool:
        """The token may not do this, as that of a pull request from a fork."""
        return self.status in (401, 403)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes to the host that it is meant for, and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class ForgeApi:
    """One API, with its token in the header that it wants."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    sleep: Callable[[float], None] = time.sleep

    def get(self, path: str) -> Any:
        return self._asked("GET", path)[0]

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, page after page."""
        joiner = "&" if "?" in path else "?"
        for page in range(1, _MOST_PAGES + 1):
            items = self.get(f"{path}{joiner}per_page=100&page={page}")
            yield from items
            if len(items) < 100:
                return

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        return self._asked(method, path, body)[0]

    def delete(self, path: str) -> None:
        self._asked("DELETE", path)

    def download(self, path: str) -> bytes:
        """A file. What the API leads to elsewhere is fetched without the token."""
        status, headers, data = self._tried("GET", path, None)
        if status in (301, 302, 303, 307, 308):
            return _fetched(headers.get("Location", ""), self.url)
        if status >= 300:
            raise ForgeRefused(status, _message(data))
        return data

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[Any, Message]:
        status, headers, data = self._tried(method, path, body)
        if status >= 300:
            raise ForgeRefused(status, _message(data))
        return (json.loads(data) if data else None), headers

    def _tried(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Message, bytes]:
        """Waits where the API asks for a pause. Only what surely was not done is done again."""
        for attempt in range(_TRIES):
            status, headers, data = self._once(method, path, body)
            pause_s = _pause_s(status, headers, data, attempt, is_reading=method == "GET")
            if pause_s is None or attempt == _TRIES - 1:
                break
            if pause_s > _LONGEST_PAUSE_S:
                raise ForgeRefused(status, f"asks for a pause of {pause_s:,.0f} s")
            self.sleep(pause_s)
        return status, headers, data

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Message, bytes]:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {**self.headers, **({"Content-Type": "application/json"} if data else {}), "User-Agent": "batchforge"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310 - the runner's
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_S) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.headers, exc.read()
        except (OSError, ValueError) as exc:
            raise ForgeRefused(0, f"{urlsplit(self.url).hostname} was not reached: {type(exc).__name__}") from exc


def _pause_s(status: int, headers: Message, data: bytes, attempt: int, *, is_reading: bool) -> float | None:
    """How long to wait before trying again; None: this is the answer."""
    if status >= 500 and is_reading:
        return float(2**attempt)
    is_limit = status == 429 or (status == 403 and ("Retry-After" in headers or b"rate limit" in data))
    if not is_limit:
        return None
    if "Retry-After" in headers:
        return _number(headers["Retry-After"], 60.0)
    if headers.get("X-RateLimit-Remaining") == "0":
        return max(0.0, _number(headers.get("X-RateLimit-Reset", ""), time.time() + 60.0) - time.time())
    return 15.0 * float(2**attempt)


def _number(text: str, otherwise: float) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return otherwise


def _message(data: bytes) -> str:
    try:
        value = json.loads(data)
        return str(value["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return data[:300].decode("utf-8", "replace")


def _fetched(url: str, api_url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname != urlsplit(api_url).hostname:
        raise ForgeRefused(0, "leads to an address that is not https")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - checked above
            data: bytes = response.read()
            return data
    except (OSError, ValueError) as exc:
        raise ForgeRefused(0, f"{parts.hostname} was not reached: {type(exc).__name__}") from exc
