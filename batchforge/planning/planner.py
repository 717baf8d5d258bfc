"""Compiled job + what we remember -> what to send, reuse, wait for, and why. Reads state, never writes it.

The rows of a plan are kept in a private file, not in memory: a `JobPlan` can be read as often as needed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Literal

import msgspec

from batchforge.answers import INVALID, reader_of
from batchforge.claude_models import ModelPrices, PriceTable, find_model, price_table
from batchforge.documents.file_piece import PiecesToWire, with_stand_in_ids
from batchforge.errors import Location, ProjectError
from batchforge.nearest import did_you_mean
from batchforge.planning.cache_groups import CacheGroups, Difference, first_differing_byte
from batchforge.planning.caching import (
    COLD_BATCH_HIT_RATE,
    PRIMED_BY_SYNC_HIT_RATE,
    PRIMED_HIT_RATE,
    SYNC_HIT_RATE,
    CacheDecision,
    GroupSize,
    HitRates,
    decide_caching,
    decide_group_caching,
    group_note,
)
from batchforge.planning.decisions import Resend, decide_answer, decide_variant
from batchforge.planning.estimate import (
    CANARY_FROM_ROWS,
    CANARY_ROWS,
    JobEstimate,
    Phase,
    RequestBound,
    RequestSizes,
    estimate_job,
    make_phases,
    request_bound,
)
from batchforge.planning.further_steps import Outlook
from batchforge.planning.plan_rows import Action, PlannedRow, RowSpool, SendOrder
from batchforge.profiling import stage, staged
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import BlockedRow, MessageRequest
from batchforge.results import Learnt, ResultKind
from batchforge.spill import SpillCounter
from batchforge.state.records import Intended, Manifest, ManifestRow, RequestRecord, StateReader, StoredAnswer
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 2_000


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What a plan depends on besides the rows and what is remembered of them."""

    resend: Resend = Resend.NOTHING_PAID
    asked_after: int | None = None
    """The last attempt before the run: `resend` asks once for what there was up to then. None: up to now."""
    mode: Literal["batch", "sync"] = "batch"
    can_prime: bool = True
    """Whether a row may be sent ahead and waited for."""
    variant: tuple[int, int] | None = None
    """For a comparison: its number among the variants that ask the same in the same way of delivery, and among all."""
    prices: PriceTable | None = None
    """None: the table of this version."""
    counted_ratios: Mapping[str, float] = field(default_factory=dict)
    """Job -> input tokens as the API counts them over estimated ones, where it was asked."""
    learnt: Learnt | None = None
    """Taken where state has learnt nothing about the job with its model."""


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
    bound: RequestBound | None
    """The most that a request can cost; None where no price is known or no bound exists."""
    learnt: Learnt
    prices: ModelPrices | None
    static_tokens: float
    """Estimated tokens that every request has, before anything was learnt."""
    tokens_per_row_byte: float
    row_bytes: int
    """Of the own texts of all rows to be sent."""
    largest_body_bytes: int
    """Of the requests to be sent."""
    shape: str
    """Hash of what the API may refuse about these requests, whatever their texts say."""
    sync_bound: RequestBound | None
    """The most that a request can cost where it is sent by itself, at no discount."""
    _spool: RowSpool = field(repr=False)
    _order: SendOrder = field(repr=False)
    outlook: Outlook | None = None
    """Of a job that goes through several steps: what may follow this one."""

    @property
    def job(self) -> str:
        return self.compiled.spec.name

    @property
    def unit(self) -> str:
        """The job, or its further step."""
        step = self.compiled.spec.step
        return self.job if step is None or step.number == 1 else f"{self.job} {step.scope}"

    @property
    def expected_pico_usd(self) -> int | None:
        """With what may follow; None where the prices are not known, or how many rows further steps ask."""
        return _with(self.estimate.expected_pico_usd, self.outlook.expected_pico_usd if self.outlook else 0)

    @property
    def ceiling_pico_usd(self) -> int | None:
        """With what may follow; None where there is no bound or no price."""
        return _with(self.estimate.ceiling_pico_usd, self.outlook.ceiling_pico_usd if self.outlook else 0)

    @property
    def spent_pico_usd(self) -> int:
        """By the steps before it, in the same run."""
        return self.outlook.spent_pico_usd if self.outlook else 0

    @property
    def may_send(self) -> bool:
        """Now, or in a further step."""
        return bool(self.requests_to_send or (self.outlook and any(each.rows for each in self.outlook.later)))

    @property
    def tokens_per_byte(self) -> float:
        """Of the requests' bodies, as it is expected."""
        body_bytes = self.requests_to_send * self.compiled.template.static_bytes + self.row_bytes
        return self.estimate.input_tokens / body_bytes if body_bytes else 0.0

    def rows(self) -> Iterator[PlannedRow]:
        """All rows, in input order."""
        return self._spool.read()

    def manifest_rows(self) -> Iterator[ManifestRow]:
        return (planned.row for planned in self.rows())

    def to_send(self) -> Iterator[PlannedRow]:
        """One row for each request that is to be sent."""
        return (planned for planned in self.rows() if planned.pieces is not None)

    def bodies(self, phase: str, to_wire: PiecesToWire = with_stand_in_ids) -> Iterator[tuple[PlannedRow, bytes]]:
        """The requests of a phase in the order in which they are sent, each with its params and cache breakpoints.
        `to_wire` gives what is sent in the place of files."""
        template = self.compiled.template
        write, write_in_group = (template.body_writer(marks, to_wire) for marks in self._order.marks)
        for planned, is_in_primed_group in self._order.rows(phase, self._spool):
            assert planned.pieces is not None
            yield planned, (write_in_group if is_in_primed_group else write)(planned.pieces)

    def sizes_of(self, requests: Sequence[Intended]) -> tuple[int | None, float]:
        """(the most that some of the requests can cost in pico-USD, their estimated input tokens)

        The first is None where there is no bound; the second is what their results are held against, before anything
        was learnt from results.
        """
        bound, template = self.bound, self.compiled.template
        row_bytes = most_pico_usd = 0
        for request in requests:
            pieces = request.pieces
            row_bytes += template.piece_bytes(pieces)
            if bound is not None:
                most_pico_usd += bound.pico_usd(template.most_bytes(pieces))
        tokens = self.static_tokens * len(requests) + self.tokens_per_row_byte * row_bytes
        return None if bound is None else most_pico_usd, tokens

    def share_of(self, phase: Phase) -> float:
        """The phase's part of the expected cost: by its requests, or by their sizes where these come to more."""
        count = self.compiled.template.piece_bytes
        sizes = [count(row.pieces or ()) for row, _ in self._order.rows(phase.name, self._spool)]
        tokens = self.static_tokens * len(sizes) + self.tokens_per_row_byte * sum(sizes)
        all_tokens = self.estimate.input_tokens / self.learnt.input_ratio
        return max(len(sizes) / self.requests_to_send, tokens / all_tokens if all_tokens else 0.0)

    def requests_after(self, phase: Phase) -> int:
        names = [each.name for each in self.phases]
        return sum(each.requests for each in self.phases[names.index(phase.name) + 1 :])

    def is_sync(self, phase: Phase) -> bool:
        """Whether a phase goes through the Messages API: as the whole job does, or as its priming rows do."""
        primes_by_sync = phase.name.startswith("prime") and self.compiled.spec.cache.prime == "sync"
        return self.settings.mode == "sync" or primes_by_sync

    def sent_by_sync(self) -> JobPlan:
        """The same plan, for a phase that goes through the Messages API."""
        return replace(self, settings=replace(self.settings, mode="sync"), bound=self.sync_bound)

    def without_caching(self) -> JobPlan:
        """The same requests in the same order, unmarked: for a prefix that is not in the cache any more."""
        return replace(self, _order=self._order.without_marks())

    def rows_that_fit(self, pico_usd: float) -> int:
        """How many rows from the start make requests that together cost no more at most. 0 where there is no bound."""
        if self.bound is None:
            return 0
        left, rows = pico_usd, 0
        bound = self.sync_bound if any(map(self.is_sync, self.phases)) and self.sync_bound else self.bound
        for planned in self.rows():
            if planned.pieces is not None:
                left -= bound.pico_usd(self.compiled.template.most_bytes(planned.pieces))
            if left < 0:
                break
            rows += 1
        return rows

    def caching_in(self, phase: Phase) -> str:
        """Whether requests of a phase are meant to find their prefix in the cache: none, cold, priming, primed; or
        mixed, where only some of them are: nothing is learnt from how many did."""
        if not any(self._order.marks):
            return "none"
        if phase.name.startswith("prime"):
            return "priming"
        groups = self.caching.groups
        if groups is not None and not self.caching.marks and groups.marked_rows < self.requests_to_send:
            return "mixed"
        is_primed = any(each.name.startswith("prime") for each in self.phases)
        return "primed" if is_primed else "cold"

    def close(self) -> None:
        self._spool.close()

    def __enter__(self) -> JobPlan:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@stage("plan rows")
