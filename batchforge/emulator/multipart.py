"""multipart/form-data, as uploads send it: the parts of a body with their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAMETER = re.compile(rb';\s*([a-zA-Z*]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))')


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    filename: str | None
    content_type: str | None
    content: bytes


def boundary_of(content_type: str | None) -> bytes | None:
    if content_type is None or not content_type.lower().startswith("multipart/form-data"):
        return None
    boundary = _parameters(content_type.encode("latin-1")).get("boundary")
    return boundary.encode("latin-1") if boundary else None


def read_parts(body: bytes, boundary: bytes) -> list[Part]:
    """Everything between the boundaries; nothing if it is cut off."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        return []
    return [part for piece in pieces[1:-1] if (part := _part(piece)) is not None]


def _part(piece: bytes) -> Part | None:
    head, found, content = piece.partition(b"\r\n\r\n")
    headers = dict(_header(line) for line in head.split(b"\r\n") if b":" in line)
    parameters = _parameters(headers.get("content-disposition", b""))
    if not found or "name" not in parameters:
        return None
    content_type = headers.get("content-type")
    return Part(
        name=parameters["name"],
        filename=parameters.get("filename"),
        content_type=content_type.decode("latin-1") if content_type else None,
        content=content,
    )


def _header(line: bytes) -> tuple[str, bytes]:
    name, _, value = line.partition(b":")
    return name.decode("latin-1").strip().lower(), value.strip()


def _parameters(value: bytes) -> dict[str, str]:
    return {
        name.decode("ascii").lower(): (quoted.replace(b'\\"', b'"') or bare).decode("utf-8", "replace")
        for name, quoted, bare in _PARAMETER.findall(value)
    }
