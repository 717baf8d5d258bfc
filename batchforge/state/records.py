"""What state remembers, as values; and the two views of it: `StateReader` for deciding, `StateStore` for doing.

Times are ISO 8601 in UTC. A request is named by its 32-byte request_id and the ordinal of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from batchforge.results import Brought, Learnt, RequestResult, ResultKind
from batchforge.state.attempts import AttemptState
from batchforge.state.holders import Holder
from batchforge.target import Origin


class StoredAnswer(NamedTuple):
    """What is remembered of one result, without its message: enough to decide on."""

    ordinal: int
    kind: ResultKind
    error_type: str | None
    max_tokens: int
    output_tokens: int
    attempt_id: int


class LiveClaim(NamedTuple):
    """A request that is in flight."""

    ordinal: int
    attempt_id: int
    attempt_state: AttemptState
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """All that state knows of one request: results in the order in which they were stored, and live claims."""

    answers: tuple[StoredAnswer, ...] = ()
    claims: tuple[LiveClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    run_id: str
    started_at: str
    command: str
    target: str
    jobs: tuple[str, ...]
    commit: str = ""
    """The git commit of the project, `-dirty` behind it where the work tree differs; empty outside git."""
    started_by: str = ""
    """user@host"""
    status: str = "running"
    ended_at: str | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    holder: str = ""
    """host:process id:start time; empty where an older version recorded it."""


class Intended(Protocol):
    """A request that an attempt is about to send."""

    @property
    def request_id(self) -> bytes: ...

    @property
    def ordinal(self) -> int: ...

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """The row's own texts; they may be read from a disk each time."""
        ...


class IntendedRequest(NamedTuple):
    """An `Intended` whose texts are in memory."""

    request_id: bytes
    ordinal: int
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Intention:
    """What is written down, durably, before anything is sent."""

    run_id: str
    job: str
    target: str
    mode: str
    """batch or sync."""
    model: str
    max_tokens: int
    skeleton_id: bytes
    skeleton: bytes
    holder: str
    """Who sends: host, process id and its start time."""
    phase: str = "rest"
    """prime, prime groups, canary or rest."""
    caching: str = "none"
    """Whether its requests were meant to find their prefix in the cache: none (no marks), cold, priming, primed, or
    mixed where only some of them were."""
    shape: str = ""
    """Hash of what the API may refuse about its requests, whatever their texts say."""
    estimated_input_tokens: float = 0.0
    ceiling_pico_usd: int | None = None
    """The most that the attempt can cost: reserved until its results settle it; None where no bound is known."""
    month_limit_pico_usd: int | None = None
    """What settled and reserved costs of this month may come to, this attempt included."""
    keeps_prompts: bool = True
    """Whether the requests' texts are remembered; their hashes always are."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    attempt_id: int
    run_id: str
    job: str
    target: str
    mode: str
    state: AttemptState
    request_count: int
    holder: str
    created_at: str
    sent_at: str | None
    batch_id: str | None
    max_tokens: int
    ceiling_pico_usd: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as the API last described it."""

    batch_id: str
    attempt_id: int
    status: str
    """in_progress, canceling or ended."""
    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int
    created_at: str
    expires_at: str
    ended_at: str | None


class ManifestRow(NamedTuple):
    """One row of a job as it was submitted."""

    position: int
    key: str
    request_id: bytes | None
    """None for a blocked row."""
    ordinal: int
    row_hashes: bytes
    values: bytes
    """JSON object of the input columns that go into the output."""
    blocked_code: str | None
    blocked_reason: str | None
    place: str


TRIED = "try"
"""The scope of rows that were only tried: no output is made of them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a job as they were last submitted for a target: what its output is made of."""

    manifest_id: int
    job: str
    target: str
    scope: str
    """Which rows: empty for all of them, else e.g. limit=10."""
    run_id: str
    created_at: str
    digest: str
    """SHA-256 over (key, ordinal, request_id) of all rows in order."""
    row_count: int
    parts: Mapping[str, str]
    columns: tuple[str, ...]
    """Input columns in the order of the input."""
    written_as: str | None = None
    """What the output was written as, if it was written and published since the last result came."""
    settled: str | None = None
    """By what a later run sees that there is nothing to do; see `settled.py`."""


class StoredResult(NamedTuple):
    """A result with its message, for outputs and people."""

    result: RequestResult
    attempt_id: int
    batch_id: str | None
    run_id: str
    stored_at: str


class OutputRow(NamedTuple):
    """A row of the manifest and the result that serves it; None while it has none."""

    row: ManifestRow
    stored: StoredResult | None


class AskedRequest(NamedTuple):
    """A request as it was asked: the body without cache breakpoints, under the max_tokens of its first time."""

    skeleton_id: bytes
    body: bytes


class RowRequest(NamedTuple):
    """A request that a row has, or had at some time."""

    target: str
    job: str
    key: str
    request_id: bytes
    ordinal: int
    first_run_id: str