def plan_job(
    compiled: CompiledJob, state: StateReader | None, target: str, settings: PlanSettings | None = None
) -> JobPlan:
    """Decide on every row. Without state every row is new.

    Raises:
        ProjectError: the input or a template is wrong in some row; BF801 rows of a group do not share a prefix.
    """
    return _Planner(compiled, state, target, settings or PlanSettings()).plan()


def plan_settled(
    compiled: CompiledJob,
    state: StateReader | None,
    target: str,
    settings: PlanSettings,
    manifest: Manifest,
    distinct_requests: int,
) -> JobPlan:
    """The plan of a job all of whose rows are known to have their answers. No row is looked at, so it holds none."""
    empty = _Planner(compiled, state, target, settings).plan_nothing()
    return replace(
        empty,
        counts={Action.REUSE: manifest.row_count} if manifest.row_count else {},
        row_count=manifest.row_count,
        distinct_requests=distinct_requests,
        digest=manifest.digest,
        columns=manifest.columns,
        gone_rows=0,
    )


class _Planner:
    def __init__(self, compiled: CompiledJob, state: StateReader | None, target: str, settings: PlanSettings) -> None:
        self.compiled, self.state, self.settings = compiled, state, settings
        spec = compiled.spec
        self.before = state.manifest(target, spec.name, spec.step.scope if spec.step else "") if state else None
        self.prices = (settings.prices or price_table()).prices_of(spec.model)
        self.model = find_model(spec.model)
        self.learnt = self._learnt()
        self.sizes = RequestSizes(compiled, self.model, self.prices, self.learnt)
        self.groups = CacheGroups(compiled.template) if spec.cache.per else None
        self.digest = hashlib.sha256()
        self.counts: Counter[Action] = Counter()
        self.reasons: Counter[str] = Counter()
        self.row_count = self.kept_rows = 0
        self.columns: dict[str, None] = dict.fromkeys(spec.output.columns or ())
        self.blocked: list[ManifestRow] = []
        self.offsets = array("Q")
        self.first_ordinal = spec.output.retries
        """The lowest of those that are to be sent, or the last that invalid answers are asked again under."""
        self._modes: dict[int, str] = {}

    def plan(self) -> JobPlan:
        spool = RowSpool()
        try:
            with SpillCounter() as seen:
                steps = in_chunks(self.compiled.requests(), _ROWS_PER_LOOKUP)
                for rows in staged("read and render rows", steps):
                    self._count_kept(rows)
                    for planned, group in self._decide_rows(rows, seen):
                        self._count(planned, group, spool.write(planned))
                distinct = seen.distinct()
            return self._finished(spool, distinct)
        except BaseException:
            spool.close()
            raise

    def plan_nothing(self) -> JobPlan:
        """Without any rows."""
        return self._finished(RowSpool(), 0)

    def _ceiling_pico_usd(self, bound: RequestBound | None) -> int | None:
        """With all the times that an invalid answer may be asked again."""
        once = self.sizes.ceiling_pico_usd(bound)
        return None if once is None else once * (1 + max(0, self.compiled.spec.output.retries - self.first_ordinal))

    def _finished(self, spool: RowSpool, distinct: int) -> JobPlan:
        caching, is_marked = self._caching(spool)
        shape = _shape(self.compiled)
        order = self._order(caching, is_marked, self._canary_rows(shape))
        spec, is_batch = self.compiled.spec, self.settings.mode == "batch"
        bound, sync_bound = (self._bound(caching, is_batch=mode) for mode in (is_batch, False))
        estimate = estimate_job(
            self.sizes,
            caching,
            self.learnt,
            self.prices,
            max_tokens=spec.max_tokens,
            is_batch=is_batch,
            inference_geo=spec.params.get("inference_geo"),
            ceiling_pico_usd=self._ceiling_pico_usd(bound),
        )
        plan = JobPlan(
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
            # Never below none: another run may have remembered more rows in their place meanwhile.
            gone_rows=max(0, self.before.row_count - self.kept_rows) if self.before else 0,
            estimate=estimate,
            caching=caching,
            phases=order.phases,
            bound=bound,
            learnt=self.learnt,
            prices=self.prices,
            static_tokens=self.sizes.static_tokens,
            tokens_per_row_byte=self.sizes.tokens_per_row_byte,
            row_bytes=self.sizes.row_bytes,
            largest_body_bytes=self.sizes.largest_body_bytes,
            shape=shape,
            sync_bound=sync_bound,
            _spool=spool,
            _order=order,
        )
        return _with_dearer_priming(plan)

    @property
    def can_prime(self) -> bool:
        """A synchronous answer is there at once, so nothing has to be waited for."""
        return self.settings.can_prime or self.primes_by_sync

    @property
    def primes_by_sync(self) -> bool:
        return self.compiled.spec.cache.prime == "sync" and self.settings.mode == "batch"

    def _bound(self, caching: CacheDecision, *, is_batch: bool) -> RequestBound | None:
        if self.prices is None or self.sizes.no_bound_because:
            return None
        return request_bound(self.compiled, self.prices, write_ttl=caching.longest_life, is_batch=is_batch)

    def _learnt(self) -> Learnt:
        spec = self.compiled.spec
        learnt = self.state.learnt(spec.name, spec.model, self.settings.mode) if self.state else Learnt()
        if not learnt.results and self.settings.learnt is not None:
            learnt = self.settings.learnt
        counted = self.settings.counted_ratios.get(spec.name)
        return learnt if counted is None else replace(learnt, input_ratio=counted)

    def _caching(self, spool: RowSpool) -> tuple[CacheDecision, list[bool]]:
        """What to cache, and of each group of rows whether its own prefix is."""
        ratio, policy = self.learnt.input_ratio, self.compiled.spec.cache
        tier = self.prices.tier_for(int(self.sizes.typical_prompt_tokens)) if self.prices else None
        min_tokens = self.model.min_cacheable_tokens if self.model else 0
        decision = decide_caching(
            policy,
            self.compiled.slots,
            [tokens * ratio for tokens in self.sizes.prefix_tokens],
            requests=self.sizes.requests,
            tier=tier,
            min_tokens=min_tokens,
            rates=self._rates(),
            can_prime=self.can_prime,
        )
        if self.groups is None or not self.groups.numbers:
            return decision, []
        slot, sizes = self.groups.slot, self._group_sizes(spool)
        chosen = decide_group_caching(
            policy,
            slot,
            sizes,
            decision,
            tier=tier,
            min_tokens=min_tokens,
            rates=self._rates(),
            can_prime=self.can_prime,
        )
        note = f"{decision.note}; {group_note(policy.per or '', sizes, chosen, min_tokens)}"
        is_marked = [chosen is not None and chosen.is_marked(size.rows, size.prefix_tokens) for size in sizes]
        return replace(decision, groups=chosen, note=note), is_marked

    def _rates(self) -> HitRates:
        learnt = self.learnt
        cold = COLD_BATCH_HIT_RATE if self.settings.mode == "batch" else SYNC_HIT_RATE
        primed = PRIMED_BY_SYNC_HIT_RATE if self.primes_by_sync else PRIMED_HIT_RATE
        return HitRates(
            cold=cold if learnt.cold_hit_rate is None else learnt.cold_hit_rate,
            primed=primed if learnt.primed_hit_rate is None else learnt.primed_hit_rate,
            learnt_from=learnt.results,
        )

    def _group_sizes(self, spool: RowSpool) -> list[GroupSize]:
        assert self.groups is not None
        slot, ratio = self.groups.slot, self.learnt.input_ratio
        if slot is None:
            if self.groups.first_difference is not None:
                raise self._no_shared_block(self.groups.first_difference, spool)
            return [GroupSize(rows, 0.0) for rows, _ in self.groups.sizes()]
        static, per_byte = self.sizes.prefix_tokens[slot], self.sizes.tokens_per_row_byte
        return [GroupSize(rows, (static + size * per_byte) * ratio) for rows, size in self.groups.sizes()]

    def _no_shared_block(self, difference: Difference, spool: RowSpool) -> ProjectError:
        rows = [spool.read_at(self.offsets[number]) for number in (difference.first_row, difference.other_row)]
        first, other = (row.pieces or () for row in rows)
        text, byte = first_differing_byte(first, other)
        source = self.compiled.row_templates[text].source
        words = " ".join(source.text.split())
        shown = words if len(words) <= 60 else f"{words[:60]}…"
        return ProjectError(
            "BF801",
            f"`cache: per: {self.compiled.spec.cache.per}` finds no block that the rows of a group share: in the group "
            f"'{difference.group}' the text `{shown}` differs from byte {byte} on, between "
            f"{rows[0].row.place} and {rows[1].row.place}",
            location=Location(source.path, source.line),
            hint="Put what the group shares into a content block of its own, before what differs by row.",
        )

    def _order(self, caching: CacheDecision, is_marked: Sequence[bool], canary: int) -> SendOrder:
        if self.groups is None:
            phases = make_phases(self.sizes.requests, is_primed=caching.is_primed, canary=canary)
            return SendOrder.in_input_order(phases, caching.cache_control())
        return SendOrder.by_group(self.groups, self.offsets, caching, is_marked, canary)

    def _canary_rows(self, shape: str) -> int:
        asked = self.compiled.spec.canary
        if asked is not None:
            return asked
        if self.sizes.requests <= CANARY_FROM_ROWS or (self.state is not None and self.state.has_answers(shape)):
            return 0
        return CANARY_ROWS

    def _count_kept(self, rows: Sequence[MessageRequest | BlockedRow]) -> None:
        """Those that the last run had too: most stand where they stood, the others are looked for by their keys."""
        if self.before is None or self.state is None:
            return
        before = self.before.manifest_id
        stood = self.state.keys_between(before, rows[0].position, rows[-1].position)
        moved = [row.key for row in rows if stood.get(row.position) != row.key]
        self.kept_rows += len(rows) - len(moved) + len(self.state.rows_by_key(before, moved))

    def _decide_rows(
        self, rows: Sequence[MessageRequest | BlockedRow], seen: SpillCounter
    ) -> Iterator[tuple[PlannedRow, str]]:
        """Each row, and the name of the group that it shares a prefix with."""
        ids = [row.request_id for row in rows if isinstance(row, MessageRequest)]
        records = self.state.lookup(ids) if self.state else {}
        unknown = [r for r in rows if isinstance(r, MessageRequest) and r.request_id not in records]
        causes = self._causes(unknown)
        retries = self.compiled.spec.output.retries
        asks_again = bool(retries) or self.settings.resend is Resend.FAILED
        invalid = self._invalid_answers(records) if asks_again and records else {}
        used = self._used_ordinals(rows, records)
        for row in rows:
            if isinstance(row, BlockedRow):
                yield self._blocked(row), ""
                continue
            record, settings = records.get(row.request_id), self.settings
            answers = self.compiled.spec.answers
            if settings.variant is not None:
                decision = decide_variant(record, settings.variant, self._is_own_way)
            else:
                decision = decide_answer(
                    record,
                    (row.position % answers, answers),
                    self.compiled.spec.max_tokens,
                    settings.resend,
                    settings.asked_after,
                    invalid.get(row.request_id, ()),
                    used.get(row.position),
                    retries,
                )
            name = row.request_id if answers == 1 else row.request_id + decision.ordinal.to_bytes(4, "big")
            is_first = seen.add(name) == 0
            is_sent = decision.action is Action.SUBMIT and is_first
            if is_sent:
                self.first_ordinal = min(self.first_ordinal, decision.ordinal)
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
            planned = PlannedRow(manifest_row, decision.action, reason, row.pieces if is_sent else None)
            yield planned, self._group_of(row) if is_sent else ""

    def _group_of(self, row: MessageRequest) -> str:
        column = self.compiled.spec.cache.per
        if column is None:
            return ""
        if column not in row.values:
            hint = did_you_mean(column, row.values) or f"The columns are {', '.join(row.values)}."
            location = self.compiled.spec.locations.get("cache")
            message = f"`cache: per: {column}` names a column that {row.place} does not have"
            raise ProjectError("BF809", message, location=location, hint=hint)
        return str(row.values[column])

    def _invalid_answers(self, records: Mapping[bytes, RequestRecord]) -> dict[bytes, set[int]]:
        """Request -> ordinals of its answers that break the job's schema."""
        assert self.state is not None
        spec = self.compiled.spec
        reader = reader_of(spec)
        names = [
            (request, answer.ordinal)
            for request, record in records.items()
            for answer in record.answers
            if answer.kind is ResultKind.ANSWERED
        ]
        found: dict[bytes, set[int]] = {}
        for (request, ordinal), stored in self.state.stored_results(names).items():
            if reader.read(stored.result).status == INVALID:
                found.setdefault(request, set()).add(ordinal)
        return found

    def _is_own_way(self, answer: StoredAnswer) -> bool:
        """Whether an answer came by batch, or by itself, as those that are compared are to come."""
        if answer.attempt_id not in self._modes:
            assert self.state is not None
            self._modes[answer.attempt_id] = self.state.attempt(answer.attempt_id).mode
        return self._modes[answer.attempt_id] == self.settings.mode

    def _used_ordinals(
        self, rows: Sequence[MessageRequest | BlockedRow], records: Mapping[bytes, RequestRecord]
    ) -> dict[int, int]:
        """Position -> the answer that the row had in the last run, where there is more than one to choose from."""
        several = {
            row.key: row
            for row in rows
            if isinstance(row, MessageRequest)
            and (record := records.get(row.request_id)) is not None
            and len(record.answers) > 1
        }
        if not several or self.before is None or self.state is None:
            return {}
        old_rows = self.state.rows_by_key(self.before.manifest_id, list(several))
        return {
            several[key].position: old.ordinal
            for key, old in old_rows.items()
            if old.request_id == several[key].request_id
        }

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

    def _count(self, planned: PlannedRow, group: str, offset: int) -> None:
        self.row_count += 1
        self.counts[planned.action] += 1
        row = planned.row
        if planned.action is Action.SUBMIT:
            self.reasons[planned.reason] += 1
        if planned.pieces is not None:
            self.sizes.add(planned.pieces)
            if self.groups is not None:
                self.groups.add(group, planned.pieces)
                self.offsets.append(offset)
        self.digest.update(b"%d %d %s " % (len(row.key), row.ordinal, row.request_id or b"") + row.key.encode())


