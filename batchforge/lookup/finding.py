"""State -> what people look up: a row with its request and answer, a row's past, whose an id is, runs. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import msgspec

from batchforge.answers import AnswerReader, reader_of
from batchforge.clock import SystemClock
from batchforge.errors import UsageError
from batchforge.escalation.steps import is_of_step
from batchforge.outputs import ANSWERED, BLOCKED, PENDING
from batchforge.requests.fingerprint import custom_id, parse_custom_id
from batchforge.results import Usage
from batchforge.spec import JobSpec
from batchforge.state.attempts import AttemptState
from batchforge.state.records import (
    TRIED,
    AttemptRecord,
    BatchRecord,
    Manifest,
    ManifestRow,
    RowRequest,
    RunRecord,
    StateReader,
    StoredResult,
)
from batchforge.state.run_status import as_it_stands

REJECTED = "rejected"
"""Rows that were asked, or cannot be, and have no answer that counts."""
NOT_SENT, IN_FLIGHT = "not sent", "in flight"
_NEVER_ACCEPTED = frozenset(
    {AttemptState.INTENDED, AttemptState.REJECTED, AttemptState.WITHDRAWN, AttemptState.ASSUMED_LOST}
)
_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class RunView:
    """The run that something belongs to; only its id is known where the run itself was pruned."""

    run_id: str
    command: str = ""
    started_at: str = ""
    started_by: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One result, as people look at it."""

    custom_id: str
    ordinal: int
    status: str
    error: str | None
    text: str
    model: str | None
    stop_reason: str | None
    max_tokens: int
    """0 where it is not known: the answer was recovered from the API."""
    usage: Usage
    cost_usd: float | None
    """None where it is not known."""
    prompt_hash: str | None
    """Of what all rows of the job shared when it was asked; None where the request is not kept."""
    message_id: str | None
    api_request_id: str | None
    """As the API names it to its operators."""
    attempt_id: int
    mode: str
    batch_id: str | None
    run: RunView
    stored_at: str


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of a job as it was last submitted, and what came of it."""

    job: str
    target: str
    key: str
    place: str
    row: Mapping[str, Any]
    """The columns that go into the output."""
    status: str
    error: str | None
    custom_id: str | None
    """None where the row cannot be asked."""
    fields: Mapping[str, Any]
    """The answer's values, as they stand in the output."""
    answer: AnswerView | None
    request: Mapping[str, Any] | None
    """As it was asked, without cache breakpoints; None where it was not sent, or is not wanted."""
    scope: str
    """Which rows were submitted with it: empty for all of the job's."""
    run: RunView
    """The run that submitted the row as it is now."""


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """One request that a row had, and a result of it; None where there is none (any more)."""

    custom_id: str
    ordinal: int
    status: str
    first_run: RunView
    """The run in which the row had this request for the first time."""
    answer: AnswerView | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run and what it came to, also where it ended without a summary."""

    run: RunRecord
    requests_sent: int
    cost_usd: float | None
    """Of the results that came while it ran; None where it did not end by itself."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    job: str
    target: str
    key: str
    place: str | None
    """None where the row has another request by now, or is not there any more."""
    first_run: RunView


@dataclass(frozen=True, slots=True)
class Found:
    """Whose an id is. Of many rows the first are named."""

    kind: str
    """request, batch, or run."""
    found_id: str
    rows: Sequence[FoundRow]
    has_more_rows: bool
    status: str
    answers: Sequence[AnswerView]
    attempts: Sequence[AttemptRecord]
    batches: Sequence[BatchRecord]
    run: RunFacts | None


