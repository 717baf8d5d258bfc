"""Compiled job + what we remember -> what to send, reuse, wait for, and why. Reads state, never writes it.

The rows of a plan are kept in a private file, not in memory: a `JobPlan` can be read as often as needed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Literal

import msgspec

from batchforge.cache_groups import CacheGroups
from batchforge.caching import (
    COLD_BATCH_HIT_RATE,
    PRIMED_HIT_RATE,
    SYNC_HIT_RATE,
    CacheDecision,
    HitRates,
    decide_caching,
    smallest_primed_group,
)
from batchforge.claude_models import PriceTable, find_model, price_table
from batchforge.compiler import CompiledJob
from batchforge.errors import ProjectError
from batchforge.estimate import (
    CANARY_FROM_ROWS,
    CANARY_ROWS,
    JobEstimate,
    Phase,
    RequestSizes,
    estimate_job,
    make_phases,
)
from batchforge.plan_rows import Action, PlannedRow, RowSpool, SendOrder
from batchforge.request import BlockedRow, MessageRequest
from batchforge.results import CUT, TRANSIENT_ERRORS, Learnt, ResultKind
from batchforge.spill import SpillCounter
from batchforge.state.records import Manifest, ManifestRow, RequestRecord, StateReader, StoredAnswer
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 2_000


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


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What a plan depends on besides the rows and what is remembered of them."""

    resend: Resend = Resend.NOTHING_PAID
    mode: Literal["batch", "sync"] = "batch"
    can_prime: bool = True
    """Whether a row may be sent ahead and waited for."""
    prices: PriceTable | None = None
    """None: the table of this version."""
    counted_ratios: Mapping[str, float] = field(default_factory=dict)
    """Job -> input tokens as the API counts them over estimated ones, where it was asked."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a run of one job would do. Close it (or use it as a context) to remove its file."""

    compiled: CompiledJob
    settings: PlanSettings
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
    gone_rows: int
    """Rows of the last run that are not in the input any more."""
    estimate: JobEstimate
    caching: CacheDecision
    phases: tuple[Phase, ...]
    estimated_input_tokens: float
    """Before anything was learnt from results: what results are held against."""
    _spool: RowSpool = field(repr=False)
    _order: SendOrder = field(repr=False)

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

    def bodies(self, phase: str) -> Iterator[tuple[PlannedRow, bytes]]:
        """The requests of a phase in the order in which they are sent, each with its params and cache breakpoints."""
        template = self.compiled.template
        write, write_in_group = (template.body_writer(marks) for marks in self._order.marks)
        for planned, is_in_primed_group in self._order.rows(phase, self._spool):
            assert planned.pieces is not None
            yield planned, (write_in_group if is_in_primed_group else write)(planned.pieces)

    def caching_in(self, phase: Phase) -> str:
        """Whether requests of a phase are meant to find their prefix in the cache: none, cold, priming, primed."""
        if not any(self._order.marks):
            return "none"
        if phase.name.startswith("prime"):
            return "priming"
        is_primed = any(each.name.startswith("prime") for each in self.phases)
        return "primed" if is_primed else "cold"

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
    compiled: CompiledJob, state: StateReader | None, target: str, settings: PlanSettings | None = None
) -> JobPlan:
    """Decide on every row. Without state every row is new.

    Raises:
        ProjectError: the input or a template is wrong in some row; BF801 rows of a group do not share a prefix.
    """
    return _Planner(compiled, state, target, settings or PlanSettings()).plan()


