"""/v1/messages/batches: create, retrieve, list, cancel, delete, results."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import msgspec

from batchforge.emulator.api_fault import ApiFault, invalid_request, not_found
from batchforge.emulator.application import PATIENCE_S, Application
from batchforge.emulator.batch_life import ARCHIVE_S, BatchFacts, Traits
from batchforge.emulator.clock import wire_time
from batchforge.emulator.encodings import unpacked
from batchforge.emulator.envelope import MAX_BODY_BYTES, Entry, read_envelope
from batchforge.emulator.gate import Caller
from batchforge.emulator.http_messages import Body, FilePart, Refused, Request, Response, json_response
from batchforge.emulator.queries import page_limit
from batchforge.emulator.rules import check_params

JSONL = "application/x-jsonl"


def create(app: Application, request: Request, caller: Caller) -> Response:
    body = _on_disk(app, request)
    entries = _read(body, takes_duplicates="duplicates_taken" in app.scenario.deviations)
    if isinstance(entries, list) and "params_checked_at_once" in app.scenario.deviations:
        entries = _checked_at_once(body, entries, caller)
    if isinstance(entries, ApiFault):
        body.unlink()
        raise Refused(entries)
    if app.limits.is_queue_limited:
        for waiting in app.batches.unfinished():
            _settled(app, waiting)
    try:
        facts = _add(app, caller, entries, body)
    except Refused:
        body.unlink()
        raise
    app.background.wake()
    return json_response(batch_json(app, facts, request, facts.created_s))


def _add(app: Application, caller: Caller, entries: list[Entry], body: Path) -> BatchFacts:
    """Whether it fits into the queue and that it is in it is decided in one transaction."""
    with app.store.transaction():
        app.limits.check_queue(app.batches.queued_requests(caller.workspace), len(entries))
        now_s = app.clock.now_s()
        return app.batches.add(
            caller.workspace,
            Traits.of(app.scenario, caller.api_version, caller.betas),
            entries,
            body,
            now_s=now_s,
            listed_s=now_s + app.scenario.list_delay_s,
        )


def retrieve(app: Application, request: Request, caller: Caller, batch_id: str) -> Response:
    facts = _up_to_date(app, batch_id, caller)
    now_s = app.clock.now_s()
    headers = {}
    if facts.status(now_s) != "ended" and app.scenario.retry_after_s is not None:
        headers["retry-after"] = str(app.scenario.retry_after_s)
    return json_response(batch_json(app, facts, request, now_s), headers=headers)


def list_batches(app: Application, request: Request, caller: Caller) -> Response:
    now_s = app.clock.now_s()
    after, before = request.query.get("after_id"), request.query.get("before_id")
    if after and before:
        raise Refused(invalid_request("Only one of before_id and after_id may be set."))
    page = app.batches.page(
        caller.workspace,
        now_s=now_s,
        limit=page_limit(request),
        after_no=_cursor(app, after, caller),
        before_no=_cursor(app, before, caller),
    )
    batches = [_settled(app, facts) for facts in page.batches]
    return json_response(
        {
            "data": [batch_json(app, facts, request, now_s) for facts in batches],
            "has_more": page.has_more,
            "first_id": batches[0].id if batches else None,
            "last_id": batches[-1].id if batches else None,
        }
    )


def cancel(app: Application, request: Request, caller: Caller, batch_id: str) -> Response:
    facts = _up_to_date(app, batch_id, caller)
    now_s = app.clock.now_s()
    if facts.status(now_s) != "ended":
        app.batches.cancel(batch_id, now_s)
        app.background.wake()
        facts = app.batches.get(batch_id)
    return json_response(batch_json(app, facts, request, now_s))


def delete(app: Application, request: Request, caller: Caller, batch_id: str) -> Response:
    facts = _up_to_date(app, batch_id, caller)
    if facts.status(app.clock.now_s()) != "ended":
        raise Refused(invalid_request("In progress batches cannot be deleted. Consider canceling the batch instead."))
    app.batches.delete(batch_id)
    return json_response({"id": batch_id, "type": "message_batch_deleted"})


def results(app: Application, request: Request, caller: Caller, batch_id: str) -> Response:
    facts = _up_to_date(app, batch_id, caller)
    now_s = app.clock.now_s()
    if facts.status(now_s) != "ended" or facts.is_archived(now_s):
        raise Refused(not_found(f"Message Batch {batch_id} has no available results."))
    return Response(
        body=FilePart(app.batches.results_file(batch_id), facts.results_bytes),
        headers={"content-disposition": f'attachment; filename="{batch_id}_results.jsonl"'},
        content_type=JSONL,
    )


def batch_json(app: Application, facts: BatchFacts, request: Request, now_s: float) -> dict[str, Any]:
    """A batch as it goes over the wire, keys in the API's order."""
    has_ended = facts.status(now_s) == "ended"
    is_archived = facts.is_archived(now_s)
    results_url = f"{_own_url(request)}/v1/messages/batches/{facts.id}/results"
    return {
        "id": facts.id,
        "type": "message_batch",
        "processing_status": facts.status(now_s),
        "request_counts": facts.counts(now_s),
        "ended_at": wire_time(facts.ends_s) if has_ended else None,
        "created_at": wire_time(facts.created_s),
        "expires_at": wire_time(facts.expires_s),
        "archived_at": wire_time(facts.created_s + ARCHIVE_S) if is_archived else None,
        "cancel_initiated_at": wire_time(facts.cancel_initiated_s),
        "results_url": results_url if has_ended and not is_archived else None,
    }


