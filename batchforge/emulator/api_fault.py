"""What the API answers when it refuses: status, type, message; and the body as it goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One refusal. Inside a batch the same fault becomes an errored row, nested once more."""

    status: int
    type: str
    message: str
    details: Mapping[str, Any] | None = None

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The body of a synchronous refusal."""
        return {"type": "error", "error": self.error(), "request_id": request_id}

    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        return error if self.details is None else {**error, "details": dict(self.details)}

    def errored_result(self, request_id: str | None = None) -> dict[str, Any]:
        """The `result` of a batch row: the error body inside the result's own error."""
        details = {"error_visibility": "user_facing", **(self.details or {})}
        error = {"details": details, "type": self.type, "message": self.message}
        return {"type": "errored", "error": {"type": "error", "error": error, "request_id": request_id}}


STATUS_OF_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

TYPE_OF_STATUS: Mapping[int, str] = {status: type_ for type_, status in STATUS_OF_TYPE.items()}


def fault_of_type(type_: str, message: str, details: Mapping[str, Any] | None = None) -> ApiFault:
    return ApiFault(STATUS_OF_TYPE[type_], type_, message, details)


def fault_of_status(status: int, message: str, details: Mapping[str, Any] | None = None) -> ApiFault:
    """A status without a type of its own takes the type of its hundred."""
    fallback = "invalid_request_error" if status < 500 else "api_error"
    return ApiFault(status, TYPE_OF_STATUS.get(status, fallback), message, details)


def invalid_request(message: str, details: Mapping[str, Any] | None = None) -> ApiFault:
    return fault_of_type("invalid_request_error", message, details)


def authentication(message: str = "API key is invalid.") -> ApiFault:
    return fault_of_type("authentication_error", message)


def not_found(message: str) -> ApiFault:
    return fault_of_type("not_found_error", message)


def too_large(message: str = "Request exceeds the maximum size") -> ApiFault:
    return fault_of_type("request_too_large", message)


def rate_limited(message: str, details: Mapping[str, Any] | None = None) -> ApiFault:
    return fault_of_type("rate_limit_error", message, details)


def internal(message: str = "Internal server error") -> ApiFault:
    return fault_of_type("api_error", message)
