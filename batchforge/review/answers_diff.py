"""Answers of both sides, row by row -> what changed in each field, what was fixed or broken, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchforge.answers import Answer
from batchforge.evaluation.statistics import Noise, ShareComparison, compare_shares, compare_with_noise
from batchforge.review.answer_pairs import AnswerPair
from batchforge.review.answer_tests import TestedAnswers
from batchforge.review.answer_values import AnswersDiff, RowAnswers
from batchforge.review.field_differences import FieldComparison, field_kinds, shown_value, transitions
from batchforge.spec import JobSpec

ANSWERED = "answered"
_TELLING = 5
_TELLING_OF_A_KIND = 2
_SHOWN_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Labels:
    """Which field is right where it equals which column."""

    field: str
    column: str


def cluster_column(spec: JobSpec, wanted: str = "") -> str:
    """Rows that share its value are one document; empty where each row is alone."""
    return wanted or spec.cache.per or ""


def cluster_of(pair: AnswerPair, column: str) -> str:
    return str(pair.row.get(column, pair.key)) if column else ""


def labels_of(spec: JobSpec) -> Labels | None:
    """From the job's own test of accuracy."""
    for test in spec.tests:
        if test.kind in ("accuracy", "f1", "confusion"):
            return Labels(str(test.args["column"]), str(test.args["label"]))
    return None


