"""A `ProjectDiff` -> the Markdown of a review comment: the answer first, details folded, never too long to post."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batchforge.review.answer_values import Grid
from batchforge.review.answer_words import answer_lines, grids_of, telling_lines
from batchforge.review.diff_values import Basis, Cost, JobDiff, ProjectDiff, Status
from batchforge.review.diff_words import (
    all_rows_words,
    basis_words,
    cost_words,
    effect_words,
    expected_words,
    headline,
    paid_now,
    row_words,
    status_words,
)
from batchforge.review.gates import gate_words
from batchforge.review.neutral import code, fenced, prose, summary
from batchforge.review.text_diff import DiffLine
from batchforge.usd import usd_words

MAX_CHARACTERS = 60_000
_MOST_TABLE_ROWS = 100
_MOST_GRIDS = 8
_END = "</details>"
_SIGNS = {"same": " ", "old": "-", "new": "+"}
_LEFT_OUT = "_{} left out, to keep this short enough for a comment; `batchforge diff` shows all._"


@dataclass(frozen=True, slots=True)
class Detail:
    """A block that is shown or left out as a whole; the larger its `rank`, the sooner it is left out."""

    rank: tuple[int, int]
    place: tuple[int, int]
    text: str
    job: str
    frame: int
    """What the job's own frame takes, once."""


def render_diff_markdown(diff: ProjectDiff, *, max_characters: int = MAX_CHARACTERS, more: Sequence[str] = ()) -> str:
    """`more` are further sections, already Markdown, which go before the details."""
    fixed = [
        "### BatchForge: what this change asks",
        f"**{prose(headline(diff))}**",
        *_table(diff),
        *_gates(diff),
        *more,
        *_notes(diff),
    ]
    foot = _foot(diff)
    details = [detail for number, job in enumerate(diff.changed_jobs) for detail in _details(job, number)]
    room = max_characters - sum(len(block) + 2 for block in (*fixed, foot, _LEFT_OUT)) - 20
    kept, left_out = _fitting(details, room)
    blocks = [*fixed, *_by_job(kept, diff)]
    if left_out:
        blocks.append(_LEFT_OUT.format(f"{left_out} {'detail was' if left_out == 1 else 'details were'}"))
    return "\n\n".join([*blocks, foot]) + "\n"


def _fitting(details: Sequence[Detail], room: int) -> tuple[list[Detail], int]:
    """The most important details that fit, in the order of the page."""
    kept: list[Detail] = []
    opened: set[str] = set()
    for detail in sorted(details, key=lambda each: each.rank):
        size = len(detail.text) + 2 + (0 if detail.job in opened else detail.frame)
        if size <= room:
            kept.append(detail)
            opened.add(detail.job)
            room -= size
    return sorted(kept, key=lambda each: each.place), len(details) - len(kept)


# ---- the table


def _table(diff: ProjectDiff) -> Iterator[str]:
    jobs = sorted(diff.changed_jobs, key=lambda job: not job.changes_requests)
    if not jobs:
        return
    lines = [
        "| job | change | to send | answered before | expected | at most | all rows once |",
        "|---|---|--:|--:|--:|--:|--:|",
        *(_table_row(job) for job in jobs[:_MOST_TABLE_ROWS]),
    ]
    if len(jobs) > _MOST_TABLE_ROWS:
        lines.append(f"| … {len(jobs) - _MOST_TABLE_ROWS:,} more | | | | | | |")
    yield "\n".join(lines)


def _table_row(job: JobDiff) -> str:
    parts = ", ".join(dict.fromkeys(part.part.value for part in job.parts if part.changes_requests))
    change = status_words(job) if job.status is not Status.RENAMED else "renamed"
    cells = [code(job.job, in_table=True), f"{change}{f': {parts}' if parts else ''}", *_figures(job)]
    return f"| {' | '.join(cells)} |"


def _figures(job: JobDiff) -> Sequence[str]:
    if not job.changes_requests:
        return ("0", "", "$0.00", "$0.00", "no request changes")
    if job.status is Status.REMOVED:
        return ("0", "", "$0.00", "$0.00", "not asked any more")
    if job.rows is None or job.change is None:
        return ("unknown", "", "unknown", "unknown", "unknown")
    at_most = "≤ " if job.is_at_most else ""
    return (
        f"{at_most}{job.rows.to_send:,}",
        f"{job.rows.reused:,}" if job.rows.reused else "",
        f"{at_most}{expected_words(job.change)}",
        _ceiling(job.change),
        f"{expected_words(job.before)} → {expected_words(job.after)}" if job.before and job.after else "",
    )


def _ceiling(cost: Cost) -> str:
    return "no bound" if cost.ceiling_pico_usd is None else usd_words(cost.ceiling_pico_usd)


def _gates(diff: ProjectDiff) -> Iterator[str]:
    tripped = sorted(diff.gates, key=lambda gate: not gate.is_tripped)
    lines = [f"- {'❌' if gate.is_tripped else '✅'} {prose(gate_words(gate))}" for gate in tripped]
    if lines:
        yield "\n".join(lines)


