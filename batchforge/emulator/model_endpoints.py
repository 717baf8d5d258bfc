"""/v1/models: what the emulator knows of each model, as the API lists it."""

from __future__ import annotations

from typing import Any

from batchforge.emulator.api_fault import invalid_request, not_found
from batchforge.emulator.application import Application
from batchforge.emulator.gate import Caller
from batchforge.emulator.http_messages import Refused, Request, Response, json_response
from batchforge.emulator.models import find_model, list_models, model_info, retired_model_infos
from batchforge.emulator.queries import page_limit

LIFECYCLES = ("active", "deprecated", "retired")


def retrieve(app: Application, request: Request, caller: Caller, model_id: str) -> Response:
    model = find_model(model_id)
    if model is not None:
        return json_response(model_info(model))
    for info in retired_model_infos():
        if info["id"] == model_id:
            return json_response(info)
    raise Refused(not_found(f"model: {model_id}"))


def list_page(app: Application, request: Request, caller: Caller) -> Response:
    infos = _wanted(request)
    ids = [info["id"] for info in infos]
    limit = page_limit(request)
    start, end = _window(request, ids, limit)
    data = infos[start:end]
    is_backwards = request.query.get("before_id") is not None
    return json_response(
        {
            "data": data,
            "has_more": start > 0 if is_backwards else end < len(infos),
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


def _wanted(request: Request) -> list[dict[str, Any]]:
    """Retired models only for those who ask."""
    asked = [value for name in ("lifecycle", "lifecycle[]") for value in request.query_lists.get(name, [])]
    if unknown := [value for value in asked if value not in LIFECYCLES]:
        raise Refused(
            invalid_request(f"lifecycle: Input should be 'active', 'deprecated' or 'retired', not {unknown[0]}")
        )
    infos = [*(model_info(model) for model in list_models()), *retired_model_infos()]
    return [info for info in infos if info["lifecycle"] in (asked or ("active", "deprecated"))]


def _window(request: Request, ids: list[str], limit: int) -> tuple[int, int]:
    after, before = request.query.get("after_id"), request.query.get("before_id")
    if after is not None:
        start = _index(ids, after) + 1
        return start, min(len(ids), start + limit)
    if before is not None:
        end = _index(ids, before)
        return max(0, end - limit), end
    return 0, min(len(ids), limit)


def _index(ids: list[str], model_id: str) -> int:
    if model_id not in ids:
        raise Refused(not_found(f"model: {model_id}"))
    return ids.index(model_id)
