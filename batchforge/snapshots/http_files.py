"""An https:// file: asked for only if it has changed, gone on with where the connection broke, complete or an error."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote, urlsplit, urlunsplit

from batchforge.allowed_stores import check_allowed
from batchforge.errors import BatchForgeError, Location
from batchforge.snapshots.remote_file import Interrupted, NotThere, Patience, RemoteFile, unreadable
from batchforge.snapshots.snapshot_records import SnapshotPart
from batchforge.target import is_loopback

CHUNK_BYTES = 1 << 20
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_THERE = frozenset({403, 404, 410})
_URL_HINT = "Write an https:// address without a user or a password in it."


@dataclass(slots=True)
class HttpFiles:
    url: str
    location: Location | None
    patience: Patience

    def find(self) -> list[RemoteFile]:
        check_url(self.url, self.location)
        parts = urlsplit(self.url)
        return [RemoteFile(self.url, urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))]

    def read(self, file: RemoteFile, known: SnapshotPart | None, to: BinaryIO) -> RemoteFile | None:
        """Write the whole file; returns what the server says of it, None where it is the one that is known."""
        download = _Download(self, file, to)
        reason = ""
        for _ in self.patience.pauses():
            try:
                return download.go_on(known)
            except Interrupted as exc:
                reason = str(exc)
        raise unreadable(file.shown_as, reason, self.location)


@dataclass(slots=True)
class _Download:
    """One file over as many requests as it takes."""

    source: HttpFiles
    file: RemoteFile
    to: BinaryIO
    etag: str | None = None
    got_bytes: int = 0

    def go_on(self, known: SnapshotPart | None) -> RemoteFile | None:
        with self._response(known) as response:
            if response is None:
                return None
            self._check_place(response)
            left = _length(response)
            if left is None and not response.chunked:
                reason = "the server does not tell its length, so half of it could not be told from all of it"
                raise unreadable(self.file.shown_as, reason, self.source.location)
            before = self.got_bytes
            while chunk := response.read(CHUNK_BYTES):
                self.to.write(chunk)
                self.got_bytes += len(chunk)
            if left is not None and self.got_bytes - before < left:
                raise Interrupted("the connection was closed in the middle")
            modified = response.headers.get("Last-Modified")
            return RemoteFile(self.file.name, self.file.shown_as, self.etag, modified, self.got_bytes)

    def _check_place(self, response: http.client.HTTPResponse) -> None:
        """Where the server begins anew, and where the file is another one by now, so do we."""
        etag = response.headers.get("ETag")
        expected = f"bytes {self.got_bytes}-"
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(expected)
        if self.got_bytes and not (goes_on and etag == self.etag):
            self.to.seek(0)
            self.to.truncate()
            self.got_bytes = 0
            if response.status == 206:
                raise Interrupted("the file has changed while it was read")
        self.etag = etag

    @contextmanager
    def _response(self, known: SnapshotPart | None) -> Iterator[http.client.HTTPResponse | None]:
        request = urllib.request.Request(_encoded(self.file.name), headers=dict(self._headers(known)))  # noqa: S310
        try:
            with _opener().open(request, timeout=self.source.patience.wait_s) as response:
                yield response
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code == 304:
                    yield None
                    return
                if exc.code in _AGAIN:
                    raise Interrupted(f"the server answers {exc.code}") from None
                message = f"{self.file.shown_as} cannot be read: the server answers {exc.code}"
                kind = NotThere if exc.code in _NOT_THERE else BatchForgeError
                hint = "Check the address, then fetch again."
                raise kind("BF240", message, location=self.source.location, hint=hint) from None
        except http.client.IncompleteRead:
            raise Interrupted("the connection was closed in the middle") from None
        except (OSError, http.client.HTTPException) as exc:
            reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
            raise Interrupted(str(reason) or type(exc).__name__) from None

    def _headers(self, known: SnapshotPart | None) -> Iterator[tuple[str, str]]:
        yield "User-Agent", "batchforge"
        yield "Accept-Encoding", "identity"
        if self.got_bytes and self.etag and not self.etag.startswith("W/"):
            yield "Range", f"bytes={self.got_bytes}-"
            yield "If-Range", self.etag
        elif not self.got_bytes and known is not None and known.etag:
            yield "If-None-Match", known.etag
        elif not self.got_bytes and known is not None and known.modified:
            yield "If-Modified-Since", known.modified


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: Mapping[str, str],  # type: ignore[override]
        newurl: str,
    ) -> urllib.request.Request | None:
        check_url(newurl, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_CheckedRedirects())


def check_url(url: str, location: Location | None) -> None:
    """Also of each redirect.

    Raises:
        BatchForgeError: BF241 the way there is not encrypted, or the address holds a secret; BF126 it is not allowed.
    """
    try:
        parts = urlsplit(url)
        host, is_secret = parts.hostname or "", parts.username is not None
    except ValueError:
        host, is_secret = "", False
    if not host or is_secret:
        raise BatchForgeError("BF241", "this is no address of a file", location=location, hint=_URL_HINT)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        message = f"`{host}` would be reached without encryption, so the rows could be read and changed on the way"
        raise BatchForgeError("BF241", message, location=location, hint="Use https://.")
    check_allowed(url, location)


def _encoded(url: str) -> str:
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _length(response: http.client.HTTPResponse) -> int | None:
    text = response.headers.get("Content-Length")
    return int(text) if text is not None and text.isdecimal() else None
