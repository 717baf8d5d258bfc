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
    shift: MeanComparison | None = None
    """Of numbers."""
    similarity: float | None = None
    """Of texts that changed: the mean share of words that both have."""
    noise: Noise | None = None
    """Held against rows that change when the older side is asked twice."""


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """One row and what was answered, before and after."""

    key: str
    place: str
    kind: str
    """changed, fixed, broken, invalid (now), valid (now), same."""
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
    accuracy: ShareComparison | None = None
    label: str = ""
    """The field and the column that it is held against."""
    cluster: str = ""
    """The column whose rows count as one, as far as chance goes."""
    telling: Sequence[RowAnswers] = ()
    noise_rows: int = 0
    """Rows that the older side was asked twice for."""
    notes: Sequence[str] = ()
