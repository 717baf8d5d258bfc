"""The content-encodings of request bodies: unpacked, or refused with the API's codes."""

from __future__ import annotations

import zlib

from batchforge.emulator.api_fault import fault_of_type, invalid_request
from batchforge.emulator.http_messages import Refused

# zlib's numbers for the two wrappers.
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


def unpacked(content: bytes, encoding: str | None, limit_bytes: int) -> bytes:
    if encoding in (None, "", "identity"):
        return content
    if encoding not in _WINDOW_BITS:
        raise _refused(f"Unsupported content encoding: {encoding}", "request_body_encoding_unsupported")
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        data = unpacker.decompress(content, limit_bytes + 1)
    except zlib.error as error:
        raise _refused("The request body could not be decoded.", "request_body_encoding_invalid") from error
    if len(data) > limit_bytes:
        code = {"error_code": "request_body_too_large_after_decoding"}
        raise Refused(fault_of_type("request_too_large", "Request exceeds the maximum size", code))
    if not unpacker.eof:
        raise _refused("The request body could not be decoded.", "request_body_encoding_invalid")
    return data


def _refused(message: str, error_code: str) -> Refused:
    return Refused(invalid_request(message, {"error_code": error_code}))
