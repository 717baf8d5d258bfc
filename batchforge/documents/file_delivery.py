"""Files of requests -> what is sent in their places: the content itself, or the id of a file that was uploaded before.

A small file stands in its request. One that is large, or that many requests share, is uploaded once for all of them;
state remembers it by its content. All this is done before the intention to send is written down: uploads cost nothing.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from batchforge.backends.base import BatchGone, FilesBackend, RemoteFile, Unavailable
from batchforge.clock import Clock, iso, parse_iso
from batchforge.documents.file_piece import (
    FileBlock,
    PiecesToWire,
    inline_bytes,
    read_piece,
    with_content,
    with_file_id,
    with_stand_in_ids,
)
from batchforge.errors import ApiError, ProjectError
from batchforge.events import Event, EventName, Listener, ignore
from batchforge.planning.planner import JobPlan
from batchforge.source_tree import SourceTree
from batchforge.spill import SpillCounter
from batchforge.state.records import StateStore, UploadedFile
from batchforge.terminal.text_layout import size_words

INLINE_BYTES = 4 << 20
"""What the copies of one file may take in all requests together, as base64; a file that takes more is uploaded."""
REQUEST_INLINE_BYTES = 16 << 20
"""What all files may take in one request: the API takes 32 MB."""
UPLOADS_AT_ONCE = 4
EXPIRES_IN_S = 90 * 24 * 3600
"""The longest that the API offers: a file that is forgotten there is uploaded again."""
_LEAST_LIFE = timedelta(days=2)
"""A batch may take a day, and its results must not fail for want of a file."""
_TRIES = 6
_LONGEST_BACKOFF_S = 30.0
_ENDINGS = {
    "application/pdf": ".pdf",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "text/plain": ".txt",
}

_T = TypeVar("_T")


@dataclass(slots=True)
class FileDelivery:
    """One for all jobs of a run, which may send at the same time."""

    state: StateStore
    files: FilesBackend
    clock: Clock
    listen: Listener = ignore
    may_upload: bool = True
    _files: dict[str, Future[str]] = field(default_factory=dict)
    """Hash of a content -> the id of its file at the API, as soon as that is known."""
    _pool: ThreadPoolExecutor | None = None
    _present: set[str] | None = None
    """Of the files that state remembers, those that are still there."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def close(self) -> None:
        """What has not begun to be uploaded is not."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def for_plan(self, plan: JobPlan) -> PiecesToWire:
        """What stands for the files of a plan's requests, request by request.

        Raises:
            ProjectError: BF457 a file is not what it was when its row was planned.
            ApiError: BF608 a file cannot be uploaded.
        """
        if not plan.compiled.template.has_files:
            return with_stand_in_ids
        if not self.may_upload:  # what is too large to stand in its request was blocked when it was compiled
            return partial(with_contents, plan.compiled.tree)
        return partial(self._to_wire, _Sending(plan))

    def _to_wire(self, sending: _Sending, pieces: Sequence[bytes]) -> Sequence[bytes]:
        self._begin_some(sending)
        return [
            with_content(piece, _content(sending.tree, block))
            if is_inline
            else with_file_id(piece, self._file_id(sending, block))
            for piece, (block, is_inline) in zip(pieces, sending.choose(pieces), strict=True)
        ]

    # ---- uploads

    def _begin_some(self, sending: _Sending) -> None:
        """Further files go to the API while this one's request is made."""
        with self._lock:
            while sending.under_way() < UPLOADS_AT_ONCE and (block := sending.next_block()) is not None:
                sending.begun.append(self._begun(sending, block))

    def _file_id(self, sending: _Sending, block: FileBlock) -> str:
        with self._lock:
            begun = self._begun(sending, block)
        try:
            return begun.result()
        except BaseException:
            self._files.pop(block.sha256, None)
            raise

    def _begun(self, sending: _Sending, block: FileBlock) -> Future[str]:
        """With the lock."""
        if block.sha256 not in self._files:
            known = self._remembered(block.sha256)
            self._pool = self._pool or ThreadPoolExecutor(UPLOADS_AT_ONCE, "batchforge-upload")
            self._files[block.sha256] = self._pool.submit(self._known_id, sending, block, known)
        return self._files[block.sha256]

    def _known_id(self, sending: _Sending, block: FileBlock, known: UploadedFile | None) -> str:
        file = known or self._uploaded(sending.job, sending.tree, block)
        self.state.remember_file(file._replace(used_at=iso(self.clock.now())))
        return file.file_id

    def _remembered(self, sha256: str) -> UploadedFile | None:
        """The newest file of this content that is still there, and will be for long enough."""
        known = [file for file in self.state.uploaded_files(sha256) if self._lives_on(file)]
        if not known:
            return None
        present = self._present_files()
        return next((file for file in reversed(known) if file.file_id in present), None)

    def _present_files(self) -> set[str]:
        if self._present is None:
            known = self.state.uploaded_files()
            ids = [file.file_id for file in known if self._lives_on(file)]
            self._present = self._tried("list of files", lambda: self.files.present(ids))
            self.state.forget_files([file.file_id for file in known if self._is_gone(file)])
        return self._present

    def _is_gone(self, file: UploadedFile) -> bool:
        has_expired = parse_iso(file.expires_at) <= self.clock.now()
        assert self._present is not None
        return has_expired or (self._lives_on(file) and file.file_id not in self._present)

    def _lives_on(self, file: UploadedFile) -> bool:
        return parse_iso(file.expires_at) - self.clock.now() >= _LEAST_LIFE

    def _uploaded(self, job: str, tree: SourceTree, block: FileBlock) -> UploadedFile:
        path, now = block.file.path, self.clock.now()
        local = tree.local_path(path)
        before = _unchanged_stat(local, block)
        name = f"{block.sha256[:24]}{_ENDINGS[block.media_type]}"
        remote = self._tried(path, lambda: self.files.upload(local, name, block.media_type, EXPIRES_IN_S))
        file = UploadedFile(
            remote.file_id,
            block.sha256,
            remote.workspace,
            block.file.size_bytes,
            iso(now),
            _expiry(remote, now),
            iso(now),
        )
        if _stat(local) != before:
            self.state.remember_file(file._replace(sha256=""))  # so that it is pruned, and never used
            raise _moved(block)
        message = f"uploaded {path} ({size_words(block.file.size_bytes)})"
        with self._lock:
            self.listen(Event(EventName.FILE_UPLOADED, job, message, {"file_id": file.file_id, "path": path}))
        return file

    def _tried(self, what: str, call: Callable[[], _T]) -> _T:
        reason = ""
        for number in range(_TRIES):
            try:
                return call()
            except BatchGone as exc:
                raise _not_uploaded(what, str(exc)) from exc
            except Unavailable as exc:
                reason = str(exc)
                self.clock.sleep(min(exc.retry_after_s or 2.0**number / 4, _LONGEST_BACKOFF_S))
        raise _not_uploaded(what, reason)


