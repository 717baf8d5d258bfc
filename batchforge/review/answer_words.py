"""Differences of answers in words: what text, Markdown and HTML say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from batchforge.evaluation.statistics import Interval, Noise, ShareComparison
from batchforge.review.answer_values import AnswersDiff, FieldDiff, Grid, JobTestDiff, RowAnswers

_SHOWN_TRANSITIONS = 5


def answer_lines(answers: AnswersDiff) -> Iterator[str]:
    yield compared_words(answers)
    if answers.accuracy is not None:
        noise = f"; {noise_words(answers.accuracy_noise)}" if answers.accuracy_noise else ""
        yield f"accuracy ({answers.label}): {share_words(answers.accuracy)}{noise}"
    yield from (test_words(test) for test in answers.tests)
    valid = answers.valid
    if valid.before < valid.rows or valid.after < valid.rows:
        yield f"valid answers: {share_words(valid)}"
    yield from (f"{each.before} → {each.after}: {counted(each.rows, 'row')}" for each in answers.statuses)
    yield from (field_words(field) for field in answers.fields)
    yield from clusters_words(answers)
    yield from answers.notes


def clusters_words(answers: AnswersDiff) -> Iterator[str]:
    if answers.cluster:
        count = answers.valid.clusters
        yield f"rows of one {answers.cluster} count as one, as far as chance goes ({count:,} of them)"


def compared_words(answers: AnswersDiff) -> str:
    words = f"{counted(answers.compared, 'row')} compared, {answers.changed:,} with another answer"
    missing = [
        f"{count:,} not answered {side}"
        for count, side in ((answers.missing_before, "before"), (answers.missing_after, "now"))
        if count
    ]
    return f"{words} ({', '.join(missing)})" if missing else words


def test_words(test: JobTestDiff) -> str:
    """What one of the job's tests comes to, before and now."""
    sides = (test.before, test.after)
    name = f"test {test.name}" + (" (severity warn)" if test.severity == "warn" else "")
    parts = [f"{sides[0].status} → {sides[1].status}" if sides[0].status != sides[1].status else sides[1].status]
    values = [side.value for side in sides]
    if None not in values:
        parts.append(" → ".join(f"{value:.4g}" for value in values))
    if test.passing is None:
        parts += [side.message for side in sides if side.status == "error"][:1]
    elif test.passing.fixed or test.passing.broken:
        parts.append(share_words(test.passing))
    else:
        parts.append(f"{test.passing.after:,} of {counted(test.passing.rows, 'row')} pass, the same as before")
    if test.noise is not None and test.passing and (test.passing.fixed or test.passing.broken):
        parts.append(noise_words(test.noise))
    return f"{name}: {'; '.join(parts)}"


def share_words(shares: ShareComparison) -> str:
    if not shares.rows:
        return "no rows"
    before, after = shares.before / shares.rows, shares.after / shares.rows
    return (
        f"{before:.1%} → {after:.1%} of {counted(shares.rows, 'row')}, {shares.fixed:,} fixed, "
        f"{shares.broken:,} broken; {points_words(shares.difference, shares.interval)}: {verdict_words(shares)}"
    )


def points_words(difference: float, interval: Interval) -> str:
    low, high = (f"{100 * value:+.1f}" for value in (interval.low, interval.high))
    return f"{100 * difference:+.1f} points ({low} to {high})"


def verdict_words(shares: ShareComparison) -> str:
    if shares.verdict == "not sure":
        more = f": about {shares.rows_to_tell:,} more rows would tell" if shares.rows_to_tell else ""
        return f"not sure{more}"
    return "no row differs" if shares.verdict == "equal" else shares.verdict


def field_words(field: FieldDiff) -> str:
    parts = [f"{field.changed:,} of {field.compared:,} differ ({share_span(field.interval)})"]
    if field.transitions and (field.grid is None or field.grid.further):
        shown = [f"{each.before} → {each.after} {each.rows:,}" for each in field.transitions[:_SHOWN_TRANSITIONS]]
        more = len(field.transitions) - _SHOWN_TRANSITIONS
        parts.append(", ".join([*shown, *([f"{more} further kinds"] if more > 0 else [])]))
    if field.shift is not None:
        shift = field.shift
        span = f" ({shift.interval.low:+.3g} to {shift.interval.high:+.3g})" if shift.clusters > 1 else ""
        parts.append(f"mean {shift.before:.4g} → {shift.after:.4g}, {shift.difference:+.3g}{span}: {shift.verdict}")
    if field.similarity is not None:
        parts.append(f"{field.similarity:.0%} of words in common where they differ")
    if field.noise is not None and (field.changed or field.noise.changed_by_chance):
        parts.append(noise_words(field.noise))
    return f"{field.name}: {'; '.join(parts)}"


def grids_of(answers: AnswersDiff) -> list[tuple[str, Grid]]:
    """Fields whose labels have moved."""
    return [(field.name, field.grid) for field in answers.fields if field.grid is not None]


def grid_labels(grid: Grid) -> list[str]:
    return [*grid.labels, *([f"{grid.further} further"] if grid.further else [])]


def noise_words(noise: Noise) -> str:
    chance = f"asked twice, {noise.changed_by_chance:,} of {noise.rows:,} differ by chance"
    words = "more than chance" if noise.is_above else "no more than chance"
    return f"{words} ({chance}, {noise.changed_by_edit:,} by the edit)"


def share_span(interval: Interval) -> str:
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def telling_lines(row: RowAnswers) -> list[str]:
    """One row in full, as a diff."""
    lines = [f" {name}: {shown(value)}" for name, value in row.row.items()]
    for name in dict.fromkeys([*row.before, *row.after]):
        before, after = row.before.get(name), row.after.get(name)
        if before == after:
            lines.append(f" {name}: {shown(after)}")
            continue
        lines += _signed("-", name, row.before) + _signed("+", name, row.after)
    return [line for text in lines for line in _kept_sign(text)]


def _signed(sign: str, name: str, values: Mapping[str, Any]) -> list[str]:
    return [f"{sign}{name}: {shown(values[name])}"] if name in values else []


def _kept_sign(text: str) -> list[str]:
    return [line if number == 0 else f"{text[0]}  {line}" for number, line in enumerate(text.split("\n"))]


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"