class StateLooker:
    """Looks into one state; remembers the runs that it has seen."""

    def __init__(self, state: StateReader) -> None:
        self.state = state
        self._runs: dict[str, RunView] = {}

    # ---- rows

    def row(self, spec: JobSpec, target: str, key: str) -> RowView:
        """
        Raises:
            UsageError: BF907 no row has this key.
        """
        holding = list(self._holding(spec.name, target, key))
        if not holding:
            raise no_such_key(spec.name, key)
        newest = holding[0][1]
        name = (newest.request_id or b"", newest.ordinal)
        alike = [each for each in holding if (each[1].request_id or b"", each[1].ordinal) == name]
        manifest, row = min(alike, key=lambda each: each[0].scope != "")  # asked in a run too: not only tried
        stored = self.state.stored_results([name]).get(name) if row.request_id else None
        return self._row_view(reader_of(spec), manifest, row, stored, with_request=True)

    def _holding(self, job: str, target: str, key: str) -> Iterator[tuple[Manifest, ManifestRow]]:
        for manifest in self._manifests(job, target):
            row = self.state.rows_by_key(manifest.manifest_id, [key]).get(key)
            if row is not None:
                yield manifest, row

    def rows(self, spec: JobSpec, target: str, status: str | None, limit: int) -> list[RowView]:
        """The first rows of the last run with this status, which may be `rejected`; where there was none, those that
        were tried last."""
        manifests = sorted(self._manifests(spec.name, target), key=lambda manifest: manifest.scope == TRIED)
        if not manifests:
            return []
        reader = reader_of(spec)
        views = (
            self._row_view(reader, manifests[0], row.row, row.stored, with_request=False)
            for row in self.state.output_rows(manifests[0].manifest_id)
        )
        return list(islice((view for view in views if _has_status(view.status, status)), limit))

    def _manifests(self, job: str, target: str) -> list[Manifest]:
        found = [manifest for manifest in self.state.manifests(job) if manifest.target == target]
        return [manifest for manifest in found if not is_of_step(manifest.scope)]

    def _row_view(
        self,
        reader: AnswerReader,
        manifest: Manifest,
        row: ManifestRow,
        stored: StoredResult | None,
        *,
        with_request: bool,
    ) -> RowView:
        status, error, fields = _read_answer(reader, row, stored)
        answer = self._answer_view(stored, row.ordinal, status, error) if stored else None
        return RowView(
            job=manifest.job,
            target=manifest.target,
            key=row.key,
            place=row.place,
            row=msgspec.json.decode(row.values),
            status=status,
            error=error,
            custom_id=custom_id(row.request_id, row.ordinal) if row.request_id else None,
            fields=fields,
            answer=answer,
            request=self._request(row.request_id, answer) if with_request and row.request_id else None,
            scope=manifest.scope,
            run=self.run_view(manifest.run_id),
        )

    def _request(self, request_id: bytes, answer: AnswerView | None) -> Mapping[str, Any] | None:
        asked = self.state.asked(request_id)
        if asked is None:
            return None
        params: dict[str, Any] = msgspec.json.decode(asked.body)
        return params | {"max_tokens": answer.max_tokens} if answer and answer.max_tokens else params

    def _answer_view(
        self, stored: StoredResult, ordinal: int, status: str | None = None, error: str | None = None
    ) -> AnswerView:
        result, attempt = stored.result, self.state.attempt(stored.attempt_id)
        name = parse_custom_id(result.custom_id)
        asked = self.state.asked(name[0]) if name else None
        return AnswerView(
            custom_id=result.custom_id,
            ordinal=ordinal,
            status=status or result.kind.value,
            error=error if status else result.error_message,
            text=_text(result.message),
            model=result.model,
            stop_reason=result.stop_reason,
            max_tokens=attempt.max_tokens,
            usage=result.usage,
            cost_usd=None if result.cost_pico_usd is None else result.cost_pico_usd / 1e12,
            prompt_hash=asked.skeleton_id.hex() if asked else None,
            message_id=result.message_id,
            api_request_id=result.api_request_id,
            attempt_id=stored.attempt_id,
            mode=attempt.mode,
            batch_id=stored.batch_id,
            run=self.run_view(stored.run_id),
            stored_at=stored.stored_at,
        )

    # ---- the past

    def history(self, job: str, target: str, key: str) -> list[PastAnswer]:
        """Every request that the row ever had, with every result of it, oldest first.

        Raises:
            UsageError: BF907 no row ever had this key.
        """
        requests = self.state.row_requests(target, job, key)
        if not requests:
            raise no_such_key(job, key)
        return [past for request in requests for past in self._past(request)]

    def _past(self, request: RowRequest) -> Iterator[PastAnswer]:
        name = custom_id(request.request_id, request.ordinal)
        first_run = self.run_view(request.first_run_id)
        results = self.state.all_results(request.request_id, request.ordinal)
        for stored in results:
            view = self._answer_view(stored, request.ordinal)
            yield PastAnswer(name, request.ordinal, view.status, first_run, view)
        if not results:
            status = self._status_without_result(request.request_id, request.ordinal)
            yield PastAnswer(name, request.ordinal, status, first_run, None)

    def _status_without_result(self, request_id: bytes, ordinal: int) -> str:
        record = self.state.lookup([request_id]).get(request_id)
        claims = record.claims if record else ()
        return IN_FLIGHT if any(claim.ordinal == ordinal for claim in claims) else NOT_SENT

    # ---- ids

    def find(self, text: str, limit: int) -> Found | None:
        """Whose an id is: a custom_id, request hash, batch, message, run, or request of the API."""
        if text.startswith("msgbatch_") or self.state.attempt_of_batch(text):
            return self._found_batch(text, limit)
        if (run := self.state.run(text)) is not None:
            return self._found_run(run)
        name = _request_name(text) or self.state.name_of_answer(text)
        return self._found_request(*name, limit) if name else None

    def _found_request(self, request_id: bytes, ordinal: int, limit: int) -> Found | None:
        rows, has_more = self._found_rows(self.state.rows_of_request(request_id, ordinal), limit)
        record = self.state.lookup([request_id]).get(request_id)
        results = self.state.all_results(request_id, ordinal)
        answers = [self._answer_view(stored, ordinal) for stored in results]
        claims = [c for c in record.claims if c.ordinal == ordinal] if record else []
        if not (rows or answers or claims):
            return None
        attempt_ids = dict.fromkeys([*(a.attempt_id for a in answers), *(c.attempt_id for c in claims)])
        attempts = [self.state.attempt(attempt_id) for attempt_id in attempt_ids]
        status = IN_FLIGHT if claims else answers[-1].status if answers else NOT_SENT
        name = custom_id(request_id, ordinal)
        return Found("request", name, rows, has_more, status, answers, attempts, self._batches(attempts), None)

    def _found_batch(self, batch_id: str, limit: int) -> Found | None:
        attempt = self.state.attempt_of_batch(batch_id)
        batch = self.state.batch(batch_id)
        if attempt is None:
            return Found("batch", batch_id, (), False, "not ours", (), (), [batch], None) if batch else None
        rows, has_more = self._found_rows(self.state.rows_of_attempt(attempt.attempt_id), limit)
        batches = [batch] if batch else []
        run = self.state.run(attempt.run_id)
        facts = self.run_facts(run) if run else None
        return Found("batch", batch_id, rows, has_more, attempt.state.value, (), [attempt], batches, facts)

    def _found_run(self, run: RunRecord) -> Found:
        attempts, facts = self.state.attempts_of_run(run.run_id), self.run_facts(run)
        return Found("run", run.run_id, (), False, facts.run.status, (), attempts, self._batches(attempts), facts)

    def _batches(self, attempts: Sequence[AttemptRecord]) -> list[BatchRecord]:
        found = (self.state.batch(attempt.batch_id) for attempt in attempts if attempt.batch_id)
        return [batch for batch in found if batch]

    def _found_rows(self, requests: Iterator[RowRequest], limit: int) -> tuple[list[FoundRow], bool]:
        some = list(islice(requests, limit + 1))
        return [self._found_row(request) for request in some[:limit]], len(some) > limit

    def _found_row(self, request: RowRequest) -> FoundRow:
        name = (request.request_id, request.ordinal)
        place = None
        for manifest in self._manifests(request.job, request.target):
            row = self.state.rows_by_key(manifest.manifest_id, [request.key]).get(request.key)
            if row is not None and (row.request_id, row.ordinal) == name:
                place = row.place
                break
        return FoundRow(request.job, request.target, request.key, place, self.run_view(request.first_run_id))

    # ---- runs

    def run_facts(self, run: RunRecord) -> RunFacts:
        if "jobs" in run.summary:
            sent = sum(job.get("requests_sent", 0) for job in run.summary["jobs"])
        else:
            attempts = self.state.attempts_of_run(run.run_id)
            sent = sum(attempt.request_count for attempt in attempts if attempt.state not in _NEVER_ACCEPTED)
        standing = as_it_stands(run, self.state.leases(), SystemClock().now())
        return RunFacts(standing, sent, run.summary.get("cost_usd"))

    def run_view(self, run_id: str) -> RunView:
        if run_id not in self._runs:
            run = self.state.run(run_id)
            self._runs[run_id] = (
                RunView(run_id, run.command, run.started_at, run.started_by, run.commit) if run else RunView(run_id)
            )
        return self._runs[run_id]


