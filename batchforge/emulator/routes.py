"""Method and path -> the endpoint that answers, its name for faults and logs, and how large its body may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from batchforge.emulator import (
    batch_endpoints,
    control_endpoints,
    file_endpoints,
    message_endpoints,
    model_endpoints,
)
from batchforge.emulator.envelope import MAX_BODY_BYTES
from batchforge.emulator.http_messages import Response

MESSAGE_BYTES = message_endpoints.MAX_BODY_BYTES
CONTROL_PREFIX = "/emulator/"
Handler = Callable[..., Response]
"""(application, request, caller, *ids from the path) -> response"""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    body_bytes: int

    @property
    def group(self) -> str:
        """Endpoints that share a rate limit."""
        return self.name.partition(".")[0]

    @property
    def is_control(self) -> bool:
        return self.name.startswith("emulator")


@dataclass(frozen=True, slots=True)
class Match:
    route: Route
    ids: tuple[str, ...]


def _route(name: str, method: str, path: str, handler: Handler, body_bytes: int = MESSAGE_BYTES) -> Route:
    return Route(name, method, re.compile(path.replace("{id}", "([^/]+)")), handler, body_bytes)


ROUTES = (
    _route("batches.create", "POST", "/v1/messages/batches", batch_endpoints.create, MAX_BODY_BYTES),
    _route("batches.list", "GET", "/v1/messages/batches", batch_endpoints.list_batches),
    _route("batches.retrieve", "GET", "/v1/messages/batches/{id}", batch_endpoints.retrieve),
    _route("batches.delete", "DELETE", "/v1/messages/batches/{id}", batch_endpoints.delete),
    _route("batches.cancel", "POST", "/v1/messages/batches/{id}/cancel", batch_endpoints.cancel),
    _route("batches.results", "GET", "/v1/messages/batches/{id}/results", batch_endpoints.results),
    _route("messages", "POST", "/v1/messages", message_endpoints.create),
    _route("count_tokens", "POST", "/v1/messages/count_tokens", message_endpoints.count_tokens),
    _route("models.list", "GET", "/v1/models", model_endpoints.list_page),
    _route("models.retrieve", "GET", "/v1/models/{id}", model_endpoints.retrieve),
    _route("files.upload", "POST", "/v1/files", file_endpoints.upload, file_endpoints.MAX_BODY_BYTES),
    _route("files.list", "GET", "/v1/files", file_endpoints.list_page),
    _route("files.retrieve", "GET", "/v1/files/{id}", file_endpoints.retrieve),
    _route("files.content", "GET", "/v1/files/{id}/content", file_endpoints.content),
    _route("files.delete", "DELETE", "/v1/files/{id}", file_endpoints.delete),
    _route("emulator.clock", "GET", "/emulator/clock", control_endpoints.show_clock),
    _route("emulator.clock", "POST", "/emulator/clock", control_endpoints.move_clock),
    _route("emulator.faults", "GET", "/emulator/faults", control_endpoints.list_faults),
    _route("emulator.faults", "POST", "/emulator/faults", control_endpoints.add_fault),
    _route("emulator.faults", "DELETE", "/emulator/faults", control_endpoints.clear_faults),
    _route("emulator.counters", "GET", "/emulator/counters", control_endpoints.counters),
    _route("emulator.log", "GET", "/emulator/log", control_endpoints.log),
    _route("emulator.reset", "POST", "/emulator/reset", control_endpoints.reset),
)


def find_route(method: str, path: str) -> Match | None:
    for route in ROUTES:
        if route.method == method and (found := route.pattern.fullmatch(path)):
            return Match(route, found.groups())
    return None


def is_known_path(path: str) -> bool:
    return any(route.pattern.fullmatch(path) for route in ROUTES)
