"""What a way of sending requests must be able to do, and the ways in which it can fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of one rate limit, as an answer's headers said."""

    kind: str
    """requests, tokens, input-tokens or output-tokens."""
    limit: int | None
    remaining: int
    resets: float
    """By the server's clock, in seconds since 1970. It tells one window from the next."""
    reset_in_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What an answer says about how fast to go on. Empty where the server says nothing."""

    retry_after_s: float | None = None
    quotas: tuple[Quota, ...] = ()


class ReplyKind(StrEnum):
    RESULT = "result"
    """The request's result: an answer, or that this request is refused for good."""
    SLOW_DOWN = "slow_down"
    """Refused because of a limit or of load: nothing was paid, and the same request may be sent later."""
    FAILED = "failed"
    """Failed by chance; the same request may succeed."""
    UNREACHABLE = "unreachable"
    """Surely not sent: no connection."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request to the Messages API."""

    kind: ReplyKind
    result: RequestResult
    """What to store: at once for RESULT, else if the request is not tried again."""
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that was uploaded."""

    file_id: str
    workspace: str
    """Empty where the API does not say."""
    created_at: str
    expires_at: str | None


class FilesBackend(Protocol):
    """The Files API, for documents and images. Costs nothing."""

    def upload(self, path: Path, name: str, media_type: str, expires_in_s: int) -> RemoteFile:
        """
        Raises:
            Unavailable, BatchGone
        """
        ...

    def present(self, file_ids: Sequence[str]) -> set[str]:
        """Those of the files that are there.

        Raises:
            Unavailable, BatchGone
        """
        ...

    def delete(self, file_id: str) -> None:
        """
        Raises:
            Unavailable
            BatchGone: it is not there.
        """
        ...

    def close(self) -> None: ...


class MessagesBackend(Protocol):
    """The Messages API, one request at a time. One object may be used from several threads."""

    def ask(self, custom_id: str, body: bytes, betas: Sequence[str]) -> Reply:
        """Send one request, once.

        Raises:
            ApiError: the API refuses in a way that holds for all requests, such as bad credentials.
        """
        ...

    def close(self) -> None: ...


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

    def count_tokens(self, params: Mapping[str, Any]) -> int:
        """Input tokens of a request, counted by the API for nothing.

        Raises:
            Unavailable
        """
        ...

    def cancel(self, batch_id: str) -> BatchProgress: ...

    def delete(self, batch_id: str) -> None:
        """Delete a batch that has ended, with its requests and results.

        Raises:
            Unavailable, BatchGone
        """
        ...

    def close(self) -> None: ...
