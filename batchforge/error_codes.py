"""Every error and warning a user can meet: what it means, what causes it, how to cure it, and an example."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    title: str
    cause: str
    cure: str
    example: str = ""


ERROR_CODES: dict[str, ErrorCode] = {
}
