"""A `ProjectDiff` -> lines for a terminal; differing words are set off by colour, or by marks where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchforge.review.answer_values import Grid
from batchforge.review.answer_words import answer_lines, grid_labels, grids_of, telling_lines
from batchforge.review.diff_values import JobDiff, ProjectDiff, Status
from batchforge.review.diff_words import (
    all_rows_words,
    basis_words,
    effect_words,
    headline,
    paid_now,
    part_words,
    row_words,
    status_words,
)
from batchforge.review.gates import gate_words
from batchforge.review.text_diff import DiffLine, Span
from batchforge.terminal.terminal_text import display_width, printable
from batchforge.terminal.text_layout import shortened

_SYMBOLS = {Status.ADDED: "+", Status.REMOVED: "-", Status.RENAMED: "→", Status.MODIFIED: "~", Status.UNCHANGED: "="}
_SIGNS = {"same": " ", "old": "-", "new": "+", "gap": "…"}
_LABEL_COLUMNS = 16
_COLOURS = {"old": "31", "new": "32", "gap": "2", "same": "2"}


def render_diff_text(diff: ProjectDiff, *, color: bool = False) -> str:
    return "\n".join(_lines(diff, color))


def _lines(diff: ProjectDiff, color: bool) -> Iterator[str]:
    yield printable(f"{diff.base} → {diff.head}, against {diff.target}")
    if not diff.has_state:
        yield "There is no state here: what was answered before is not known, so all that changed counts as to be sent."
    for job in diff.changed_jobs:
        yield ""
        yield from _job_lines(job, color)
    unchanged = len(diff.jobs) - len(diff.changed_jobs)
    moved = [job for job in diff.jobs if job.status is Status.UNCHANGED and job.old_path]
    if unchanged:
        yield ""
        yield f"{unchanged:,} {'job' if unchanged == 1 else 'jobs'} unchanged"
        yield from (printable(f"  {job.job}: moved from {job.old_path} to {job.path}") for job in moved)
    yield from (printable(f"note: {note}") for note in diff.notes)
    yield from (printable(f"target changed: {words}") for words in diff.target_changes)
    for gate in diff.gates:
        yield printable(f"{'trips' if gate.is_tripped else 'passes'} {gate_words(gate)}")
    yield ""
    yield headline(diff)
    if diff.paid_usd:
        yield paid_now(diff)


def _job_lines(job: JobDiff, color: bool) -> Iterator[str]:
    yield printable(f"{_SYMBOLS[job.status]} {job.job}  {status_words(job)}, {job.model}, {job.mode}")
    yield f"  {effect_words(job)}"
    if job.old_path:
        yield printable(f"  moved from {job.old_path}")
    yield from (printable(f"  {part_words(part)}") for part in job.parts)
    if job.rows is not None:
        yield f"  rows: {', '.join(row_words(job.rows)) or 'none'}"
    yield from (f"  {words}" for words in all_rows_words(job))
    if job.caching is not None and job.changes_requests:
        yield f"  caching: {job.caching.words}"
    if words := basis_words(job):
        yield f"  {words}"
    yield from (printable(f"  note: {note}") for note in job.notes)
    if job.answers is not None:
        yield from (printable(f"  answers: {line}") for line in answer_lines(job.answers))
        for name, grid in grids_of(job.answers):
            yield from _grid_lines(name, grid)
    yield from _prompt_lines(job, color)
    yield from _telling_lines(job, color)


def _grid_lines(name: str, grid: Grid) -> Iterator[str]:
    """Labels before down the page, those of now across it."""
    yield printable(f"  {name}, before ↓ and now →:")
    labels = [shortened(label, _LABEL_COLUMNS) for label in grid_labels(grid)]
    counts = [[f"{count:,}" if count else "·" for count in row] for row in grid.cells]
    widths = [max(map(display_width, column)) for column in zip(labels, *counts, strict=True)]
    first = max(map(display_width, labels))
    yield f"    {' ' * first}  {'  '.join(map(_right, labels, widths))}"
    for label, row in zip(labels, counts, strict=True):
        yield f"    {label}{' ' * (first - display_width(label))}  {'  '.join(map(_right, row, widths))}"


def _right(text: str, columns: int) -> str:
    return " " * (columns - display_width(text)) + text


def _prompt_lines(job: JobDiff, color: bool) -> Iterator[str]:
    if job.status is Status.ADDED:
        return
    if job.prompt.shared:
        yield "  what all rows share:"
        yield from _diff_lines(job.prompt.shared, color)
    for row in job.prompt.rows:
        yield printable(f"  row {row.key} ({row.place}; {row.stratum}):")
        yield from _diff_lines(row.lines, color)


def _telling_lines(job: JobDiff, color: bool) -> Iterator[str]:
    for row in job.answers.telling if job.answers else ():
        yield printable(f"  row {row.key} ({row.place}), {row.kind}:")
        for line in telling_lines(row):
            code = {"-": "31", "+": "32"}.get(line[0], "2")
            text = f"{line[0]} {printable(line[1:])}"
            yield f"    \x1b[{code}m{text}\x1b[0m" if color else f"    {text}"


def _diff_lines(lines: Sequence[DiffLine], color: bool) -> Iterator[str]:
    for line in lines:
        text = "".join(_span(span, line.kind, color) for span in line.spans)
        sign = _SIGNS[line.kind]
        yield f"    \x1b[{_COLOURS[line.kind]}m{sign} {text}\x1b[0m" if color else f"    {sign} {text}"


def _span(span: Span, kind: str, color: bool) -> str:
    text = printable(span.text)
    if not span.is_changed:
        return text
    if color:
        return f"\x1b[7m{text}\x1b[27m"
    return f"[-{text}-]" if kind == "old" else f"{{+{text}+}}"