def _own_url(request: Request) -> str:
    """Where the client reached us, so that the results come from the same place."""
    return f"{request.header('x-forwarded-proto') or 'http'}://{request.header('host') or 'localhost'}"


def _up_to_date(app: Application, batch_id: str, caller: Caller) -> BatchFacts:
    facts = app.batches.find(batch_id, caller.workspace)
    if facts is None:
        raise Refused(not_found(f"Message Batch {batch_id} not found."))
    return _settled(app, facts)


def _settled(app: Application, facts: BatchFacts) -> BatchFacts:
    """Whoever looks at a batch sees what its time has brought."""
    now_s = app.clock.now_s()
    if facts.is_due(now_s) or (facts.traits.counts_move and not facts.has_all_results):
        facts = app.deciding.bring_up_to_date(facts.id, PATIENCE_S)
    if facts.is_archived(now_s):
        app.batches.drop_results(facts.id)
    return facts


def _cursor(app: Application, batch_id: str | None, caller: Caller) -> int | None:
    if not batch_id:
        return None
    facts = app.batches.find(batch_id, caller.workspace)
    if facts is None:
        raise Refused(not_found(f"Message Batch {batch_id} not found."))
    return facts.no


def _on_disk(app: Application, request: Request) -> Path:
    """The body as a file: params are read from it when their time comes."""
    body, encoding = request.body, request.header("content-encoding")
    if body.path is not None and encoding in (None, "identity"):
        return body.path
    handle, name = mkstemp(prefix="incoming-", dir=app.store.bodies)
    with os.fdopen(handle, "wb") as file:
        file.write(unpacked(_taken(body), encoding, MAX_BODY_BYTES))
    return Path(name)


def _taken(body: Body) -> bytes:
    content = body.read()
    body.discard()
    return content


def _checked_at_once(body: Path, entries: list[Entry], caller: Caller) -> list[Entry] | ApiFault:
    """Not what the API does: a request that is wrong refuses the whole batch."""
    with body.open("rb") as file:
        for number, entry in enumerate(entries):
            params = msgspec.json.decode(os.pread(file.fileno(), entry.size_bytes, entry.first_byte))
            fault = check_params(params, api_version=caller.api_version, endpoint="batch", betas=caller.betas)
            if fault is not None:
                return invalid_request(f"requests.{number}.params.{fault.message}")
    return entries


def _read(path: Path, *, takes_duplicates: bool) -> list[Entry] | ApiFault:
    if not path.stat().st_size:
        return read_envelope(b"")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        return read_envelope(body, takes_duplicates=takes_duplicates)