class UploadedFile(NamedTuple):
    """A file that lies at the API."""

    file_id: str
    sha256: str
    workspace: str
    """As the API named it when the file was uploaded; files are seen in their own workspace only."""
    size_bytes: int
    uploaded_at: str
    expires_at: str
    """The API forgets it then."""
    used_at: str
    """When a request last named it."""


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What came of storing some results."""

    stored: Sequence[RequestResult]
    """Those that were new: a second reading changes nothing."""
    unasked: tuple[str, ...]
    """custom_ids that the attempt does not ask for, or not any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do what only one process does at a time, until it expires."""

    name: str
    fence: int
    """Rises with every holder: what an earlier one still means to write is refused."""
    holder: str
    """host:process id:start time."""
    started_by: str
    """user@host"""
    job_url: str
    """Of the CI job; empty elsewhere."""
    purpose: str
    acquired_at: str
    renewed_at: str
    expires_at: str


class LeaseHeld(Exception):
    """Somebody else has it."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.name} is held by {lease.holder}")
        self.lease = lease


class StateReader(Protocol):
    """Memory, for deciding. Nothing here writes."""

    @property
    def url(self) -> str: ...

    def origin(self) -> Origin | None: ...

    def lookup(self, request_ids: Sequence[bytes]) -> dict[bytes, RequestRecord]:
        """What is known of each; a request that nothing is known of is left out."""
        ...

    def manifest(self, target: str, job: str, scope: str = "") -> Manifest | None: ...

    def unwritten_manifests(self, target: str) -> list[Manifest]:
        """Those whose output has yet to be written (again)."""
        ...

    def manifest_rows(self, manifest_id: int) -> Iterator[ManifestRow]:
        """In the order of the input."""
        ...

    def rows_by_key(self, manifest_id: int, keys: Sequence[str]) -> dict[str, ManifestRow]: ...

    def keys_between(self, manifest_id: int, first: int, last: int) -> dict[int, str]:
        """Position -> key of the rows at these positions, the last one included."""
        ...

    def output_rows(self, manifest_id: int) -> Iterator[OutputRow]: ...

    def stored_results(self, names: Sequence[tuple[bytes, int]]) -> dict[tuple[bytes, int], StoredResult]:
        """The result that counts for each (request_id, ordinal): the billed one, else the last."""
        ...

    def open_attempts(self, jobs: Sequence[str] | None = None) -> list[AttemptRecord]:
        """Attempts that are not final, oldest first."""
        ...

    def awaited_attempts(self, jobs: Sequence[str]) -> list[AttemptRecord]:
        """Open attempts of these jobs, and those of other jobs that ask for one of their rows; oldest first."""
        ...

    def attempt(self, attempt_id: int) -> AttemptRecord: ...

    def claimed(self, attempt_id: int) -> Iterator[tuple[bytes, int]]:
        """(request_id, ordinal) of an open attempt's requests."""
        ...

    def batch(self, batch_id: str) -> BatchRecord | None: ...

    def batch_spans(self, job: str, limit: int) -> list[tuple[str, str]]:
        """(created, ended) of a job's last batches that have ended."""
        ...

    def known_batch_ids(self) -> set[str]:
        """Batches that belong to an attempt, or were found to be nobody's of ours."""
        ...

    def runs(self, limit: int) -> list[RunRecord]: ...

    def run(self, run_id: str) -> RunRecord | None: ...

    def attempts_of_run(self, run_id: str) -> list[AttemptRecord]: ...

    def attempt_of_batch(self, batch_id: str) -> AttemptRecord | None: ...

    def undeleted_batches(self, target: str) -> list[str]:
        """Batches of a target whose results are stored and that the API may still hold."""
        ...

    def manifests(self, job: str) -> list[Manifest]:
        """Of all targets and scopes, the newest first."""
        ...

    def row_requests(self, target: str, job: str, key: str) -> list[RowRequest]:
        """Every request that a row ever had."""
        ...

    def rows_of_request(self, request_id: bytes, ordinal: int) -> Iterator[RowRequest]:
        """Every row that ever had this request."""
        ...

    def rows_of_attempt(self, attempt_id: int) -> Iterator[RowRequest]:
        """Every row that ever had one of an attempt's requests."""
        ...

    def asked(self, request_id: bytes) -> AskedRequest | None: ...

    def all_results(self, request_id: bytes, ordinal: int) -> list[StoredResult]:
        """In the order in which they were asked for."""
        ...

    def name_of_answer(self, text: str) -> tuple[bytes, int] | None:
        """(request_id, ordinal) of the request whose answer has this message id, or came with this API request."""
        ...

    def leases(self) -> list[Lease]:
        """Those that somebody holds, also where they have expired."""
        ...

    def counts(self) -> dict[str, int]:
        """Table -> rows, for people."""
        ...

    def learnt(self, job: str, model: str, mode: str) -> Learnt:
        """What the job's last results have taught about its requests."""
        ...

    def has_answers(self, shape: str) -> bool:
        """Whether any request of this shape was answered and billed."""
        ...

    def has_sent(self) -> bool:
        """Whether it has ever sent anything itself; what was recovered or imported does not count."""
        ...

    def last_attempt_id(self) -> int:
        """0 where there is none: rises with everything that is sent."""
        ...

    def committed_pico_usd(self, since: str) -> int:
        """What was spent since then, and what is reserved for attempts that are under way."""
        ...

    def uploaded_files(self, sha256: str | None = None) -> list[UploadedFile]:
        """Files at the API, those of one content or all of them; the newest last."""
        ...

    def unfinished_recoveries(self) -> set[str]:
        """Batch ids whose recovery was begun and did not end."""
        ...


