"""/v1/files: upload, list, metadata, content, delete."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath
from typing import Any

from batchforge.emulator.api_fault import ApiFault, invalid_request, not_found
from batchforge.emulator.application import Application
from batchforge.emulator.clock import wire_time
from batchforge.emulator.file_store import StoredFile
from batchforge.emulator.gate import Caller
from batchforge.emulator.http_messages import Refused, Request, Response, json_response
from batchforge.emulator.multipart import Part, boundary_of, read_parts
from batchforge.emulator.queries import page_limit

MAX_BODY_BYTES = 500 * 1024 * 1024
EXPIRES_IN_S = (3600, 7_776_000)
MAX_IDS = 100
METADATA_S = 30 * 24 * 3600
"""How long the metadata of an expired file can be read."""


def upload(app: Application, request: Request, caller: Caller) -> Response:
    boundary = boundary_of(request.header("content-type"))
    if boundary is None:
        raise Refused(invalid_request("The request body must be multipart/form-data."))
    body = request.body.read()
    request.body.discard()
    parts = {part.name: part for part in read_parts(body, boundary)}
    if "file" not in parts:
        raise Refused(invalid_request("file: Field required"))
    now_s = app.clock.now_s()
    filename, mime_type = _name_and_type(parts["file"])
    file = app.files.add(
        caller.workspace,
        filename,
        mime_type,
        parts["file"].content,
        now_s,
        _expiry(parts.get("expires_in_seconds"), now_s),
    )
    return json_response(file_json(file))


def list_page(app: Application, request: Request, caller: Caller) -> Response:
    ids = [value for name in ("ids", "ids[]") for value in request.query_lists.get(name, [])]
    now_s = app.clock.now_s()
    if ids:
        return _listed_by_id(app, request, caller, ids, now_s)
    limit = page_limit(request)
    files = app.files.list(caller.workspace, _page_start(request), limit + 1)
    next_page = f"page_{files[limit - 1].no}" if len(files) > limit else None
    shown = [file_json(file) for file in files[:limit] if not _is_forgotten(file, now_s)]
    return json_response({"data": shown, "next_page": next_page})


def retrieve(app: Application, request: Request, caller: Caller, file_id: str) -> Response:
    return json_response(file_json(_find(app, caller, file_id)))


def content(app: Application, request: Request, caller: Caller, file_id: str) -> Response:
    """Uploaded files cannot be downloaded; only tools make files that can, and the emulator runs no tools."""
    file = _find(app, caller, file_id)
    if file.is_expired(app.clock.now_s()):
        raise Refused(ApiFault(404, "not_found_error", f"File expired: {file_id}", {"error_code": "file_expired"}))
    raise Refused(invalid_request(f"File {file_id} is not downloadable.", {"error_code": "file_not_downloadable"}))


def delete(app: Application, request: Request, caller: Caller, file_id: str) -> Response:
    _find(app, caller, file_id)
    app.files.delete(file_id)
    return json_response({"id": file_id, "type": "file_deleted"})


def file_json(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "type": "file",
        "filename": file.filename,
        "mime_type": file.mime_type,
        "size_bytes": file.size_bytes,
        "created_at": wire_time(file.created_s),
        "downloadable": False,
        "expires_at": wire_time(file.expires_s),
    }


def _listed_by_id(app: Application, request: Request, caller: Caller, ids: list[str], now_s: float) -> Response:
    if "page" in request.query or "limit" in request.query:
        raise Refused(invalid_request("ids: cannot be combined with page or limit"))
    if len(set(ids)) > MAX_IDS:
        raise Refused(
            invalid_request(f"ids: List should have at most {MAX_IDS} items after validation, not {len(ids)}")
        )
    found = [app.files.find(file_id, caller.workspace) for file_id in dict.fromkeys(ids)]
    shown = [file_json(file) for file in found if file is not None and not _is_forgotten(file, now_s)]
    return json_response({"data": shown, "next_page": None})


def _page_start(request: Request) -> int | None:
    page = request.query.get("page")
    if page is None:
        return None
    number = page.removeprefix("page_")
    if not number.isdigit():
        raise Refused(invalid_request("page: Invalid page cursor"))
    return int(number)


def _find(app: Application, caller: Caller, file_id: str) -> StoredFile:
    file = app.files.find(file_id, caller.workspace)
    if file is None or _is_forgotten(file, app.clock.now_s()):
        raise Refused(not_found(f"File not found: {file_id}"))
    return file


def _is_forgotten(file: StoredFile, now_s: float) -> bool:
    return file.expires_s is not None and now_s >= file.expires_s + METADATA_S


def _name_and_type(part: Part) -> tuple[str, str]:
    filename = PurePosixPath((part.filename or "").replace("\\", "/")).name
    mime_type = part.content_type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return filename or "unnamed" + (mimetypes.guess_extension(mime_type) or ""), mime_type


def _expiry(part: Part | None, now_s: float) -> float | None:
    if part is None:
        return None
    text = part.content.decode("latin-1").strip()
    if not text.isdigit():
        raise Refused(invalid_request("expires_in_seconds: Input should be a valid integer"))
    seconds, (least, most) = int(text), EXPIRES_IN_S
    if seconds < least:
        raise Refused(invalid_request(f"expires_in_seconds: Input should be greater than or equal to {least}"))
    if seconds > most:
        raise Refused(invalid_request(f"expires_in_seconds: Input should be less than or equal to {most}"))
    return now_s + seconds