class AnswersComparison:
    """Takes pairs one by one and gives the difference at the end. Holds numbers, and a few telling rows."""

    def __init__(
        self,
        spec: JobSpec,
        labels: Labels | None = None,
        cluster: str = "",
        each: Callable[[RowAnswers], None] | None = None,
        tested: TestedAnswers | None = None,
    ) -> None:
        """`each` is given every row that was compared; `tested` is what the tests say of the same rows."""
        self._labels, self._cluster, self._each = labels, cluster_column(spec, cluster), each
        self._tested = tested or TestedAnswers()
        self._kinds = field_kinds(spec)
        self._fields: dict[str, FieldComparison] = {}
        self._compared = self._changed = self._missing_before = self._missing_after = self._again = 0
        self._statuses: Counter[tuple[str, str]] = Counter()
        self._valid: tuple[list[bool], list[bool]] = ([], [])
        self._right: tuple[list[bool], list[bool]] = ([], [])
        self._clusters: list[str] = []
        self._right_clusters: list[str] = []
        self._right_again: tuple[list[bool], list[bool], list[str]] = ([], [], [])
        """By the edit, by chance, in which cluster: rows that became right or wrong."""
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
        number = self._compared
        self._compared += 1
        self._again += pair.again is not None
        cluster = cluster_of(pair, self._cluster)
        is_valid = [answer.status == ANSWERED for answer in (pair.before, pair.after)]
        self._valid[0].append(is_valid[0])
        self._valid[1].append(is_valid[1])
        self._clusters.append(cluster)
        if pair.before.status != pair.after.status:
            self._statuses[pair.before.status, pair.after.status] += 1
        changed = [name for name in self._names(pair) if self._add_field(name, pair, pair.before, pair.after, cluster)]
        right = self._add_label(pair, cluster)
        self._changed += bool(changed) or pair.before.status != pair.after.status
        self._keep(pair, pair.before, pair.after, changed, right, self._tested.failing(number))
        self._note_times(pair)

    def result(self) -> AnswersDiff:
        clusters = self._clusters if self._cluster else None
        return AnswersDiff(
            compared=self._compared,
            missing_before=self._missing_before,
            missing_after=self._missing_after,
            changed=self._changed,
            valid=compare_shares(*self._valid, clusters),
            statuses=transitions(self._statuses),
            fields=[each.result(name, is_clustered=bool(self._cluster)) for name, each in self._fields.items()],
            tests=self._tested.tests,
            accuracy=self._accuracy(),
            accuracy_noise=self._accuracy_noise(),
            label=f"{self._labels.field} = {self._labels.column}" if self._labels else "",
            cluster=self._cluster,
            telling=[row for rows in self._telling.values() for row in rows][:_TELLING],
            noise_rows=self._again,
            notes=self._notes(),
        )

    # ---- fields

    def _names(self, pair: AnswerPair) -> list[str]:
        """Without what stands beside the answer, such as its thinking."""
        assert pair.before is not None
        assert pair.after is not None
        return [name for name in dict.fromkeys([*pair.before.values, *pair.after.values]) if not name.startswith("_")]

    def _add_field(self, name: str, pair: AnswerPair, before: Answer, after: Answer, cluster: str) -> bool:
        if name not in before.values or name not in after.values:
            return False
        kept = self._fields.setdefault(name, FieldComparison(self._kinds.get(name, "other")))
        is_changed = kept.add(before.values[name], after.values[name], cluster)
        if pair.again is not None and name in pair.again.values:
            kept.add_noise(is_changed, bool(pair.again.values[name] != before.values[name]), cluster)
        return is_changed

    # ---- labels

    def _add_label(self, pair: AnswerPair, cluster: str) -> tuple[bool, bool] | None:
        if self._labels is None or pair.row.get(self._labels.column) is None:
            return None
        wanted = shown_value(pair.row[self._labels.column])
        name = self._labels.field
        before, after, again = (
            answer is not None and name in answer.values and shown_value(answer.values[name]) == wanted
            for answer in (pair.before, pair.after, pair.again)
        )
        if pair.again is not None:
            by_edit, by_chance, clusters = self._right_again
            by_edit.append(before != after)
            by_chance.append(before != again)
            clusters.append(cluster)
        self._right[0].append(before)
        self._right[1].append(after)
        self._right_clusters.append(cluster)
        return before, after

    def _accuracy(self) -> ShareComparison | None:
        if self._labels is None or not self._right[0]:
            return None
        return compare_shares(*self._right, self._right_clusters if self._cluster else None)

    def _accuracy_noise(self) -> Noise | None:
        by_edit, by_chance, clusters = self._right_again
        return compare_with_noise(by_edit, by_chance, clusters if self._cluster else None) if by_edit else None

    # ---- rows

    def _keep(
        self,
        pair: AnswerPair,
        before: Answer,
        after: Answer,
        changed: list[str],
        right: tuple[bool, bool] | None,
        failing: tuple[list[str], list[str]],
    ) -> None:
        kind = _kind(before, after, changed, right or (not failing[0], not failing[1]))
        if self._each is None and (kind == "same" or len(self._telling.get(kind, ())) >= _TELLING_OF_A_KIND):
            return
        row = RowAnswers(
            pair.key,
            pair.place,
            kind,
            "; ".join([_words(kind, before, after, changed), *_test_words(*failing)]),
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
        if self._tested.left_out:
            notes.append(f"said of a whole output only, so not asked here: {', '.join(self._tested.left_out)}")
        if self._compared and _hours_between(before[1], after[0]) > 1:
            notes.append(
                f"answers of the older side came {_span(*before)}, those of the newer {_span(*after)}: whatever else "
                "changed between is in the difference too"
            )
        if self._compared and not self._again:
            notes.append("how much of it is chance is not known: --sample N --aa asks the older side a second time")
        return notes


_ORDER = ("broken", "invalid", "fixed", "changed", "valid")


def _kind(before: Answer, after: Answer, changed: list[str], right: tuple[bool, bool]) -> str:
    if before.status == ANSWERED != after.status:
        return "invalid"
    if right[0] != right[1]:
        return "fixed" if right[1] else "broken"
    if after.status == ANSWERED != before.status:
        return "valid"
    return "changed" if changed or before.status != after.status else "same"


def _words(kind: str, before: Answer, after: Answer, changed: list[str]) -> str:
    if before.status != after.status:
        return f"{before.status} → {after.status}"
    parts = [f"{name}: {_short(before.values[name])} → {_short(after.values[name])}" for name in changed[:3]]
    return "; ".join(parts) or kind


def _test_words(before: list[str], after: list[str]) -> list[str]:
    newly = [name for name in after if name not in before], [name for name in before if name not in after]
    return [f"{word} {', '.join(names)}" for word, names in zip(("fails", "passes"), newly, strict=True) if names]


def _columns(answer: Answer) -> dict[str, Any]:
    if answer.status == ANSWERED:
        return dict(answer.values)
    return {"_status": answer.status, "_error": answer.error or "", "_text": answer.text[:_SHOWN_BYTES]}


def _short(value: Any) -> str:
    text = " ".join(shown_value(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _hours_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() / 3600


def _span(first: str, last: str) -> str:
    return f"on {first[:10]}" if first[:10] == last[:10] else f"from {first[:10]} to {last[:10]}"
