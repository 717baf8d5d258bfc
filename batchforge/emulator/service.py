"""Serves one connection: request after request through faults, gate and endpoint, and the answer onto the wire."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from itertools import islice
from random import Random

from batchforge.emulator.api_fault import ApiFault, fault_of_status, internal, not_found, too_large
from batchforge.emulator.application import Application
from batchforge.emulator.connection import AnswerCut, Connection, ConnectionCut, Head
from batchforge.emulator.deviations import deviate
from batchforge.emulator.gate import DEFAULT_WORKSPACE, Caller, let_in
from batchforge.emulator.http_messages import (
    FilePart,
    Refused,
    Request,
    Response,
    fault_response,
    file_lines,
    with_body,
)
from batchforge.emulator.routes import CONTROL_PREFIX, Match, find_route, is_known_path
from batchforge.emulator.scenario import Fault
from batchforge.emulator.store import StoreClosed

NOBODY = Caller(DEFAULT_WORKSPACE, "", frozenset())
HTML = b"<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%d</h1></center>\r\n</body>\r\n</html>\r\n"
REORDERED_LINES = 1000
"""Lines change places within a window of this size, so that results of any size stay a stream."""


class Service:
    def __init__(self, app: Application) -> None:
        self._app = app
        self._deviations = app.scenario.deviations

    def serve(self, client: socket.socket) -> None:
        connection = Connection(client, self._app.store.bodies)
        try:
            while self._one_request(connection):
                pass
        except (ConnectionCut, StoreClosed):
            connection.reset()
        except AnswerCut:
            # Closed the soft way, so that the client sees every byte up to here and none behind it.
            connection.close()
        else:
            connection.close()

    def _one_request(self, connection: Connection) -> bool:
        """Whether the connection can take another."""
        try:
            head = connection.read_head()
        except Refused as refused:
            connection.send(None, fault_response(refused.fault, "", {"connection": "close"}))
            return False
        if head is None:
            return False
        match = find_route(head.request.method, head.request.path)
        name = match.route.name if match is not None else "unknown"
        is_control = head.request.path.startswith(CONTROL_PREFIX)
        fault = None if is_control else self._app.faults.hit(name)
        response, number = self._act(connection, head, match, name, fault)
        self._answer(connection, head, response, number, fault)
        return not head.is_last

    def _act(
        self, connection: Connection, head: Head, match: Match | None, name: str, fault: Fault | None
    ) -> tuple[Response, int | None]:
        """The answer, and the number of its entry in the log."""
        if fault is not None:
            time.sleep(fault.delay_s)
        cut_at = fault.at_byte if fault is not None and fault.kind == "cut_request" else None
        if cut_at is not None:
            self._app.log.add(head.request, name, "cut_request")
        body = connection.read_body(head, match.route.body_bytes if match else 1 << 20, cut_at)
        request = head.request if body is None else with_body(head.request, body)
        number = self._log(request, name, fault)
        if fault is not None and fault.kind == "lose_request":
            raise ConnectionCut
        if fault is not None and fault.kind == "status":
            request.body.discard()
            return _status_response(fault, request), number
        if body is None:
            return fault_response(too_large(), request.id), number
        if name == "batches.create" and "lost_posts_forgotten" in self._deviations and connection.is_abandoned():
            raise ConnectionCut
        response = deviate(self._respond(request, match), name, self._deviations)
        if fault is not None and fault.kind == "lose_answer":
            raise ConnectionCut
        return response, number

    def _log(self, request: Request, name: str, fault: Fault | None) -> int | None:
        if name.startswith("emulator"):
            return None
        return self._app.log.add(request, name, None if fault is None else fault.kind)

    def _respond(self, request: Request, match: Match | None) -> Response:
        headers: dict[str, str] = {}
        try:
            if match is None:
                raise Refused(_no_route(request))
            if match.route.is_control:
                return match.route.handler(self._app, request, NOBODY, *match.ids)
            caller = let_in(request, self._app.api_keys)
            headers["anthropic-workspace-id"] = caller.workspace
            headers |= self._app.limits.take(caller.workspace, match.route.group)
            response = match.route.handler(self._app, request, caller, *match.ids)
            return replace(response, headers={**headers, **response.headers})
        except Refused as refused:
            request.body.discard()
            return fault_response(refused.fault, request.id, {**headers, **refused.headers})
        except StoreClosed:
            raise
        except Exception as error:
            # Whatever this is, the client sees what it would see of the API; the cause goes where the operator looks.
            self._app.report(error)
            return fault_response(internal(), request.id)

    def _answer(
        self, connection: Connection, head: Head, response: Response, number: int | None, fault: Fault | None
    ) -> None:
        response = self._with_headers(_spoiled(response, fault), head.request)
        if number is not None:
            self._app.log.answered(number, response.status)
        connection.send(
            head,
            response,
            cut_at=fault.at_byte if fault is not None and fault.kind == "cut_answer" else None,
            bytes_per_s=fault.bytes_per_s if fault is not None and fault.kind == "slow" else None,
        )

    def _with_headers(self, response: Response, request: Request) -> Response:
        now_s = self._app.clock.now_s()
        common = {
            "date": formatdate(now_s, usegmt=True),
            "request-id": request.id,
            "anthropic-organization-id": self._app.organization,
        }
        if "no_request_ids" in self._deviations:
            del common["request-id"]
        return replace(response, headers={**common, **response.headers})


def _no_route(request: Request) -> ApiFault:
    if is_known_path(request.path):
        return ApiFault(405, "invalid_request_error", "Method Not Allowed")
    return not_found("Not Found")


def _status_response(fault: Fault, request: Request) -> Response:
    headers = dict(fault.headers or {})
    if fault.retry_after_s is not None:
        headers["retry-after"] = f"{fault.retry_after_s:g}"
    if fault.body == "empty":
        return Response(fault.status, b"", headers, None)
    if fault.body == "html":
        return Response(fault.status, HTML % (fault.status, fault.status), headers, "text/html")
    plain = fault_of_status(fault.status, fault.message or _words(fault.status), fault.details)
    api_fault = (
        plain if fault.error_type is None else ApiFault(plain.status, fault.error_type, plain.message, plain.details)
    )
    return fault_response(api_fault, request.id, headers)


def _words(status: int) -> str:
    return {
        429: "This request would exceed your organization's rate limit. Please try again later.",
        500: "Internal server error",
        504: "The request timed out.",
        529: "Overloaded",
    }.get(status, "The emulator was told to answer with this status.")


def _spoiled(response: Response, fault: Fault | None) -> Response:
    """Results whose lines are not as they should be."""
    if fault is None or not isinstance(response.body, FilePart):
        return response
    lines = file_lines(response.body)
    match fault.kind:
        case "truncate_results":
            return replace(response, body=_without_the_end(lines))
        case "duplicate_results":
            twice = (line for line in lines for line in (line, line))
            return replace(response, body=twice)
        case "omit_results":
            return replace(response, body=islice(lines, 1, None))
        case "unasked_results":
            return replace(response, body=_with_one_more(lines))
        case "reorder_results":
            return replace(response, body=_reordered(lines))
        case _:
            return response


def _without_the_end(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Ends properly, as far as HTTP is concerned, in the middle of the last line."""
    last = next(lines, b"")
    for line in lines:
        yield last
        last = line
    if last:
        yield last[: max(1, len(last) // 2)]


def _with_one_more(lines: Iterator[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        yield line
        if number == 0:
            yield re.sub(rb'"custom_id":"[^"]*"', b'"custom_id":"nobody_asked"', line, count=1)


def _reordered(lines: Iterator[bytes]) -> Iterator[bytes]:
    random = Random()  # noqa: S311
    while window := list(islice(lines, REORDERED_LINES)):
        random.shuffle(window)
        yield from window