def no_such_key(job: str, key: str) -> UsageError:
    hint = f"`batchforge show {job}` lists the first rows with their keys."
    return UsageError("BF907", f"{job} has no row with the key `{key}`.", hint=hint)


def run_json(facts: RunFacts) -> dict[str, Any]:
    """A run for machines, with what it sent and cost besides what its summary says."""
    return asdict(facts.run) | {"requests_sent": facts.requests_sent, "cost_usd": facts.cost_usd}


def _read_answer(
    reader: AnswerReader, row: ManifestRow, stored: StoredResult | None
) -> tuple[str, str | None, Mapping[str, Any]]:
    """(status, error, values), as in the output."""
    if row.request_id is None:
        return BLOCKED, f"{row.blocked_code} {row.blocked_reason}", {}
    if stored is None:
        return PENDING, "no result yet", {}
    answer = reader.read(stored.result)
    return answer.status, answer.error, answer.values


def _has_status(status: str, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return status not in {ANSWERED, PENDING} if wanted == REJECTED else status == wanted


def _request_name(text: str) -> tuple[bytes, int] | None:
    """(request_id, ordinal) of a custom_id, with or without its prefix, or of a hash in hex."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(text), 0
    return parse_custom_id(text) or parse_custom_id(f"bf1_{text}")


def _text(message: bytes | None) -> str:
    """The texts of a message; what is no text as JSON."""
    content = msgspec.json.decode(message).get("content") or [] if message else []
    parts = [
        block.get("text", "") if block.get("type") == "text" else msgspec.json.encode(block).decode()
        for block in content
        if isinstance(block, dict) and block.get("type") not in {"thinking", "redacted_thinking"}
    ]
    return "\n".join(parts)