class _Planner:
    def __init__(self, compiled: CompiledJob, state: StateReader | None, target: str, settings: PlanSettings) -> None:
        self.compiled, self.state, self.settings = compiled, state, settings
        spec = compiled.spec
        self.before = state.manifest(target, spec.name) if state else None
        self.prices = (settings.prices or price_table()).prices_of(spec.model)
        self.model = find_model(spec.model)
        self.sizes = RequestSizes(compiled, self.model, self.prices)
        self.groups = CacheGroups(compiled.template) if spec.cache.per else None
        self.digest = hashlib.sha256()
        self.counts: Counter[Action] = Counter()
        self.reasons: Counter[str] = Counter()
        self.row_count = 0
        self.columns: dict[str, None] = dict.fromkeys(spec.output.columns or ())
        self.blocked: list[ManifestRow] = []
        self.offsets = array("Q")

    def plan(self) -> JobPlan:
        spool = RowSpool()
        try:
            with SpillCounter() as seen:
                for rows in in_chunks(self.compiled.requests(), _ROWS_PER_LOOKUP):
                    for planned in self._decide_rows(rows, seen):
                        offset = spool.write(planned)
                        self._count(planned, offset)
                distinct = seen.distinct()
            return self._finished(spool, distinct)
        except BaseException:
            spool.close()
            raise

    def _finished(self, spool: RowSpool, distinct: int) -> JobPlan:
        learnt = self._learnt()
        caching = self._caching(learnt)
        order = self._order(caching, learnt)
        spec = self.compiled.spec
        estimate = estimate_job(
            self.sizes,
            caching,
            learnt,
            self.prices,
            max_tokens=spec.max_tokens,
            is_batch=self.settings.mode == "batch",
            inference_geo=spec.params.get("inference_geo"),
        )
        return JobPlan(
            compiled=self.compiled,
            settings=self.settings,
            counts=dict(self.counts),
            reasons=dict(self.reasons),
            row_count=self.row_count,
            requests_to_send=self.sizes.requests,
            distinct_requests=distinct,
            digest=self.digest.hexdigest(),
            columns=tuple(self.columns),
            first_blocked=tuple(self.blocked),
            gone_rows=self._gone_rows(spool),
            estimate=estimate,
            caching=caching,
            phases=order.phases,
            estimated_input_tokens=self.sizes.input_tokens,
            _spool=spool,
            _order=order,
        )

    def _learnt(self) -> Learnt:
        spec = self.compiled.spec
        learnt = self.state.learnt(spec.name, spec.model, self.settings.mode) if self.state else Learnt()
        counted = self.settings.counted_ratios.get(spec.name)
        return learnt if counted is None else replace(learnt, input_ratio=counted)

    def _caching(self, learnt: Learnt) -> CacheDecision:
        is_batch = self.settings.mode == "batch"
        cold = COLD_BATCH_HIT_RATE if is_batch else SYNC_HIT_RATE
        rates = HitRates(
            cold=cold if learnt.cold_hit_rate is None else learnt.cold_hit_rate,
            primed=PRIMED_HIT_RATE if learnt.primed_hit_rate is None else learnt.primed_hit_rate,
            learnt_from=learnt.results,
        )
        return decide_caching(
            self.compiled.spec.cache,
            self.compiled.slots,
            self.sizes.prefix_tokens,
            requests=self.sizes.requests,
            tier=self.prices.tier_for(int(self.sizes.typical_prompt_tokens)) if self.prices else None,
            min_tokens=self.model.min_cacheable_tokens if self.model else 0,
            rates=rates,
            can_prime=self.settings.can_prime,
        )

    def _order(self, caching: CacheDecision, learnt: Learnt) -> SendOrder:
        canary = self._canary_rows(learnt)
        if self.groups is None:
            phases = make_phases(self.sizes.requests, is_primed=caching.is_primed, canary=canary)
            return SendOrder.in_input_order(phases, caching.cache_control())
        if self.groups.slot is None and self.groups.numbers and self.groups.first_difference:
            raise ProjectError(
                "BF801",
                f"`cache: per: {self.compiled.spec.cache.per}` finds no block that the rows of a group share: "
                f"{self.groups.first_difference}",
                location=self.compiled.spec.locations.get("cache"),
                hint="Put what the group shares into a content block of its own, before what differs by row.",
            )
        can_prime = self.settings.can_prime and self.compiled.spec.cache.mode != "off"
        smallest = smallest_primed_group(self.prices) if can_prime else None
        return SendOrder.by_group(self.groups, self.offsets, caching.cache_control(), smallest, canary)

    def _canary_rows(self, learnt: Learnt) -> int:
        asked = self.compiled.spec.canary
        if asked is not None:
            return asked
        return CANARY_ROWS if not learnt.results and self.sizes.requests > CANARY_FROM_ROWS else 0

    def _gone_rows(self, spool: RowSpool) -> int:
        if self.before is None or self.state is None or self.before.digest == self.digest.hexdigest():
            return 0
        kept = 0
        for rows in in_chunks(spool.read(), _ROWS_PER_LOOKUP):
            kept += len(self.state.rows_by_key(self.before.manifest_id, [planned.row.key for planned in rows]))
        return self.before.row_count - kept

    def _decide_rows(self, rows: Sequence[MessageRequest | BlockedRow], seen: SpillCounter) -> Iterator[PlannedRow]:
        ids = [row.request_id for row in rows if isinstance(row, MessageRequest)]
        records = self.state.lookup(ids) if self.state else {}
        unknown = [r for r in rows if isinstance(r, MessageRequest) and r.request_id not in records]
        causes = self._causes(unknown)
        for row in rows:
            if isinstance(row, BlockedRow):
                yield self._blocked(row)
                continue
            decision = decide(records.get(row.request_id), self.compiled.spec.max_tokens, self.settings.resend)
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

    def _count(self, planned: PlannedRow, offset: int) -> None:
        self.row_count += 1
        self.counts[planned.action] += 1
        row = planned.row
        if planned.action is Action.SUBMIT:
            self.reasons[planned.reason] += 1
        if planned.pieces is not None:
            self.sizes.add(planned.pieces)
            if self.groups is not None:
                column = self.compiled.spec.cache.per
                value = msgspec.json.decode(row.values).get(column)
                self.groups.add(str(value), planned.pieces)
                self.offsets.append(offset)
        self.digest.update(b"%d %d %s " % (len(row.key), row.ordinal, row.request_id or b"") + row.key.encode())
