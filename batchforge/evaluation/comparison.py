"""Answers of several variants of a job to the same rows -> how they differ, what they cost, and which is the cheapest
that is not worse.

A row is right if its answer equals the label or, where there is no label, the answer of the reference variant. A row
without an answer is wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from batchforge.evaluation.statistics import CONFIDENCE, Interval, clopper_pearson, share_interval
from batchforge.lookup.tried import TriedRow
from batchforge.outputs import ANSWERED
from batchforge.target import Mode

MOST_ROWS_TO_TELL = 1_000_000
SHOWN_DISAGREEMENTS = 20


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of asking."""

    name: str
    model: str
    mode: Mode
    prompt: str = ""
    """Project-relative path of the user prompt; empty: the job's own."""
    effort: str = ""
    number: int = 0
    """Among the variants that ask the same requests in the same mode, from 0: which of the answers is its own."""
    number_of_all: int = 0
    """The same, whatever their modes."""
    is_noise: bool = False
    """The reference once more, for the noise floor."""


@dataclass(frozen=True, slots=True)
class Share:
    count: int
    rows: int
    interval: Interval

    @property
    def value(self) -> float:
        return self.count / self.rows if self.rows else 0.0


def share_of(count: int, rows: int) -> Share:
    return Share(count, rows, share_interval(count, rows) if rows else Interval(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class VariantResult:
    variant: Variant
    statuses: Mapping[str, int]
    """answered, invalid, refused, truncated, … -> rows."""
    answered: Share
    agreement: Mapping[str, Share]
    """Field -> rows whose value equals that of the reference."""
    right: Share
    """By label, or by the reference where there is none."""
    f1: float | None
    """Macro; None without a label."""
    confusion: Mapping[str, Mapping[str, int]]
    """Label -> answer -> rows; empty without a label."""
    input_tokens: int
    output_tokens: int
    cost_per_1000_usd: float | None
    whole_input_usd: float | None
    seconds: float | None
    """From the first request to the last answer; None where nothing was asked now. All that is known of a batch."""
    median_answer_s: float | None
    """How long one answer took, where each was asked for by itself now: half of them took no longer."""
    slow_answer_s: float | None
    """19 of 20 took no longer."""
    tests: Mapping[str, str]
    """The job's own tests -> what came of them."""
    is_not_worse: bool | None
    """Than the best is, by the margin; None where there are not enough rows to tell."""
    rows_to_tell: int | None
    """How many would do, were the shares what they seem to be; None where no number would."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row on which variants differ, for a person to read."""

    key: str
    row: Mapping[str, Any]
    label: str | None
    answers: Mapping[str, str]
    """Variant -> its answer, or the status of a row without one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    job: str
    target: str
    rows: int
    """Of the sample."""
    input_rows: int
    reference: str
    field: str
    """The field that decides."""
    label: str
    """The column with the right answers; empty where there is none."""
    margin: float
    confidence: float
    noise_floor: Share | None
    """How often the reference agrees with itself; None where it was not asked twice."""
    results: Sequence[VariantResult]
    winner: str
    """The cheapest variant that is not worse; empty where none is known to be so."""
    paid_usd: float
    disagreements: Sequence[Disagreement]
    is_emulated: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """A variant with the rows it answered."""

    variant: Variant
    rows: Sequence[TriedRow]
    seconds: float | None
    tests: Mapping[str, str]
    answer_seconds: Sequence[float] = ()
    """Of each answer that was asked for by itself."""


def compare_variants(
    measured: Sequence[Measured],
    *,
    job: str,
    target: str,
    is_emulated: bool,
    fields: Sequence[str],
    decides: str,
    label: str,
    reference: str,
    margin: float,
    input_rows: int,
) -> Comparison:
    """
    Args:
        measured: All variants, on the same rows in the same order.
    """
    by_name = {each.variant.name: each for each in measured}
    judge = _Judge(by_name[reference], decides, label)
    noise = next((each for each in measured if each.variant.is_noise), None)
    compared = [each for each in measured if not each.variant.is_noise]
    rights = {each.variant.name: judge.right(each) for each in measured}
    baseline = _baseline({each.variant.name: rights[each.variant.name] for each in compared}, rights, noise, label)
    others = max(len(compared) - 1, 1)
    results = [
        _result(each, judge, fields, input_rows, rights[each.variant.name], baseline, margin, others)
        for each in compared
    ]
    fit = [result for result in results if result.is_not_worse and result.cost_per_1000_usd is not None]
    winner = min(fit, key=lambda each: each.cost_per_1000_usd or 0.0, default=None)
    return Comparison(
        job=job,
        target=target,
        rows=len(by_name[reference].rows),
        input_rows=input_rows,
        reference=reference,
        field=decides,
        label=label,
        margin=margin,
        confidence=CONFIDENCE,
        noise_floor=share_of(sum(rights[noise.variant.name]), len(noise.rows)) if noise and not label else None,
        results=results,
        winner=winner.variant.name if winner else "",
        paid_usd=round(sum(row.cost_usd or 0.0 for each in measured for row in each.rows if row.is_new), 9),
        disagreements=_disagreements(compared, judge),
        is_emulated=is_emulated,
    )


class _Judge:
    """Says of each row of a variant whether it is right."""

    def __init__(self, reference: Measured, decides: str, label: str) -> None:
        self.reference, self.decides, self.label = reference, decides, label

    def right(self, measured: Measured) -> list[bool]:
        wanted = [self.wanted(row, own) for row, own in zip(self.reference.rows, measured.rows, strict=True)]
        return [
            row.status == ANSWERED and want is not None and text_of(row.fields.get(self.decides)) == want
            for row, want in zip(measured.rows, wanted, strict=True)
        ]

    def wanted(self, reference: TriedRow, own: TriedRow) -> str | None:
        if self.label:
            value = own.row.get(self.label)
            return None if value is None else text_of(value)
        return text_of(reference.fields.get(self.decides)) if reference.status == ANSWERED else None


def text_of(value: Any) -> str:
    """How values are compared: texts without regard to case and white space around them."""
    if isinstance(value, str):
        return value.strip().casefold()
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _baseline(
    compared: Mapping[str, Sequence[bool]],
    rights: Mapping[str, Sequence[bool]],
    noise: Measured | None,
    label: str,
) -> Sequence[bool] | None:
    """What a variant must keep up with: the best by label; without one, the reference asked again. None: perfection."""
    if label:
        return max(compared.values(), key=sum)
    return rights[noise.variant.name] if noise is not None else None


def _result(
    measured: Measured,
    judge: _Judge,
    fields: Sequence[str],
    input_rows: int,
    right: Sequence[bool],
    baseline: Sequence[bool] | None,
    margin: float,
    others: int,
) -> VariantResult:
    rows = measured.rows
    statuses = Counter(row.status for row in rows)
    costs = [row.cost_usd for row in rows]
    is_priced = all(cost is not None for cost, row in zip(costs, rows, strict=True) if row.custom_id and row.model)
    per_row = sum(cost or 0.0 for cost in costs) / len(rows) if rows and is_priced else None
    is_reference = not judge.label and measured.variant.name == judge.reference.variant.name
    is_best = right is baseline
    verdict = True if is_reference or is_best else not_worse(right, baseline, margin, others)
    return VariantResult(
        variant=measured.variant,
        statuses=dict(sorted(statuses.items())),
        answered=share_of(statuses.get(ANSWERED, 0), len(rows)),
        agreement={field: _agreement(judge.reference.rows, rows, field) for field in fields},
        right=share_of(sum(right), len(rows)),
        f1=_macro_f1(_confusion(judge, rows)) if judge.label else None,
        confusion=_confusion(judge, rows) if judge.label else {},
        input_tokens=sum(row.usage.prompt_tokens for row in rows),
        output_tokens=sum(row.usage.output_tokens for row in rows),
        cost_per_1000_usd=None if per_row is None else round(per_row * 1_000, 6),
        whole_input_usd=None if per_row is None else round(per_row * input_rows, 6),
        seconds=measured.seconds,
        median_answer_s=_quantile(measured.answer_seconds, 0.5),
        slow_answer_s=_quantile(measured.answer_seconds, 0.95),
        tests=measured.tests,
        is_not_worse=verdict,
        rows_to_tell=None if verdict is not None else rows_to_tell(right, baseline, margin, others),
    )


def _agreement(reference: Sequence[TriedRow], rows: Sequence[TriedRow], field: str) -> Share:
    both = [
        one.status == other.status == ANSWERED and text_of(one.fields.get(field)) == text_of(other.fields.get(field))
        for one, other in zip(reference, rows, strict=True)
    ]
    return share_of(sum(both), len(both))


def _confusion(judge: _Judge, rows: Sequence[TriedRow]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        label = row.row.get(judge.label)
        if label is not None:
            answer = text_of(row.fields.get(judge.decides)) if row.status == ANSWERED else f"({row.status})"
            found.setdefault(text_of(label), Counter())[answer] += 1
    return {label: dict(answers.most_common()) for label, answers in sorted(found.items())}


def _quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that such a share of them does not exceed."""
    if not values:
        return None
    return round(sorted(values)[ceil(share * len(values)) - 1], 3)


def _macro_f1(confusion: Mapping[str, Mapping[str, int]]) -> float:
    """The mean over all labels and answers, as scikit-learn's `average="macro"`."""
    names = {*confusion, *(answer for answers in confusion.values() for answer in answers if answer[:1] != "(")}
    said = Counter[str]()
    for answers in confusion.values():
        said.update(answers)
    scores = []
    for name in names:
        hits = confusion.get(name, {}).get(name, 0)
        all_rows = sum(confusion.get(name, {}).values()) + said[name]
        scores.append(2 * hits / all_rows if all_rows else 0.0)
    return round(sum(scores) / len(scores), 6) if scores else 0.0


def not_worse(right: Sequence[bool], baseline: Sequence[bool] | None, margin: float, others: int) -> bool | None:
    """Whether the share of right rows is surely no more than `margin` below the baseline's; None: cannot be told.

    The bounds are exact and hold for all variants together (Bonferroni), so that of many variants none is taken for
    good by luck.
    """
    low, high = _difference_bounds(*_changes(right, baseline), others)
    if low >= -margin:
        return True
    return False if high < -margin else None


def rows_to_tell(right: Sequence[bool], baseline: Sequence[bool] | None, margin: float, others: int) -> int | None:
    """So many rows would tell, were the shares what they seem to be."""
    fixed, broken, rows = _changes(right, baseline)
    if not rows:
        return None
    size = rows
    while size < MOST_ROWS_TO_TELL:
        size = int(size * 1.1) + 1
        low, high = _difference_bounds(round(fixed * size / rows), round(broken * size / rows), size, others)
        if low >= -margin or high < -margin:
            return _rounded(size)
    return None


def _rounded(size: int) -> int:
    """To two digits, upward.

    >>> _rounded(2_251)
    2300
    """
    unit = int(10 ** max(len(str(size)) - 2, 0))
    return -(-size // unit) * unit


def _changes(right: Sequence[bool], baseline: Sequence[bool] | None) -> tuple[int, int, int]:
    """(right only here, right only in the baseline, rows)"""
    against = baseline if baseline is not None else [True] * len(right)
    fixed = sum(own and not base for own, base in zip(right, against, strict=True))
    broken = sum(base and not own for own, base in zip(right, against, strict=True))
    return fixed, broken, len(right)


def _difference_bounds(fixed: int, broken: int, rows: int, others: int) -> tuple[float, float]:
    """Of the difference of the two shares, from exact bounds of what was gained and what was lost."""
    if rows == 0:
        return -1.0, 1.0
    each = 1 - (1 - CONFIDENCE) / others / 2  # two shares are bounded, each at half of the risk
    gained, lost = clopper_pearson(fixed, rows, each), clopper_pearson(broken, rows, each)
    return gained.low - lost.high, gained.high - lost.low


def _disagreements(compared: Sequence[Measured], judge: _Judge) -> list[Disagreement]:
    found = []
    for rows in zip(*(each.rows for each in compared), strict=True):
        answers = {each.variant.name: _shown(row, judge.decides) for each, row in zip(compared, rows, strict=True)}
        if len(set(answers.values())) > 1:
            label = rows[0].row.get(judge.label) if judge.label else None
            found.append(Disagreement(rows[0].key, rows[0].row, None if label is None else str(label), answers))
    found.sort(key=lambda each: -len(set(each.answers.values())))
    return found[:SHOWN_DISAGREEMENTS]


def _shown(row: TriedRow, field: str) -> str:
    if row.status != ANSWERED:
        return f"({row.status})"
    value = row.fields.get(field)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