def _notes(diff: ProjectDiff) -> Iterator[str]:
    lines = [prose(note) for note in diff.notes]
    lines += [f"the target setting {code(words)} was edited" for words in diff.target_changes]
    lines += [f"warning {problem.code}: {prose(problem.message)}" for problem in diff.problems]
    if diff.paid_usd:
        lines.append(paid_now(diff))
    if not diff.has_state and diff.asking_jobs and diff.change is not None:
        lines.append("no state is here: what was answered before is not known, so this is the most that can be sent")
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def _foot(diff: ProjectDiff) -> str:
    unchanged = len(diff.jobs) - len(diff.changed_jobs)
    words = [f"{code(str(diff.base))} → {code(str(diff.head))}", f"target {code(diff.target)}"]
    words += [f"{unchanged:,} {'job' if unchanged == 1 else 'jobs'} unchanged"] if unchanged else []
    return f"<sub>{' · '.join([*words, f'prices as of {diff.prices_as_of}'])}</sub>"


# ---- details


def _details(job: JobDiff, number: int) -> Iterator[Detail]:
    """Facts before the shared prompt before rows; jobs without effect last of all."""
    frame = len(_frame(job)) + len(_END) + 6
    facts = "\n".join(f"- {line}" for line in _facts(job))
    yield Detail((0 if job.changes_requests else 10, number), (number, 0), facts, job.job, frame)
    if job.answers is not None:
        lines = "\n".join(f"- {prose(line)}" for line in answer_lines(job.answers))
        yield Detail((0, number), (number, 1), f"Answers:\n\n{lines}", job.job, frame)
        for place, (name, grid) in enumerate(grids_of(job.answers)[:_MOST_GRIDS]):
            yield Detail((1, number), (number, 2 + place), _grid(name, grid), job.job, frame)
        for place, telling in enumerate(job.answers.telling):
            title = f"Row {code(telling.key)} ({code(telling.place)}), {telling.kind}:"
            text = f"{title}\n\n{fenced(telling_lines(telling), 'diff')}"
            yield Detail((2 + place, number), (number, 10 + place), text, job.job, frame)
    if job.prompt.shared:
        title = "The prompt that all rows share:" if job.status is not Status.ADDED else "The new prompt:"
        yield Detail((1, number), (number, 20), f"{title}\n\n{_fence(job.prompt.shared)}", job.job, frame)
    for place, row in enumerate(job.prompt.rows):
        title = f"Row {code(row.key)} ({code(row.place)}; {row.stratum}):"
        yield Detail((2 + place, number), (number, 30 + place), f"{title}\n\n{_fence(row.lines)}", job.job, frame)


def _grid(name: str, grid: Grid) -> str:
    """Labels before down the page, those of now across it; what has moved is bold."""
    labels = [code(label, in_table=True) for label in grid.labels]
    labels += [f"{grid.further} further"] if grid.further else []
    lines = [f"| {code(name, in_table=True)}: before ↓ now → | {' | '.join(labels)} |", f"|---|{'--:|' * len(labels)}"]
    for row, (label, counts) in enumerate(zip(labels, grid.cells, strict=True)):
        cells = [_cell(count, has_moved=row != column) for column, count in enumerate(counts)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(count: int, *, has_moved: bool) -> str:
    shown = f"{count:,}" if count else "·"
    return f"**{shown}**" if count and has_moved else shown


def _facts(job: JobDiff) -> Iterator[str]:
    yield f"{code(job.model)}, {job.mode}, {code(job.path)}"
    if job.status is Status.RENAMED:
        yield f"renamed from {code(job.old_job)}"
    if job.old_path:
        yield f"moved from {code(job.old_path)}"
    for part in job.parts:
        yield f"{part.part.value}: {code(part.words)}{'' if part.changes_requests else ', no effect on requests'}"
    if job.rows is not None:
        yield f"rows: {', '.join(row_words(job.rows)) or 'none'}"
    yield from all_rows_words(job)
    if job.waiting is not None and job.waiting.requests:
        yield f"with or without the change: {cost_words(job.waiting)}"
    if job.caching is not None and job.changes_requests:
        yield f"caching: {prose(job.caching.words)}"
    if job.basis is not Basis.SAME and (words := basis_words(job)):
        yield words
    yield from (prose(note) for note in job.notes)


def _by_job(details: Sequence[Detail], diff: ProjectDiff) -> Iterator[str]:
    for job in diff.changed_jobs:
        own = [detail.text for detail in details if detail.job == job.job]
        if own:
            yield "\n\n".join([_frame(job), *own, _END])


def _frame(job: JobDiff) -> str:
    return f"<details><summary>{summary(job.job)} {html.escape(effect_words(job))}</summary>"


def _fence(lines: Sequence[DiffLine]) -> str:
    return fenced(
        (f"@@ {line.text} @@" if line.kind == "gap" else _SIGNS[line.kind] + line.text for line in lines), "diff"
    )