def _with_dearer_priming(plan: JobPlan) -> JobPlan:
    """Priming rows that go through the Messages API get no discount."""
    phases = [phase for phase in plan.phases if plan.is_sync(phase) and plan.settings.mode == "batch"]
    if not phases or plan.bound is None or plan.sync_bound is None:
        return plan
    pieces = [row.pieces or () for phase in phases for row, _ in plan._order.rows(phase.name, plan._spool)]
    sizes = [plan.compiled.template.most_bytes(row) for row in pieces]
    estimate, more = plan.estimate, sum(plan.sync_bound.pico_usd(s) - plan.bound.pico_usd(s) for s in sizes)
    expected_more = (estimate.expected_pico_usd or 0) * len(sizes) // plan.requests_to_send
    estimate = replace(
        estimate,
        expected_pico_usd=(estimate.expected_pico_usd or 0) + expected_more,
        ceiling_pico_usd=(estimate.ceiling_pico_usd or 0) + more,
    )
    return replace(plan, estimate=estimate)


def _with(cost: int | None, more: int | None) -> int | None:
    return None if cost is None or more is None else cost + more


def _shape(compiled: CompiledJob) -> str:
    """What the API may refuse about a job's requests, whatever their texts say."""
    params, parts = compiled.empty_params(), compiled.parts
    blocks = [[message["role"], *(block["type"] for block in message["content"])] for message in params["messages"]]
    value = [parts.model, parts.tools, parts.params, parts.schema, len(params.get("system", ())), blocks]
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]
