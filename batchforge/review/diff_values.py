"""What a change does, as values: jobs, the parts that changed, rows, money, the cached prefix, the rendered prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from batchforge.errors import Location, Problem
from batchforge.review.answer_values import AnswersDiff
from batchforge.review.git_base import Revision
from batchforge.review.text_diff import DiffLine


class Status(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    MODIFIED = "modified"
    UNCHANGED = "unchanged"


class Part(StrEnum):
    PROMPT = "prompt"
    SYSTEM = "system"
    MACRO = "macro"
    VARS = "vars"
    MODEL = "model"
    PARAMS = "params"
    CACHING = "caching"
    OUTPUT_SCHEMA = "output schema"
    INPUT = "input"
    TESTS = "tests"
    DELIVERY = "delivery"
    """How requests are sent and outputs written: mode, batches, budgets, the output's file."""
    META = "meta"


class Basis(StrEnum):
    """What the figures of a job rest on."""

    SAME = "same"
    """Both sides ask the same of the same rows, which need not be looked at."""
    ROWS = "rows"
    """All rows were rendered on both sides."""
    SAMPLES = "samples"
    """Committed sample rows were rendered, and the figures scaled by what was learnt when they were written."""
    NOTHING = "nothing"
    """Neither rows nor samples are here: nothing is known of cost."""


@dataclass(frozen=True, slots=True)
class PartChange:
    part: Part
    changes_requests: bool
    """Whether any row's request differs by it."""
    words: str
    """What was changed: claude-haiku-5-5 → claude-sonnet-5, prompts/rules.md.j2."""
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class RowCounts:
    before: int = 0
    after: int = 0
    same: int = 0
    """Rows whose request is the same on both sides."""
    changed: int = 0
    new: int = 0
    gone: int = 0
    rerun: int = 0
    """Changed rows that are to be sent. Without state: all that may have to be."""
    fresh: int = 0
    """New rows that are to be sent."""
    reused: int = 0
    """Changed or new rows whose request was answered before: by an older revision, another job, another branch."""
    waiting: int = 0
    """Same rows that a run would send with or without the change."""
    in_flight: int = 0
    failed: int = 0
    """Changed or new rows that were asked, billed and failed before; only `retry` asks again."""
    blocked: int = 0

    @property
    def to_send(self) -> int:
        """Because of the change."""
        return self.rerun + self.fresh


@dataclass(frozen=True, slots=True)
class Cost:
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    expected_pico_usd: int | None = 0
    """None where it is not known."""
    ceiling_pico_usd: int | None = 0
    """The most it can be; None where there is no bound or no price."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            _sum(self.expected_pico_usd, other.expected_pico_usd),
            _sum(self.ceiling_pico_usd, other.ceiling_pico_usd),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class CacheSide:
    prefix_tokens: int
    """Estimated tokens of what all rows share."""
    is_cached: bool
    note: str


@dataclass(frozen=True, slots=True)
class CacheEffect:
    before: CacheSide
    after: CacheSide
    is_prefix_changed: bool
    words: str


@dataclass(frozen=True, slots=True)
class RowDiff:
    """One row's own texts before and after; no lines of the side that does not have the row."""

    key: str
    place: str
    stratum: str
    """Of which kind of rows it is the example."""
    lines: Sequence[DiffLine]


@dataclass(frozen=True, slots=True)
class PromptDiff:
    shared: Sequence[DiffLine] = ()
    """What all rows share, before and after; empty where it is the same."""
    rows: Sequence[RowDiff] = ()


@dataclass(frozen=True, slots=True)
class JobDiff:
    job: str
    status: Status
    path: str
    """Of the job file, of the older side where the job was removed."""
    model: str
    mode: str
    basis: Basis
    old_job: str = ""
    """The name before, where it was renamed."""
    old_path: str = ""
    """Where the job file lay before, if it was moved."""
    parts: Sequence[PartChange] = ()
    rows: RowCounts | None = None
    """None where rows were not looked at, or are not here."""
    is_at_most: bool = False
    """True where no state tells what was answered before: all that changed may have to be sent, or less."""
    sampled_rows: int = 0
    """How many rows the figures were scaled up from; 0 where all were looked at."""
    learnt_from: int = 0
    """Results that the estimate has learnt from."""
    change: Cost | None = NOTHING
    """What the next run pays because of the change; None where that is not known."""
    waiting: Cost | None = NOTHING
    """What it pays with or without the change."""
    before: Cost | None = None
    """All rows asked once, as the older side asks them; None where that is not known."""
    after: Cost | None = None
    caching: CacheEffect | None = None
    prompt: PromptDiff = PromptDiff()
    notes: Sequence[str] = ()
    answers: AnswersDiff | None = None
    """None where no changed row has a result on both sides."""
    keys_to_ask: Sequence[str] = ()
    """Of some changed rows, where they were wanted: always the same ones."""
    upstream: Sequence[str] = ()
    """Jobs whose rows it reads and that are asked anew: its own rows change with their answers."""

    @property
    def changes_requests(self) -> bool:
        if self.status in (Status.ADDED, Status.REMOVED) or self.upstream:
            return True
        if self.basis is Basis.NOTHING or self.rows is None:
            return any(part.changes_requests for part in self.parts)
        return bool(self.rows.changed or self.rows.new or self.rows.gone)

    @property
    def is_asked_anew(self) -> bool:
        """Whether some of its answers may be others."""
        return self.changes_requests and self.status is not Status.REMOVED


@dataclass(frozen=True, slots=True)
class Gate:
    """A rule of `review: fail_on:` that was checked."""

    rule: str
    limit: float | bool
    is_tripped: bool
    words: str
    """What was found."""


@dataclass(frozen=True, slots=True)
class ProjectDiff:
    project: str
    target: str
    base: Revision
    head: Revision
    jobs: Sequence[JobDiff]
    """All that were compared, in the order of their names."""
    has_state: bool
    prices_as_of: str
    problems: Sequence[Problem] = ()
    """Warnings about the newer side."""
    notes: Sequence[str] = ()
    target_changes: Sequence[str] = ()
    """Settings of batchforge.yml's targets that were edited: `prod: base_url`. Never their values."""
    paid_usd: float = 0.0
    """What was paid for answers to compare."""
    gates: Sequence[Gate] = ()

    @property
    def changed_jobs(self) -> list[JobDiff]:
        return [job for job in self.jobs if job.status is not Status.UNCHANGED]

    @property
    def asking_jobs(self) -> list[JobDiff]:
        """Those of which some request is another now."""
        return [job for job in self.jobs if job.changes_requests]

    @property
    def change(self) -> Cost | None:
        """Of all jobs; None where the cost of any is not known."""
        total = NOTHING
        for job in self.jobs:
            if job.change is None:
                return None
            total += job.change
        return total

    @property
    def is_at_most(self) -> bool:
        return any(job.is_at_most and job.changes_requests for job in self.jobs)
