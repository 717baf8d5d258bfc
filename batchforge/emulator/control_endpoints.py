"""/emulator/…: what a test may read and change while the emulator runs. Not part of the API; needs no key."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from batchforge.emulator.api_fault import invalid_request
from batchforge.emulator.application import Application
from batchforge.emulator.counters import read_counters
from batchforge.emulator.gate import Caller
from batchforge.emulator.http_messages import Refused, Request, Response, json_response
from batchforge.emulator.message_endpoints import json_object
from batchforge.emulator.scenario import ScenarioError, fault_from


def show_clock(app: Application, request: Request, caller: Caller) -> Response:
    return json_response({"now": app.clock.now().isoformat(), "speed": app.clock.speed})


def move_clock(app: Application, request: Request, caller: Caller) -> Response:
    """`speed`, `now` and `advance_s`, in this order, each if given."""
    change = _known(json_object(request), ("speed", "now", "advance_s"))
    try:
        if "speed" in change:
            app.clock.speed = float(change["speed"])
        if "now" in change:
            app.clock.set(datetime.fromisoformat(change["now"]))
        if "advance_s" in change:
            app.clock.advance(float(change["advance_s"]))
    except (TypeError, ValueError) as error:
        raise Refused(invalid_request(f"clock: {error}")) from error
    app.background.wake()
    return show_clock(app, request, caller)


def list_faults(app: Application, request: Request, caller: Caller) -> Response:
    return json_response(
        {"data": [{"no": no, "fired": fired, **asdict(fault)} for no, fault, fired in app.faults.listed()]}
    )


def add_fault(app: Application, request: Request, caller: Caller) -> Response:
    try:
        return json_response({"no": app.faults.add(fault_from(json_object(request)))})
    except ScenarioError as error:
        raise Refused(invalid_request(str(error))) from error


def clear_faults(app: Application, request: Request, caller: Caller) -> Response:
    app.faults.clear()
    return json_response({})


def counters(app: Application, request: Request, caller: Caller) -> Response:
    return json_response(asdict(read_counters(app.store)))


def log(app: Application, request: Request, caller: Caller) -> Response:
    after = request.query.get("after", "0")
    if not after.isdigit():
        raise Refused(invalid_request("after: the number of an entry is expected"))
    entries = app.log.read(int(after), request.query.get("endpoint"))
    return json_response({"data": [{**asdict(entry), "headers": dict(entry.headers)} for entry in entries]})


def reset(app: Application, request: Request, caller: Caller) -> Response:
    """As if nothing had been received; the scenario's faults stand ready again."""
    app.store.reset()
    app.faults.arm_scenario()
    app.add_other_batches()
    return json_response({})


def _known(data: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if unknown := [name for name in data if name not in names]:
        raise Refused(invalid_request(f"{unknown[0]}: unknown; known are {', '.join(names)}"))
    return data
