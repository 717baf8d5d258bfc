"""Answers from another server that speaks the Messages API: a batch API for a local model that has none."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from batchforge.emulator.answers import Answer, Params, finish
from batchforge.emulator.api_fault import TYPE_OF_STATUS, ApiFault, fault_of_status, fault_of_type, internal
from batchforge.emulator.models import EmulatedModel

DEFAULT_TIMEOUT_S = 600.0
_API_VERSION = "2023-06-01"
# What concerns this server and its bill, not the model behind it.
_KEPT_HERE = frozenset({"stream", "service_tier", "inference_geo", "speed", "diagnostics", "metadata"})


class UpstreamAnswers:
    """Passes each request on. What the other server refuses is refused here in the same words."""

    def __init__(
        self, base_url: str, *, api_key: str = "", model: str = "", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"not an http or https address: {base_url}")
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname, url.port
        self._path = f"{url.path.rstrip('/').removesuffix('/v1')}/v1/messages"
        self._api_key, self._model, self._timeout_s = api_key, model, timeout_s
        # A connection serves one request at a time, and many threads may ask.
        self._own = threading.local()
        self._open: set[http.client.HTTPConnection] = set()

    def answer(self, params: Params, model: EmulatedModel, custom_id: str | None) -> Answer | ApiFault:
        if params["max_tokens"] == 0:
            return Answer((), "max_tokens", 0)
        sent = {key: value for key, value in params.items() if key not in _KEPT_HERE}
        if self._model:
            sent["model"] = self._model
        try:
            status, body = self._post(json.dumps(sent).encode())
        except TimeoutError:
            return fault_of_type("timeout_error", f"the upstream server did not answer within {self._timeout_s:g} s")
        except (OSError, http.client.HTTPException) as error:
            return internal(f"the upstream server could not be reached: {error or type(error).__name__}")
        return _read_response(status, body, params, model)

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._open:
            self._open.pop().close()

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """One POST on this thread's connection; on a fresh one if the server had closed it meanwhile."""
        reused = getattr(self._own, "connection", None)
        if reused is not None:
            try:
                return self._exchange(reused, body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                pass
        return self._exchange(self._connect(), body)

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        headers = {"content-type": "application/json", "anthropic-version": _API_VERSION}
        if self._api_key:
            headers |= {"x-api-key": self._api_key, "authorization": f"Bearer {self._api_key}"}
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            self._drop(connection)
            raise

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        self._own.connection = connection
        self._open.add(connection)
        return connection

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._open.discard(connection)
        self._own.connection = None


def _read_response(status: int, body: bytes, params: Params, model: EmulatedModel) -> Answer | ApiFault:
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if status != 200:
        return _fault(status, message, body)
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return internal("the upstream server answered with something that is not a message")
    return _answer(message, params, model)


def _fault(status: int, message: Any, body: bytes) -> ApiFault:
    error = message.get("error") if isinstance(message, dict) else None
    if not isinstance(error, dict):
        return fault_of_status(status, body[:500].decode("utf-8", "replace") or f"HTTP {status} without a body")
    text, kind = str(error.get("message", "")), error.get("type")
    if kind in TYPE_OF_STATUS.values():
        return ApiFault(status, str(kind), text)
    return fault_of_status(status, text)


def _answer(message: Mapping[str, Any], params: Params, model: EmulatedModel) -> Answer:
    content = message["content"]
    usage = message.get("usage") or {}
    if not isinstance(usage.get("output_tokens"), int):
        return finish(content, params, model, stop_reason=message.get("stop_reason"))
    details = usage.get("output_tokens_details") or {}
    return Answer(
        content,
        message.get("stop_reason") or "end_turn",
        usage["output_tokens"],
        int(details.get("thinking_tokens") or 0),
        message.get("stop_sequence"),
        message.get("stop_details"),
    )
