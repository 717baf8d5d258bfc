"""Compiled job + what we remember -> what to send, reuse, wait for, and why. Reads state, never writes it.

The rows of a plan are kept in a private file, not in memory: a `JobPlan` can be read as often as needed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import BinaryIO, NamedTuple

import msgspec

from batchforge.compiler import CompiledJob
from batchforge.request import BlockedRow, MessageRequest
from batchforge.results import CUT, TRANSIENT_ERRORS, ResultKind
from batchforge.spill import SpillCounter
from batchforge.state.records import Manifest, ManifestRow, RequestRecord, StateReader, StoredAnswer
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 2_000
_READ_BYTES = 1 << 20


class Action(StrEnum):
    SUBMIT = "submit"
    REUSE = "reuse"
    WAIT = "wait"
    """In flight already."""
    FAILED = "failed"
    """Asked and paid (or refused as invalid) before; only `retry` asks again."""
    BLOCKED = "blocked"
    """Cannot be asked at all."""


class Resend(StrEnum):
    """Which rows that have been asked before are asked again."""

    NOTHING_PAID = "nothing_paid"
    """A plain run: only unbilled, transient failures."""
    FAILED = "failed"
    """`retry`: also billed failures and invalid requests."""
    ALL = "all"
    """`--full-refresh`: everything, under the next ordinal."""


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    ordinal: int
    reason: str


class PlannedRow(NamedTuple):
    """A row and what is to become of it."""

    row: ManifestRow
    action: Action
    reason: str
    pieces: tuple[bytes, ...] | None
    """The row's own texts; None where the row is not the one that is sent for its request."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a run of one job would do. Close it (or use it as a context) to remove its file."""

    compiled: CompiledJob
    counts: Mapping[Action, int]
    """Rows by action."""
    reasons: Mapping[str, int]
    """Rows to be submitted, by why."""
    row_count: int
    requests_to_send: int
    """Distinct requests among the rows to be submitted."""
    distinct_requests: int
    digest: str
    """Of (key, ordinal, request_id) of all rows in order."""
    columns: tuple[str, ...]
    first_blocked: tuple[ManifestRow, ...]
    """A few, for the message."""
    _spool: _RowSpool = field(repr=False)

    @property
    def job(self) -> str:
        return self.compiled.spec.name

    def rows(self) -> Iterator[PlannedRow]:
        """All rows, in input order."""
        return self._spool.read()

    def manifest_rows(self) -> Iterator[ManifestRow]:
        return (planned.row for planned in self.rows())

    def to_send(self) -> Iterator[PlannedRow]:
        """One row for each request that is to be sent."""
        return (planned for planned in self.rows() if planned.pieces is not None)

    def close(self) -> None:
        self._spool.close()

    def __enter__(self) -> JobPlan:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def decide(record: RequestRecord | None, max_tokens: int, resend: Resend = Resend.NOTHING_PAID) -> Decision:
    """What to do about one request, given all that is remembered of it."""
    if record is None:
        return Decision(Action.SUBMIT, 0, "new")
    if record.claims:
        claim = record.claims[0]
        return Decision(Action.WAIT, claim.ordinal, claim.batch_id or claim.attempt_state.value)
    counting = _counting_answers(record.answers)
    if resend is Resend.ALL:
        return Decision(Action.SUBMIT, _next_ordinal(counting), "full refresh")
    for ordinal in sorted(counting, reverse=True):
        answer = counting[ordinal]
        if answer.kind is ResultKind.ANSWERED and answer.output_tokens <= max_tokens:
            return Decision(Action.REUSE, ordinal, "answered before")
    return _decide_failed(counting, max_tokens, resend)


def _decide_failed(counting: Mapping[int, StoredAnswer], max_tokens: int, resend: Resend) -> Decision:
    last = counting[max(counting)]
    if last.kind is ResultKind.ANSWERED:
        reason = f"its answer has {last.output_tokens} tokens, over max_tokens"
        return Decision(Action.SUBMIT, _next_ordinal(counting), reason)
    if last.kind in CUT and last.max_tokens < max_tokens:
        return Decision(Action.SUBMIT, _next_ordinal(counting), f"cut at {last.max_tokens} tokens before")
    reason = f"{_words(last)} before"
    if not last.kind.is_billed:
        is_transient = last.kind is not ResultKind.ERRORED or last.error_type in TRANSIENT_ERRORS
        action = Action.SUBMIT if is_transient or resend is Resend.FAILED else Action.FAILED
        return Decision(action, last.ordinal, reason)
    if resend is Resend.FAILED:
        return Decision(Action.SUBMIT, _next_ordinal(counting), reason)
    return Decision(Action.FAILED, last.ordinal, reason)


def _counting_answers(answers: Sequence[StoredAnswer]) -> dict[int, StoredAnswer]:
    """For each ordinal the answer that counts: the billed one, else the last."""
    counting: dict[int, StoredAnswer] = {}
    for answer in answers:
        held = counting.get(answer.ordinal)
        if held is None or not held.kind.is_billed:
            counting[answer.ordinal] = answer
    return counting


def _next_ordinal(counting: Mapping[int, StoredAnswer]) -> int:
    return max(counting, default=-1) + 1


def _words(answer: StoredAnswer) -> str:
    return answer.error_type or answer.kind.value if answer.kind is ResultKind.ERRORED else answer.kind.value


