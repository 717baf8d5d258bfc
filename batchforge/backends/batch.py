"""The Message Batches API, at half price: spooled bodies go out as they are, results come in as a stream of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from anthropic import APIResponse
from anthropic.types import MessageTokensCount
from anthropic.types.messages import MessageBatch

from batchforge.backends.base import BatchGone, BatchListing, BatchProgress, Connection, Unavailable
from batchforge.backends.client import make_client, reading, retry_after_s, spending
from batchforge.backends.result_lines import UnreadableLine, parse_result_line
from batchforge.clock import parse_iso
from batchforge.errors import ApiError
from batchforge.results import RequestResult

_CHUNK_BYTES = 1 << 20
_PAGE_SIZE = 100
_COUNTED = ("model", "system", "messages", "tools", "tool_choice", "thinking", "output_config")


class BatchApi:
    """A `BatchBackend` on the real API, or on anything that speaks it."""

    def __init__(self, connection: Connection) -> None:
        self._client = make_client(connection)
        self._base_url = connection.base_url

    def submit(self, body: Path, betas: Sequence[str]) -> BatchProgress:
        headers = {"Content-Type": "application/json", "Content-Length": str(body.stat().st_size)}
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        with spending():
            batch = self._client.post(
                "/v1/messages/batches", content=_FileChunks(body), cast_to=MessageBatch, options={"headers": headers}
            )
            return _progress(batch)

    def poll(self, batch_id: str) -> BatchProgress:
        with reading(f"batch {batch_id}"):
            response = self._client.messages.batches.with_raw_response.retrieve(batch_id)
            return _progress(response.parse(), retry_after_s(response.headers))

    def results(self, batch_id: str) -> Iterator[RequestResult]:
        with reading(f"results of batch {batch_id}"):
            batch = self._client.messages.batches.retrieve(batch_id)
        if batch.archived_at is not None:
            raise BatchGone(f"the results of {batch_id} have been archived")
        url = self._results_url(batch.results_url)
        with reading(f"results of batch {batch_id}"), closing(self._open_stream(url)) as response:
            for line in _lines(response.iter_bytes(_CHUNK_BYTES)):
                try:
                    result = parse_result_line(line)
                except UnreadableLine as exc:
                    raise Unavailable(str(exc)) from exc
                yield result

    def list_recent(self, max_age_s: float) -> BatchListing:
        batches: list[BatchProgress] = []
        server_time = after = None
        while True:
            with reading("list of batches"):
                page: dict[str, Any] = {"limit": _PAGE_SIZE} | ({"after_id": after} if after else {})
                response = self._client.messages.batches.with_raw_response.list(**page)
                listed = response.parse()
            server_time = server_time or _server_time(response.headers)
            since = (server_time or datetime.now(UTC)) - timedelta(seconds=max_age_s)
            found = [_progress(batch) for batch in listed.data]
            batches += [b for b in found if parse_iso(b.created_at) >= since]
            after = listed.last_id
            if not listed.has_more or not found or parse_iso(found[-1].created_at) < since:
                return BatchListing(batches, server_time)

    def count_tokens(self, params: Mapping[str, Any]) -> int:
        body = msgspec.json.encode({name: params[name] for name in _COUNTED if name in params})
        with reading("count of tokens"):
            counted = self._client.post(
                "/v1/messages/count_tokens",
                content=body,
                cast_to=MessageTokensCount,
                options={"headers": {"Content-Type": "application/json"}},
            )
            return counted.input_tokens

    def cancel(self, batch_id: str) -> BatchProgress:
        with reading(f"cancel of batch {batch_id}"):
            return _progress(self._client.messages.batches.cancel(batch_id))

    def delete(self, batch_id: str) -> None:
        with reading(f"deletion of batch {batch_id}"):
            self._client.messages.batches.delete(batch_id)

    def close(self) -> None:
        self._client.close()

    def _open_stream(self, url: str) -> APIResponse[bytes]:
        # The SDK's own results() takes a path for one below base_url, which it need not be.
        headers = {"Accept": "application/binary", "X-Stainless-Raw-Response": "stream"}
        return self._client.get(url, cast_to=APIResponse[bytes], options={"headers": headers})

    def _results_url(self, results_url: str | None) -> str:
        """The key goes to results_url too, so it must be where the key was meant for. Some servers give a path."""
        if results_url is None:
            raise Unavailable("the batch has no results yet")
        url = urljoin(f"{self._base_url}/", results_url)
        ours, theirs = urlsplit(self._base_url), urlsplit(url)
        if (ours.scheme, ours.hostname, ours.port) != (theirs.scheme, theirs.hostname, theirs.port):
            raise ApiError(
                "BF602",
                f"the results are said to be at {theirs.scheme}://{theirs.netloc}, not at the target's base_url",
                hint="The key is never sent to another host. If a gateway stands between, let it rewrite results_url.",
            )
        return url


class _FileChunks:
    """A file as chunks, from its start each time it is iterated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends; a last line without an end is given too, and fails to parse where it was cut."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _progress(batch: MessageBatch, retry_after: float | None = None) -> BatchProgress:
    counts = batch.request_counts
    return BatchProgress(
        batch_id=batch.id,
        status=batch.processing_status,
        processing=counts.processing,
        succeeded=counts.succeeded,
        errored=counts.errored,
        canceled=counts.canceled,
        expired=counts.expired,
        created_at=_text_time(batch.created_at),
        expires_at=_text_time(batch.expires_at),
        ended_at=_text_time(batch.ended_at) if batch.ended_at else None,
        archived_at=_text_time(batch.archived_at) if batch.archived_at else None,
        retry_after_s=retry_after,
    )


def _text_time(time: datetime | str) -> str:
    # Models are built without validation, so a time may still be the text that came.
    return time if isinstance(time, str) else time.isoformat()


def _server_time(headers: Any) -> datetime | None:
    try:
        return parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
