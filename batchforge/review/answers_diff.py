"""Answers of both sides, row by row -> what changed in each field, what was fixed or broken, and how sure that is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchforge.answers import Answer
from batchforge.evaluation.statistics import (
    ShareComparison,
    compare_means,
    compare_shares,
    compare_with_noise,
    share_interval,
)
from batchforge.review.answer_pairs import AnswerPair
from batchforge.review.answer_values import AnswersDiff, FieldDiff, FieldKind, RowAnswers, Transition
from batchforge.spec import JobSpec

ANSWERED = "answered"
_MOST_TRANSITIONS = 30
_TELLING = 5
_TELLING_OF_A_KIND = 2
_SHOWN_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Labels:
    """Which field is right where it equals which column."""

    field: str
    column: str


def labels_of(spec: JobSpec) -> Labels | None:
    """From the job's own test of accuracy."""
    for test in spec.tests:
        if test.kind in ("accuracy", "f1", "confusion"):
            return Labels(str(test.args["column"]), str(test.args["label"]))
    return None


@dataclass(slots=True)
class _Field:
    kind: FieldKind
    compared: int = 0
    changed: int = 0
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    similarity: float = 0.0
    by_edit: list[bool] = field(default_factory=list)
    by_chance: list[bool] = field(default_factory=list)


class AnswersComparison:
    """Takes pairs one by one and gives the difference at the end. Holds numbers, and a few telling rows."""

    def __init__(
        self,
        spec: JobSpec,
        labels: Labels | None = None,
        cluster: str = "",
        each: Callable[[RowAnswers], None] | None = None,
    ) -> None:
        """`each` is given every row that was compared."""
        self._labels, self._cluster, self._each = labels, cluster or spec.cache.per or "", each
        self._kinds = _field_kinds(spec)
        self._fields: dict[str, _Field] = {}
        self._compared = self._changed = self._missing_before = self._missing_after = self._again = 0
        self._statuses: Counter[tuple[str, str]] = Counter()
        self._valid: tuple[list[bool], list[bool]] = ([], [])
        self._right: tuple[list[bool], list[bool]] = ([], [])
        self._clusters: list[str] = []
        self._right_clusters: list[str] = []
        self._telling: dict[str, list[RowAnswers]] = {}
        self._spans = (["", ""], ["", ""])
        """When the first and the last result of each side came."""

    def add_all(self, pairs: Iterable[AnswerPair]) -> AnswersComparison:
        for pair in pairs:
            self.add(pair)
        return self

    def add(self, pair: AnswerPair) -> None:
        if pair.before is None or pair.after is None:
            self._missing_before += pair.before is None
            self._missing_after += pair.after is None
            return
        self._compared += 1
        self._again += pair.again is not None
        cluster = str(pair.row.get(self._cluster, pair.key)) if self._cluster else ""
        is_valid = [answer.status == ANSWERED for answer in (pair.before, pair.after)]
        self._valid[0].append(is_valid[0])
        self._valid[1].append(is_valid[1])
        self._clusters.append(cluster)
        if pair.before.status != pair.after.status:
            self._statuses[pair.before.status, pair.after.status] += 1
        changed = [name for name in self._names(pair) if self._add_field(name, pair, pair.before, pair.after, cluster)]
        right = self._add_label(pair, cluster)
        self._changed += bool(changed) or pair.before.status != pair.after.status
        self._keep(pair, pair.before, pair.after, changed, right)
        self._note_times(pair)

    def result(self) -> AnswersDiff:
        clusters = self._clusters if self._cluster else None
        return AnswersDiff(
            compared=self._compared,
            missing_before=self._missing_before,
            missing_after=self._missing_after,
            changed=self._changed,
            valid=compare_shares(*self._valid, clusters),
            statuses=_transitions(self._statuses),
            fields=[_field_diff(name, each, bool(self._cluster)) for name, each in self._fields.items()],
            accuracy=self._accuracy(),
            label=f"{self._labels.field} = {self._labels.column}" if self._labels else "",
            cluster=self._cluster,
            telling=[row for rows in self._telling.values() for row in rows][:_TELLING],
            noise_rows=self._again,
            notes=self._notes(),
        )

    # ---- fields

    def _names(self, pair: AnswerPair) -> list[str]:
        assert pair.before is not None
        assert pair.after is not None
        return list(dict.fromkeys([*pair.before.values, *pair.after.values]))

    def _add_field(self, name: str, pair: AnswerPair, before: Answer, after: Answer, cluster: str) -> bool:
        if name not in before.values or name not in after.values:
            return False
        kept = self._fields.setdefault(name, _Field(self._kinds.get(name, "other")))
        old, new = before.values[name], after.values[name]
        is_changed = bool(old != new)
        kept.compared += 1
        kept.changed += is_changed
        if kept.kind == "label" and is_changed:
            kept.transitions[_shown(old), _shown(new)] += 1
        elif kept.kind == "number" and _is_number(old) and _is_number(new):
            kept.before.append(float(old))
            kept.after.append(float(new))
            kept.clusters.append(cluster)
        elif kept.kind == "text" and is_changed:
            kept.similarity += similarity(str(old), str(new))
        if pair.again is not None and name in pair.again.values:
            kept.by_edit.append(is_changed)
            kept.by_chance.append(bool(pair.again.values[name] != old))
        return is_changed

    # ---- labels

    def _add_label(self, pair: AnswerPair, cluster: str) -> tuple[bool, bool] | None:
        if self._labels is None or pair.row.get(self._labels.column) is None:
            return None
        wanted = _shown(pair.row[self._labels.column])
        name = self._labels.field
        before, after = (
            answer is not None and name in answer.values and _shown(answer.values[name]) == wanted
            for answer in (pair.before, pair.after)
        )
        self._right[0].append(before)
        self._right[1].append(after)
        self._right_clusters.append(cluster)
        return before, after

    def _accuracy(self) -> ShareComparison | None:
        if self._labels is None or not self._right[0]:
            return None
        return compare_shares(*self._right, self._right_clusters if self._cluster else None)

    # ---- rows

    def _keep(
        self, pair: AnswerPair, before: Answer, after: Answer, changed: list[str], right: tuple[bool, bool] | None
    ) -> None:
        kind = _kind(before, after, changed, right)
        if self._each is None and (kind == "same" or len(self._telling.get(kind, ())) >= _TELLING_OF_A_KIND):
            return
        row = RowAnswers(
            pair.key,
            pair.place,
            kind,
            _words(kind, before, after, changed),
            pair.row,
            _columns(before),
            _columns(after),
        )
        if self._each is not None:
            self._each(row)
        if kind != "same" and len(kept := self._telling.setdefault(kind, [])) < _TELLING_OF_A_KIND:
            kept.append(row)
        self._telling = {name: self._telling[name] for name in _ORDER if name in self._telling}

    def _note_times(self, pair: AnswerPair) -> None:
        for span, at in zip(self._spans, (pair.stored_before, pair.stored_after), strict=True):
            span[:] = [min(span[0] or at, at), max(span[1], at)]

    def _notes(self) -> list[str]:
        before, after = self._spans
        notes = []
        if self._compared and _hours_between(before[1], after[0]) > 1:
            notes.append(
                f"answers of the older side came {_span(*before)}, those of the newer {_span(*after)}: whatever else "
                "changed between is in the difference too"
            )
        if self._compared and not self._again:
            notes.append("how much of it is chance is not known: --sample N --aa asks the older side a second time")
        return notes


