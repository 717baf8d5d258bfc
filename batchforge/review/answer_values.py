"""How answers differ between two revisions of a job, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from batchforge.evaluation.statistics import Interval, MeanComparison, Noise, ShareComparison

FieldKind = Literal["label", "number", "text", "other"]


@dataclass(frozen=True, slots=True)
class Transition:
    """So many rows had one value and have the other."""

    before: str
    after: str
    rows: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows by their label before and after, those that kept theirs among them."""

    labels: Sequence[str]
    """Those of most rows first."""
    cells: Sequence[Sequence[int]]
    """By the label before, then by that after; the last of each is all others together, where there are any."""
    further: int = 0
    """How many labels these are."""


@dataclass(frozen=True, slots=True)
class FieldDiff:
    name: str
    kind: FieldKind
    compared: int
    """Rows that have the field on both sides."""
    changed: int
    interval: Interval
    """Of the share that changed."""
    transitions: Sequence[Transition] = ()
    """Of labels: the most frequent changes first."""
    grid: Grid | None = None
    """Of labels that changed."""
    shift: MeanComparison | None = None
    """Of numbers."""
    similarity: float | None = None
    """Of texts that changed: the mean share of words that both have."""
    noise: Noise | None = None
    """Held against rows that change when the older side is asked twice."""


@dataclass(frozen=True, slots=True)
class JobTestSide:
    """What a test of the job comes to on one side's answers."""

    status: str
    """pass, warn, fail, or error: it could not be worked out."""
    rows: int = 0
    """Rows that it looked at."""
    failures: int = 0
    value: float | None = None
    """What was measured, by a test that measures."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class JobTestDiff:
    """One of the job's tests, asked of the compared rows' answers of both sides."""

    name: str
    kind: str
    severity: str
    before: JobTestSide
    after: JobTestSide
    passing: ShareComparison | None = None
    """Rows that pass, before and after; one without an answer does not. None where it cannot be worked out."""
    noise: Noise | None = None
    """Rows that come to pass or fail by the edit, held against those that do when the older side is asked twice."""


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """One row and what was answered, before and after."""

    key: str
    place: str
    kind: str
    """changed, fixed, broken (by the label; without one, by the job's tests), invalid (now), valid (now), same."""
    words: str
    row: Mapping[str, Any]
    before: Mapping[str, Any]
    """The answer's columns; `_status` where there are none."""
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnswersDiff:
    compared: int
    """Rows whose request differs and that have a result on both sides."""
    missing_before: int
    missing_after: int
    """Changed rows without a result on that side."""
    changed: int
    """Rows of which any field, or the status, is another."""
    valid: ShareComparison
    """Rows that were answered as the schema says: failed ones count as wrong, they are not left out."""
    statuses: Sequence[Transition]
    """Where the status changed: answered → invalid."""
    fields: Sequence[FieldDiff]
    tests: Sequence[JobTestDiff] = ()
    """The job's own tests, in their order."""
    accuracy: ShareComparison | None = None
    accuracy_noise: Noise | None = None
    """Rows that become right or wrong by the edit, held against those that do when the older side is asked twice."""
    label: str = ""
    """The field and the column that it is held against."""
    cluster: str = ""
    """The column whose rows count as one, as far as chance goes."""
    telling: Sequence[RowAnswers] = ()
    noise_rows: int = 0
    """Rows that the older side was asked twice for."""
    notes: Sequence[str] = ()