def with_contents(tree: SourceTree, pieces: Sequence[bytes]) -> Sequence[bytes]:
    """All files in the request itself.

    Raises:
        ProjectError: BF457 a file is not what it was when its row was compiled.
    """
    return [with_content(piece, _content(tree, read_piece(piece))) for piece in pieces]


def _content(tree: SourceTree, block: FileBlock) -> bytes:
    try:
        content = tree.read_bytes(block.file.path)
    except ProjectError as exc:
        raise _moved(block) from exc
    if hashlib.sha256(content).hexdigest() != block.sha256:
        raise _moved(block)
    return content


class _Sending:
    """The files of a plan's requests: which stand in them, and which are uploaded, in the order of the requests."""

    def __init__(self, plan: JobPlan) -> None:
        self.job, self.tree = plan.job, plan.compiled.tree
        self.begun: list[Future[str]] = []
        self._uses = _uses_in(plan)
        self._at_most = min(REQUEST_INLINE_BYTES, plan.compiled.spec.batch.max_bytes // 2)
        self._blocks = self._uploads(plan)

    def choose(self, pieces: Sequence[bytes]) -> Sequence[tuple[FileBlock, bool]]:
        """The files of one request, and whether each stands in it."""
        left, chosen = self._at_most, []
        for piece in pieces:
            block = read_piece(piece)
            size = inline_bytes(block.file)
            is_inline = size <= left and size * self._uses(block.sha256) <= INLINE_BYTES
            left -= size if is_inline else 0
            chosen.append((block, is_inline))
        return chosen

    def under_way(self) -> int:
        self.begun = [future for future in self.begun if not future.done()]
        return len(self.begun)

    def next_block(self) -> FileBlock | None:
        return next(self._blocks, None)

    def _uploads(self, plan: JobPlan) -> Iterator[FileBlock]:
        for planned in plan.to_send():
            chosen = self.choose(plan.compiled.template.file_pieces(planned.pieces or ()))
            yield from (block for block, is_inline in chosen if not is_inline)


def _uses_in(plan: JobPlan) -> Callable[[str], int]:
    """Hash of a content -> how many of the requests to be sent hold it. The rows are counted at the first question."""
    counter: list[SpillCounter] = []

    def uses(sha256: str) -> int:
        if not counter:
            counter.append(_counted(plan))
        return counter[0].count(bytes.fromhex(sha256))

    return uses


def _counted(plan: JobPlan) -> SpillCounter:
    counter, template = SpillCounter(), plan.compiled.template
    for planned in plan.to_send():
        for piece in template.file_pieces(planned.pieces or ()):
            counter.add(bytes.fromhex(read_piece(piece).sha256))
    return counter


def _expiry(remote: RemoteFile, now: datetime) -> str:
    """A server that names no time keeps the file for as long as it was asked to."""
    return iso(parse_iso(remote.expires_at) if remote.expires_at else now + timedelta(seconds=EXPIRES_IN_S))


def _unchanged_stat(local: Path, block: FileBlock) -> tuple[int, int, int]:
    try:
        before = _stat(local)
        with local.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise _moved(block) from exc
    if sha256 != block.sha256:
        raise _moved(block)
    return before


def _stat(local: Path) -> tuple[int, int, int]:
    found = os.stat(local)  # noqa: PTH116 - a link counts as what it leads to
    return found.st_ino, found.st_size, found.st_mtime_ns


def _moved(block: FileBlock) -> ProjectError:
    return ProjectError(
        "BF457",
        f"'{block.file.path}' is not what it was when the run was planned",
        hint="Nothing of this batch was sent. Run again when the file has come to rest.",
    )


def _not_uploaded(what: str, reason: str) -> ApiError:
    return ApiError(
        "BF608",
        f"a document cannot be uploaded ({what}): {reason}",
        hint="Nothing of this batch was sent. Run again later; what was uploaded is not uploaded again.",
    )
