"""/v1/messages, in one piece or as a stream, and /v1/messages/count_tokens."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from batchforge.emulator.answering import Moment, Sender
from batchforge.emulator.api_fault import ApiFault, invalid_request
from batchforge.emulator.application import Application
from batchforge.emulator.cache_store import StoredCacheEntries
from batchforge.emulator.encodings import unpacked
from batchforge.emulator.gate import Caller
from batchforge.emulator.http_messages import NOT_JSON, Refused, Request, Response, json_error, json_response
from batchforge.emulator.ids import new_id
from batchforge.emulator.models import find_model
from batchforge.emulator.outcomes import Outcome, save_outcomes
from batchforge.emulator.rules import check_params
from batchforge.emulator.streaming import EVENT_STREAM, stream_events
from batchforge.emulator.tokens import count_input_tokens

MAX_BODY_BYTES = 32 * 1024 * 1024


def create(app: Application, request: Request, caller: Caller) -> Response:
    params = json_object(request)
    message = _answer(app, params, caller)
    if params.get("stream"):
        return Response(body=stream_events(message), headers={"cache-control": "no-cache"}, content_type=EVENT_STREAM)
    return json_response(message)


def count_tokens(app: Application, request: Request, caller: Caller) -> Response:
    params = json_object(request)
    fault = check_params(params, api_version=caller.api_version, endpoint="count_tokens", betas=caller.betas)
    if fault is not None:
        raise Refused(fault)
    model = find_model(params["model"])
    assert model is not None
    return json_response({"input_tokens": count_input_tokens(params, model)})


def _answer(app: Application, params: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Answers and bills in one transaction, so that two requests at once cannot both miss what one has written."""
    started_s = app.clock.now_s()
    sender = Sender(caller.workspace, caller.api_version, caller.betas, "messages")
    checked = app.answering.prepare(params, sender)
    if isinstance(checked, ApiFault):
        raise Refused(checked)
    time.sleep(app.scenario.message_time_s)
    moment = Moment(started_s, app.clock.now_s())
    with app.store.transaction():
        entries = StoredCacheEntries(app.store)
        answered = app.answering.finish(checked, moment, entries, message_id=new_id("msg"))
        entries.save(started_s)
        save_outcomes(app.store, None, [Outcome.of_answer("message", answered)])
    return answered.message


def json_object(request: Request) -> dict[str, Any]:
    body = unpacked(request.body.read(), request.header("content-encoding"), MAX_BODY_BYTES)
    request.body.discard()
    try:
        params = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise Refused(invalid_request(json_error(error, body))) from error
    if not isinstance(params, dict):
        raise Refused(invalid_request("Input should be a valid dictionary"))
    return params