_ORDER = ("broken", "invalid", "fixed", "changed", "valid")


def _kind(before: Answer, after: Answer, changed: list[str], right: tuple[bool, bool] | None) -> str:
    if before.status == ANSWERED != after.status:
        return "invalid"
    if right is not None and right[0] != right[1]:
        return "fixed" if right[1] else "broken"
    if after.status == ANSWERED != before.status:
        return "valid"
    return "changed" if changed or before.status != after.status else "same"


def _words(kind: str, before: Answer, after: Answer, changed: list[str]) -> str:
    if before.status != after.status:
        return f"{before.status} → {after.status}"
    parts = [f"{name}: {_short(before.values[name])} → {_short(after.values[name])}" for name in changed[:3]]
    return "; ".join(parts) or kind


def _columns(answer: Answer) -> dict[str, Any]:
    if answer.status == ANSWERED:
        return dict(answer.values)
    return {"_status": answer.status, "_error": answer.error or "", "_text": answer.text[:_SHOWN_BYTES]}


def _field_diff(name: str, kept: _Field, is_clustered: bool) -> FieldDiff:
    clusters = kept.clusters if is_clustered else None
    return FieldDiff(
        name=name,
        kind=kept.kind,
        compared=kept.compared,
        changed=kept.changed,
        interval=share_interval(kept.changed, kept.compared),
        transitions=_transitions(kept.transitions),
        shift=compare_means(kept.before, kept.after, clusters) if kept.before else None,
        similarity=kept.similarity / kept.changed if kept.kind == "text" and kept.changed else None,
        noise=compare_with_noise(kept.by_edit, kept.by_chance) if kept.by_chance else None,
    )


def _transitions(counts: Counter[tuple[str, str]]) -> list[Transition]:
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TRANSITIONS]
    return [Transition(before, after, rows) for (before, after), rows in in_order]


def _field_kinds(spec: JobSpec) -> dict[str, FieldKind]:
    schema = spec.output.schema
    if schema is None:
        return {spec.output.text_column: "text"}
    return {name: _kind_of(field) for name, field in schema.get("properties", {}).items()}


def _kind_of(schema: Mapping[str, Any]) -> FieldKind:
    options = [schema, *schema.get("anyOf", ())]
    kinds = {kind for option in options for kind in _listed(option.get("type"))} - {"null"}
    if any("enum" in option for option in options) or kinds == {"boolean"}:
        return "label"
    if kinds and kinds <= {"integer", "number"}:
        return "number"
    return "text" if kinds == {"string"} else "other"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def similarity(old: str, new: str) -> float:
    """The share of words, counted as often as they stand, that two texts have in common.

    >>> round(similarity("a red bicycle", "a blue bicycle"), 2)
    0.67
    """
    one, other = Counter(old.lower().split()), Counter(new.lower().split())
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    text = " ".join(_shown(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _hours_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() / 3600


def _span(first: str, last: str) -> str:
    return f"on {first[:10]}" if first[:10] == last[:10] else f"from {first[:10]} to {last[:10]}"