def plan_job(
    compiled: CompiledJob,
    state: StateReader | None,
    target: str,
    *,
    resend: Resend = Resend.NOTHING_PAID,
) -> JobPlan:
    """Decide on every row. Without state every row is new.

    Raises:
        ProjectError: the input or a template is wrong in some row.
    """
    return _Planner(compiled, state, target, resend).plan()


class _Planner:
    def __init__(self, compiled: CompiledJob, state: StateReader | None, target: str, resend: Resend) -> None:
        self.compiled, self.state, self.resend = compiled, state, resend
        self.before = state.manifest(target, compiled.spec.name) if state else None
        self.digest = hashlib.sha256()
        self.counts: Counter[Action] = Counter()
        self.reasons: Counter[str] = Counter()
        self.row_count = self.to_send = 0
        self.columns: dict[str, None] = dict.fromkeys(compiled.spec.output.columns or ())
        self.blocked: list[ManifestRow] = []

    def plan(self) -> JobPlan:
        spool = _RowSpool()
        try:
            with SpillCounter() as seen:
                for rows in in_chunks(self.compiled.requests(), _ROWS_PER_LOOKUP):
                    for planned in self._decide_rows(rows, seen):
                        self._count(planned)
                        spool.write(planned)
                distinct = seen.distinct()
        except BaseException:
            spool.close()
            raise
        return JobPlan(
            compiled=self.compiled,
            counts=dict(self.counts),
            reasons=dict(self.reasons),
            row_count=self.row_count,
            requests_to_send=self.to_send,
            distinct_requests=distinct,
            digest=self.digest.hexdigest(),
            columns=tuple(self.columns),
            first_blocked=tuple(self.blocked),
            _spool=spool,
        )

    def _decide_rows(self, rows: Sequence[MessageRequest | BlockedRow], seen: SpillCounter) -> Iterator[PlannedRow]:
        ids = [row.request_id for row in rows if isinstance(row, MessageRequest)]
        records = self.state.lookup(ids) if self.state else {}
        unknown = [r for r in rows if isinstance(r, MessageRequest) and r.request_id not in records]
        causes = self._causes(unknown)
        for row in rows:
            if isinstance(row, BlockedRow):
                yield self._blocked(row)
                continue
            decision = decide(records.get(row.request_id), self.compiled.spec.max_tokens, self.resend)
            is_first = seen.add(row.request_id) == 0
            is_sent = decision.action is Action.SUBMIT and is_first
            reason = causes.get(row.position, decision.reason)
            manifest_row = ManifestRow(
                row.position,
                row.key,
                row.request_id,
                decision.ordinal,
                row.row_hashes,
                self._values(row.values),
                None,
                None,
                row.place,
            )
            yield PlannedRow(manifest_row, decision.action, reason, row.pieces if is_sent else None)

    def _causes(self, unknown: Sequence[MessageRequest]) -> dict[int, str]:
        """Position -> why a request that nothing is known of is asked: the row is new, or this part of it changed."""
        if not unknown or self.before is None or self.state is None:
            return {}
        old_rows = self.state.rows_by_key(self.before.manifest_id, [r.key for r in unknown])
        return {r.position: self._cause(r, old_rows.get(r.key), self.before) for r in unknown}

    def _cause(self, request: MessageRequest, old: ManifestRow | None, before: Manifest) -> str:
        if old is None or old.request_id is None or old.request_id == request.request_id:
            return "new"
        now = asdict(self.compiled.parts)
        changed = [part for part in now if now[part] != before.parts.get(part)]
        if old.row_hashes != request.row_hashes and "messages" not in changed and "system" not in changed:
            changed.append("row")
        return " and ".join(f"{part} changed" for part in changed) or "changed"

    def _blocked(self, row: BlockedRow) -> PlannedRow:
        manifest_row = ManifestRow(
            row.position, row.key, None, 0, b"", self._values(row.values), row.code, row.reason, row.place
        )
        if len(self.blocked) < 5:
            self.blocked.append(manifest_row)
        return PlannedRow(manifest_row, Action.BLOCKED, row.reason, None)

    def _values(self, values: Mapping[str, object]) -> bytes:
        wanted = self.compiled.spec.output.columns
        if wanted is None:
            self.columns.update(dict.fromkeys(values))
            return msgspec.json.encode(values)
        return msgspec.json.encode({column: values.get(column) for column in wanted})

    def _count(self, planned: PlannedRow) -> None:
        self.row_count += 1
        self.counts[planned.action] += 1
        row = planned.row
        if planned.action is Action.SUBMIT:
            self.reasons[planned.reason] += 1
        if planned.pieces is not None:
            self.to_send += 1
        self.digest.update(b"%d %d %s " % (len(row.key), row.ordinal, row.request_id or b"") + row.key.encode())


class _RowSpool:
    """Planned rows in a private temporary file that has no name: written once, read as often as needed."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="batchforge-plan-")  # noqa: SIM115 - closed by close()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(PlannedRow).decode

    def write(self, planned: PlannedRow) -> None:
        data = self._encode(planned)
        self._file.write(len(data).to_bytes(4, "big"))
        self._file.write(data)

    def read(self) -> Iterator[PlannedRow]:
        self._file.flush()
        buffer, offset = b"", 0
        # Reads by offset, so that several passes can be under way at once.
        while chunk := os.pread(self._file.fileno(), _READ_BYTES, offset):
            offset += len(chunk)
            buffer += chunk
            start = 0
            while len(buffer) - start >= 4:
                end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
                if end > len(buffer):
                    break
                yield self._decode(memoryview(buffer)[start + 4 : end])
                start = end
            buffer = buffer[start:]

    def close(self) -> None:
        self._file.close()
