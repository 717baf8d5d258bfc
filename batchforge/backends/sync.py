"""The Messages API, one request at a time: bodies go out as they are, messages are kept byte for byte as they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anthropic
import httpx2
import msgspec

from batchforge.backends.base import Connection, Pace, Quota, Reply, ReplyKind
from batchforge.backends.client import (
    NOTHING_SENT,
    credentials_refused,
    describe,
    error_body,
    make_client,
    may_pass_later,
    retry_after_s,
)
from batchforge.backends.result_lines import message_result
from batchforge.clock import parse_iso
from batchforge.errors import ApiError
from batchforge.results import RequestResult, ResultKind

_QUOTA_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
_SLOW_DOWN_TYPES = frozenset({"rate_limit_error", "overloaded_error"})
_SPEND_LIMIT = "You have reached your specified API usage limits"
"""How the message of a 400 begins that is about money, not about the request."""
_SHOWN_CHARACTERS = 200


class MessagesApi:
    """A `MessagesBackend` on the real API, or on anything that speaks it."""

    def __init__(self, connection: Connection) -> None:
        self._client = make_client(connection)

    def ask(self, custom_id: str, body: bytes, betas: Sequence[str]) -> Reply:
        headers = {"Content-Type": "application/json"}
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        try:
            response = self._client.post(
                "/v1/messages", content=body, cast_to=httpx2.Response, options={"headers": headers}
            )
        except anthropic.APIStatusError as exc:
            return _refused(custom_id, exc)
        except anthropic.APIConnectionError as exc:
            return _no_answer(custom_id, exc)
        except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError, ValueError) as exc:
            reason = f"the answer cannot be read: {type(exc).__name__}: {exc}"
            return Reply(ReplyKind.FAILED, _errored(custom_id, "api_error", reason))
        result = _with_request_id(_answered(custom_id, response.content), response.headers)
        return Reply(ReplyKind.RESULT, result, _pace(response.headers))

    def close(self) -> None:
        self._client.close()


def _with_request_id(result: RequestResult, headers: Mapping[str, str]) -> RequestResult:
    return msgspec.structs.replace(result, api_request_id=headers.get("request-id"))


def _answered(custom_id: str, content: bytes) -> RequestResult:
    """Whatever came with a 200 may have been paid, so it is kept, though it may be no message."""
    try:
        result = message_result(custom_id, content)
    except msgspec.DecodeError as exc:
        return _unreadable(custom_id, content, str(exc))
    return result if b'"content"' in content else _unreadable(custom_id, content, "it has no content")


def _unreadable(custom_id: str, content: bytes, reason: str) -> RequestResult:
    start = content[:_SHOWN_CHARACTERS].decode(errors="replace")
    result = _errored(custom_id, "unreadable_result", f"the answer is not a message ({reason}); it begins: {start}")
    return msgspec.structs.replace(result, message=content if _is_json_object(content) else None)


def _is_json_object(content: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(content), dict)
    except msgspec.DecodeError:
        return False


def _refused(custom_id: str, exc: anthropic.APIStatusError) -> Reply:
    status, error = exc.status_code, error_body(exc)
    pace = _pace(exc.response.headers)
    error_type = str((error or {}).get("type") or _type_of_status(status))
    result = _errored(custom_id, error_type, str((error or {}).get("message") or describe(exc)))
    result = _with_request_id(result, exc.response.headers)
    if _holds_for_all(exc, error_type, error):
        raise _refused_for_all(exc)
    if error_type in _SLOW_DOWN_TYPES or status in {429, 529}:
        return Reply(ReplyKind.SLOW_DOWN, result, pace)
    if status in {408, 409} or status >= 500:
        return Reply(ReplyKind.FAILED, result, pace)
    return Reply(ReplyKind.RESULT, result, pace)


def _holds_for_all(exc: anthropic.APIStatusError, error_type: str, error: Mapping[str, object] | None) -> bool:
    """Whether every other request would be refused alike: credentials, money, or an address that is none."""
    status, message = exc.status_code, str((error or {}).get("message"))
    if status in {401, 402, 403, 405} or status < 400:
        return True
    if status == 404:
        # A model or a file that is not there is the row's error; a path that is not there is the target's.
        return error is None or error_type != "not_found_error" or message in {"Not Found", "File Not Found"}
    if status == 429:
        return not may_pass_later(exc)
    return error_type == "invalid_request_error" and message.startswith(_SPEND_LIMIT)


def _refused_for_all(exc: anthropic.APIStatusError) -> ApiError:
    if exc.status_code in {401, 403}:
        return credentials_refused("messages", describe(exc))
    return ApiError(
        "BF630",
        f"the API refuses every request: {describe(exc)}",
        hint="What was answered is stored. Mend what it names (address, plan or spend limit) and run again.",
    )


def _type_of_status(status: int) -> str:
    """For servers that give no type."""
    types = {404: "not_found_error", 408: "timeout_error", 413: "request_too_large", 429: "rate_limit_error"}
    types |= {504: "timeout_error", 529: "overloaded_error"}
    return types.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _no_answer(custom_id: str, exc: anthropic.APIConnectionError) -> Reply:
    cause = exc.__cause__ or exc
    if isinstance(cause, NOTHING_SENT):
        return Reply(ReplyKind.UNREACHABLE, _errored(custom_id, "api_error", f"cannot connect: {cause}"))
    error_type = "timeout_error" if isinstance(exc, anthropic.APITimeoutError) else "api_error"
    reason = f"the connection broke: {type(cause).__name__} {cause}".rstrip()
    return Reply(ReplyKind.FAILED, _errored(custom_id, error_type, reason))


def _errored(custom_id: str, error_type: str, message: str) -> RequestResult:
    return RequestResult(custom_id, ResultKind.ERRORED, error_type=error_type, error_message=message)


def _pace(headers: Mapping[str, str]) -> Pace:
    return Pace(retry_after_s(headers), tuple(_quotas(headers)))


def _quotas(headers: Mapping[str, str]) -> Iterator[Quota]:
    now = _server_time(headers)
    for kind in _QUOTA_KINDS:
        name = f"anthropic-ratelimit-{kind}"
        remaining, resets = _number(headers.get(f"{name}-remaining")), _moment(headers.get(f"{name}-reset"))
        if remaining is not None and resets is not None:
            limit = _number(headers.get(f"{name}-limit"))
            yield Quota(kind, limit, remaining, resets, max(0.0, resets - now))


def _server_time(headers: Mapping[str, str]) -> float:
    """By the Date header, since our clock may differ from the server's."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return datetime.now(UTC).timestamp()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _moment(text: str | None) -> float | None:
    try:
        return parse_iso(text).timestamp() if text else None
    except ValueError:
        return None
