"""What a way of sending requests must be able to do, and the ways in which it can fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from batchforge.results import RequestResult


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API is and how to speak to it."""

    base_url: str
    api_key: str = field(repr=False)
    timeout_s: float = 600.0
    anthropic_version: str | None = None
    """None: what the SDK sends."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch as the API describes it. Times are as they came, ISO 8601."""

    batch_id: str
    status: str
    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int
    created_at: str
    expires_at: str
    ended_at: str | None
    archived_at: str | None
    retry_after_s: float | None = None
    """How long the API asks us to wait before we ask again."""

    @property
    def request_count(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired

    @property
    def has_ended(self) -> bool:
        return self.status == "ended"


@dataclass(frozen=True, slots=True)
class BatchListing:
    """Batches of the workspace, newest first, and the server's own time, by which their creation is judged."""

    batches: Sequence[BatchProgress]
    server_time: datetime | None


class Rejected(Exception):
    """The API surely did not accept the requests: nothing was paid."""

    def __init__(self, message: str, *, status: int | None, retry_after_s: float | None, is_final: bool) -> None:
        super().__init__(message)
        self.status, self.retry_after_s, self.is_final = status, retry_after_s, is_final


class Uncertain(Exception):
    """The requests may have been accepted: to be settled by looking, never by sending again."""


class Unavailable(Exception):
    """A question that costs nothing got no answer for now; it may be asked again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BatchGone(Exception):
    """The batch was deleted, or its results have been archived."""


class BatchBackend(Protocol):
    """The Message Batches API. One object may be used from several threads."""

    def submit(self, body: Path, betas: Sequence[str]) -> BatchProgress:
        """Send a spooled create body, once.

        Raises:
            Rejected: surely not accepted.
            Uncertain: maybe accepted.
        """
        ...

    def poll(self, batch_id: str) -> BatchProgress:
        """
        Raises:
            Unavailable, BatchGone
        """
        ...

    def results(self, batch_id: str) -> Iterator[RequestResult]:
        """Stream the results, in any order.

        Raises:
            Unavailable: the stream broke; what came before it is whole.
            BatchGone
        """
        ...

    def list_recent(self, max_age_s: float) -> BatchListing:
        """All batches created within the last `max_age_s` seconds of the server's clock.

        Raises:
            Unavailable
        """
        ...

    def cancel(self, batch_id: str) -> BatchProgress: ...

    def close(self) -> None: ...
