"""How answers differ -> tables of a report: shares with their verdicts, tests, fields, and grids that lead to rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from batchforge.evaluation.statistics import Noise, ShareComparison
from batchforge.review.answer_values import AnswersDiff, FieldDiff, Grid, JobTestDiff
from batchforge.review.answer_words import (
    clusters_words,
    compared_words,
    counted,
    grid_labels,
    grids_of,
    points_words,
    share_span,
)
from batchforge.review.html_text import Tone, badge, cells, head_row, listed, shown

_VERDICTS: Mapping[str, Tone] = {"better": "good", "worse": "bad", "not sure": "unsure", "fail": "bad", "error": "bad"}
_STEPS = 5
"""Shades of a grid."""


def answers_html(job: str, answers: AnswersDiff, *, has_rows: bool) -> Iterator[str]:
    yield f"<p>{shown(compared_words(answers))}</p>"
    yield from _shares(answers)
    yield from _fields(answers)
    for name, grid in grids_of(answers):
        yield from _grid(job, name, grid, has_rows=has_rows)
    yield from listed([*clusters_words(answers), *answers.notes])


# ---- shares


def _shares(answers: AnswersDiff) -> Iterator[str]:
    """What is right, valid and passes: of how many rows, before and now."""
    yield "<div class='wide'><table class='figures'><caption hidden>What is right</caption>"
    yield head_row(("rows that", "before", "now", "fixed", "broken", "difference", "it is"))
    yield "<tbody>"
    if answers.accuracy is not None:
        yield _share(f"are right: {shown(answers.label)}", answers.accuracy, answers.accuracy_noise)
    for test in answers.tests:
        yield _test(test)
    status = "; ".join(f"{each.before} → {each.after}: {counted(each.rows, 'row')}" for each in answers.statuses)
    more = f" <span class='dim'>{shown(status)}</span>" if status else ""
    yield _share(f"are valid{more}", answers.valid, None)
    yield "</tbody></table></div>"


def _test(test: JobTestDiff) -> str:
    before, after = test.before.status, test.after.status
    words = badge(after, _VERDICTS.get(after, "" if after == "warn" else "good"))
    came = f"<span class='dim'>{shown(before)} →</span> {words}" if before != after else words
    values = [side.value for side in (test.before, test.after)]
    measured = "" if None in values else f" <span class='dim'>{' → '.join(f'{value:.4g}' for value in values)}</span>"
    name = f"pass {shown(test.name)}<br>{came}{measured}"
    if test.passing is None:
        return cells([name, "", "", "", "", "", shown(test.after.message or test.before.message)])
    return _share(name, test.passing, test.noise)


def _share(name: str, shares: ShareComparison, noise: Noise | None) -> str:
    rows = shares.rows or 1
    has_changed = bool(shares.fixed or shares.broken)
    return cells(
        [
            name,
            f"{shares.before / rows:.1%} <span class='dim'>{shares.before:,}</span>",
            f"{shares.after / rows:.1%} <span class='dim'>{shares.after:,}</span>",
            f"{shares.fixed:,}" if shares.fixed else "·",
            f"{shares.broken:,}" if shares.broken else "·",
            shown(points_words(shares.difference, shares.interval)) if has_changed else "",
            _verdict(shares) + (_noise(noise) if has_changed else ""),
        ]
    )


def _verdict(shares: ShareComparison) -> str:
    if shares.verdict == "equal":
        return badge("the same")
    more = f" <span class='dim'>{shares.rows_to_tell:,} more rows would tell</span>" if shares.rows_to_tell else ""
    return badge(shares.verdict, _VERDICTS[shares.verdict]) + more


def _noise(noise: Noise | None) -> str:
    if noise is None:
        return ""
    words = "more than chance" if noise.is_above else "no more than chance"
    twice = f"asked twice, {noise.changed_by_chance:,} of {noise.rows:,} differ; {noise.changed_by_edit:,} by the edit"
    return f"<br>{badge(words)} <span class='dim'>{twice}</span>"


# ---- fields


def _fields(answers: AnswersDiff) -> Iterator[str]:
    if not answers.fields:
        return
    yield "<div class='wide'><table class='figures'><caption hidden>Fields</caption>"
    yield head_row(("field", "differs in", "of rows", "95 %", "how", "chance"))
    yield "<tbody>"
    for field in answers.fields:
        share = field.changed / field.compared if field.compared else 0.0
        figures = [f"{share:.1%}", f"{field.changed:,} of {field.compared:,}", shown(share_span(field.interval))]
        chance = _noise(field.noise).removeprefix("<br>") if field.changed else ""
        yield cells([shown(field.name), *figures, shown(_how(field)), chance])
    yield "</tbody></table></div>"


def _how(field: FieldDiff) -> str:
    if field.shift is not None:
        shift = field.shift
        span = f" ({shift.interval.low:+.3g} to {shift.interval.high:+.3g})" if shift.clusters > 1 else ""
        return f"mean {shift.before:.4g} → {shift.after:.4g}, {shift.difference:+.3g}{span}: {shift.verdict}"
    if field.similarity is not None:
        return f"{field.similarity:.0%} of words in common"
    return ", ".join(f"{each.before} → {each.after} {each.rows:,}" for each in field.transitions[:3])


# ---- grids


def _grid(job: str, name: str, grid: Grid, *, has_rows: bool) -> Iterator[str]:
    """Labels before down the page, those of now across it. What has moved leads to its rows."""
    labels = grid_labels(grid)
    most = max((n for y, row in enumerate(grid.cells) for x, n in enumerate(row) if x != y), default=0)
    yield f"<div class='wide'><table class='grid'><caption>{shown(name)}: before ↓, now →</caption>"
    yield "<thead><tr><td></td>" + "".join(f'<th scope="col">{shown(label)}</th>' for label in labels) + "</tr></thead>"
    yield "<tbody>"
    for y, (label, counts) in enumerate(zip(labels, grid.cells, strict=True)):
        yield f'<tr><th scope="row">{shown(label)}</th>'
        for x, count in enumerate(counts):
            leads = has_rows and y != x and max(x, y) < len(grid.labels)  # all others together have no row of their own
            link = _rows_link(job, name, label, labels[x]) if leads else ""
            yield _cell(count, "kept" if x == y else f"moved{_shade(count, most)}", link)
        yield "</tr>"
    yield "</tbody></table></div>"


def _cell(count: int, kind: str, link: str) -> str:
    if not count:
        return "<td>·</td>"
    return f'<td class="{kind}">' + (f'<a href="{link}">{count:,}</a>' if link else f"{count:,}") + "</td>"


def _shade(count: int, most: int) -> int:
    return -(-count * _STEPS // most) if most else 0


def _rows_link(job: str, name: str, before: str, after: str) -> str:
    """The page's own list, filtered; written as its script writes it."""
    return shown("#" + urlencode({"job": job, "move": f"{name}: {before} → {after}"}))
