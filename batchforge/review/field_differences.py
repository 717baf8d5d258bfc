"""One field's values before and after, row by row -> how often it differs, from what to what, and by how much."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchforge.evaluation.statistics import clustered_share_interval, compare_means, compare_with_noise
from batchforge.review.answer_values import FieldDiff, FieldKind, Grid, Transition
from batchforge.spec import JobSpec

_MOST_TRANSITIONS = 30
_MOST_LABELS = 8
"""Of a grid; the rest is one more."""


@dataclass(slots=True)
class FieldComparison:
    """Takes values one by one. Holds numbers and flags, and no text but labels."""

    kind: FieldKind
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of labels: (before, after) -> rows, also of rows that did not change."""
    changed: list[bool] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    number_clusters: list[str] = field(default_factory=list)
    similarity: float = 0.0
    by_edit: list[bool] = field(default_factory=list)
    by_chance: list[bool] = field(default_factory=list)
    noise_clusters: list[str] = field(default_factory=list)

    def add(self, old: Any, new: Any, cluster: str) -> bool:
        """Whether the two differ."""
        is_changed = bool(old != new)
        self.changed.append(is_changed)
        self.clusters.append(cluster)
        if self.kind == "label":
            self.pairs[shown_value(old), shown_value(new)] += 1
        elif self.kind == "number" and _is_number(old) and _is_number(new):
            self.before.append(float(old))
            self.after.append(float(new))
            self.number_clusters.append(cluster)
        elif self.kind == "text" and is_changed:
            self.similarity += similarity(str(old), str(new))
        return is_changed

    def add_noise(self, is_changed: bool, differs_by_chance: bool, cluster: str) -> None:
        self.by_edit.append(is_changed)
        self.by_chance.append(differs_by_chance)
        self.noise_clusters.append(cluster)

    def result(self, name: str, *, is_clustered: bool) -> FieldDiff:
        changed = sum(self.changed)
        moved: Counter[tuple[str, str]] = Counter({pair: n for pair, n in self.pairs.items() if pair[0] != pair[1]})
        numbers, noisy = (each if is_clustered else None for each in (self.number_clusters, self.noise_clusters))
        return FieldDiff(
            name=name,
            kind=self.kind,
            compared=len(self.changed),
            changed=changed,
            interval=clustered_share_interval(self.changed, self.clusters if is_clustered else None),
            transitions=transitions(moved),
            grid=_grid(self.pairs) if moved else None,
            shift=compare_means(self.before, self.after, numbers) if self.before else None,
            similarity=self.similarity / changed if self.kind == "text" and changed else None,
            noise=compare_with_noise(self.by_edit, self.by_chance, noisy) if self.by_chance else None,
        )


def transitions(counts: Counter[tuple[str, str]]) -> list[Transition]:
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TRANSITIONS]
    return [Transition(before, after, rows) for (before, after), rows in in_order]


def _grid(pairs: Counter[tuple[str, str]]) -> Grid:
    """The labels of most rows; all others together come last."""
    rows: Counter[str] = Counter()
    for (before, after), count in pairs.items():
        rows.update({before: count})
        rows.update({after: count})
    labels = sorted(rows, key=lambda label: (-rows[label], label))
    kept = labels if len(labels) <= _MOST_LABELS + 1 else labels[:_MOST_LABELS]
    further = len(labels) - len(kept)
    place = {label: number for number, label in enumerate(kept)}
    cells = [[0] * (len(kept) + bool(further)) for _ in range(len(kept) + bool(further))]
    for (before, after), count in pairs.items():
        cells[place.get(before, len(kept))][place.get(after, len(kept))] += count
    return Grid(kept, cells, further)


def field_kinds(spec: JobSpec) -> dict[str, FieldKind]:
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


def shown_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
