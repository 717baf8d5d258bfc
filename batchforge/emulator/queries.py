"""Query parameters that several lists share."""

from __future__ import annotations

from batchforge.emulator.api_fault import invalid_request
from batchforge.emulator.http_messages import Refused, Request

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000


def page_limit(request: Request) -> int:
    text = request.query.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not text.lstrip("-").isdigit():
        raise Refused(invalid_request("limit: Input should be a valid integer, unable to parse string as an integer"))
    limit = int(text)
    if limit < 1:
        raise Refused(invalid_request("limit: Input should be greater than or equal to 1"))
    if limit > MAX_LIMIT:
        raise Refused(invalid_request(f"limit: Input should be less than or equal to {MAX_LIMIT}"))
    return limit