class StateStore(StateReader, Protocol):
    """Memory, for the executor: each method is one durable step."""

    def set_origin(self, origin: Origin) -> None:
        """Where it has one already, as another process was faster, that one stays."""
        ...

    def begin_run(self, run: RunRecord) -> None: ...

    def note_plan(self, run_id: str, summary: Mapping[str, Any]) -> None:
        """Remember what a run means to send, before it sends it."""
        ...

    def end_run(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None: ...

    def save_manifest(self, manifest: Manifest, rows: Iterable[ManifestRow]) -> int:
        """Replaces the manifest of the same job, target and scope; returns its id."""
        ...

    def renew_manifest(self, manifest_id: int, run_id: str, created_at: str) -> None:
        """A later run has submitted the same rows."""
        ...

    def mark_written(self, manifest: Manifest, written_as: str) -> None:
        """Of the manifest as it was read: if another run has submitted rows since, this says nothing of theirs."""
        ...

    def mark_settled(self, manifest: Manifest, settled: str) -> None:
        """The same. Undone by whatever removes results."""
        ...

    def intend(self, intention: Intention, requests: Sequence[Intended]) -> int:
        """Records the intention and claims its requests, all or nothing; returns the attempt's id.

        Raises:
            ClaimTaken: somebody else holds one of the claims, or (in batch mode) got one of them answered meanwhile.
            CountTaken: a batch of as many requests is not settled yet.
            MonthBudgetTaken: the month's limit does not hold its ceiling.
        """
        ...

    def move(
        self,
        attempt_id: int,
        from_state: AttemptState,
        to_state: AttemptState,
        *,
        batch_id: str | None = None,
        note: str = "",
    ) -> None:
        """Checks that the move is legal, records and logs it; a final state releases the claims.

        Raises:
            AttemptMoved: it is not in `from_state` any more.
            IllegalMove: our own bug.
        """
        ...

    def save_batch(self, batch: BatchRecord) -> None: ...

    def mark_deleted(self, batch_id: str) -> None:
        """Remember that the API does not hold the batch any more."""
        ...

    def disown_batch(self, batch_id: str, note: str) -> None:
        """Remember that a listed batch is not ours, so that it is not looked at again."""
        ...

    def store_results(self, attempt_id: int, results: Sequence[RequestResult]) -> StoreReport: ...

    def begin_recovery(self, run_id: str, batch: BatchRecord) -> int:
        """An attempt for a batch that nothing was known of; returns its id, also where it was begun before."""
        ...

    def store_recovered(self, attempt_id: int, results: Sequence[RequestResult]) -> list[RequestResult]:
        """Stores what is new, and returns it. Nothing was claimed, so everything is taken."""
        ...

    def end_recovery(self, attempt_id: int) -> None: ...

    def remember_file(self, file: UploadedFile) -> None:
        """That it was uploaded, or is used again."""
        ...

    def forget_files(self, file_ids: Sequence[str]) -> None:
        """That they are not at the API any more."""
        ...

    def record_usage(self, attempt_id: int, usage: Brought) -> None:
        """Settles the attempt's reserved cost."""
        ...

    def fill(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of another state, all of them or none."""
        ...

    def take_lease(self, name: str, purpose: str, holder: Holder, term_s: float) -> Lease:
        """
        Raises:
            LeaseHeld: by somebody who lives, as far as can be known, and whose term is not over.
        """
        ...

    def renew_lease(self, lease: Lease, term_s: float) -> None:
        """At least so much of it is left then; never less than before.

        Raises:
            StateLocked: BF512 somebody else has it by now.
        """
        ...

    def give_back(self, lease: Lease) -> None:
        """Nothing happens where it was lost."""
        ...

    def break_lease(self, name: str) -> Lease | None:
        """Take it from whoever holds it, on a person's word; returns what they held."""
        ...

    def fenced_by(self, leases: Sequence[Lease]) -> None:
        """From now on every write is refused unless all of these are held."""
        ...

    def close(self) -> None: ...


class MonthBudgetTaken(Exception):
    """The month's budget does not hold the attempt: others have reserved it meanwhile."""


class ClaimTaken(Exception):
    """A request is being asked by somebody else at this moment."""


class CountTaken(Exception):
    """A lost batch is looked for by its count, so there must be no two of one count that may be lost."""


class AttemptMoved(Exception):
    """Another process has taken the attempt further in the meantime."""
