"""A `ProjectDiff` -> what stands in the page of its report: the answer first, then each job, then rows to filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchforge.review.answer_values import AnswersDiff
from batchforge.review.diff_values import JobDiff, ProjectDiff, Status
from batchforge.review.diff_words import (
    all_rows_words,
    basis_words,
    ceiling_words,
    effect_words,
    expected_words,
    headline,
    paid_now,
    row_words,
    status_words,
)
from batchforge.review.gates import gate_words
from batchforge.review.html_answers import answers_html
from batchforge.review.html_text import badge, cells, head_row, listed, shown
from batchforge.review.text_diff import DiffLine

_SIGNS = {"same": " ", "old": "-", "new": "+", "gap": "…"}


def page_body(diff: ProjectDiff, rows: int) -> Iterator[str]:
    """`rows` are those that the page's script is given."""
    yield f"<header><h1>{shown(diff.project)}: what this change asks</h1>"
    yield f'<p class="answer">{shown(headline(diff))}</p>'
    yield f'<p class="dim">{shown(str(diff.base))} → {shown(str(diff.head))} · target {shown(diff.target)} · '
    yield f"prices as of {shown(diff.prices_as_of)}</p></header>\n<main>"
    yield from _tiles(diff)
    yield from _gates(diff)
    yield from _notes(diff)
    yield from _jobs(diff)
    for job in diff.changed_jobs:
        yield from _job(job, has_rows=bool(rows))
    if rows:
        yield from _rows_frame(rows)
    yield "</main>"


def _tiles(diff: ProjectDiff) -> Iterator[str]:
    asking = diff.asking_jobs
    is_known = all(job.rows is not None for job in asking)
    at_most = "≤ " if diff.is_at_most else ""
    rows = f"{at_most}{sum(job.rows.to_send for job in asking if job.rows):,}" if is_known else "unknown"
    cost = diff.change
    tiles = [
        (f"{len(asking):,} of {len(diff.jobs):,}", "jobs ask something else"),
        (rows, "rows to send"),
        (f"{at_most}{expected_words(cost)}" if cost else "unknown", "expected"),
        (ceiling_words(cost).removesuffix(" at most") if cost else "unknown", "at most"),
    ]
    for job in diff.jobs:
        if job.answers is not None:
            tiles.append(_answers_tile(job, job.answers))
    yield '<ul class="tiles">'
    yield "".join(f"<li><b>{shown(figure)}</b> {shown(words)}</li>" for figure, words in tiles[:8])
    yield "</ul>"


def _answers_tile(job: JobDiff, answers: AnswersDiff) -> tuple[str, str]:
    right = answers.accuracy
    if right is not None and right.rows:
        return f"{right.before / right.rows:.1%} → {right.after / right.rows:.1%}", f"right in {job.job}"
    return f"{answers.changed:,} of {answers.compared:,}", f"answers of {job.job} differ"


def _gates(diff: ProjectDiff) -> Iterator[str]:
    if not diff.gates:
        return
    tripped_first = sorted(diff.gates, key=lambda gate: not gate.is_tripped)
    lines = [
        f"<li>{badge('trips', 'bad') if gate.is_tripped else badge('passes', 'good')} {shown(gate_words(gate))}</li>"
        for gate in tripped_first
    ]
    yield f"<h2>Rules</h2><ul class='plain'>{''.join(lines)}</ul>"


def _notes(diff: ProjectDiff) -> Iterator[str]:
    lines = [*diff.notes, *(f"target changed: {words}" for words in diff.target_changes)]
    lines += [f"{problem.code}: {problem.message}" for problem in diff.problems]
    if not diff.has_state:
        lines.append("There is no state here: what was answered before is not known.")
    if diff.paid_usd:
        lines.append(f"{paid_now(diff)}.")
    yield from listed(lines)


def _jobs(diff: ProjectDiff) -> Iterator[str]:
    yield "<div class='wide'><table><caption hidden>Jobs</caption>"
    yield head_row(("job", "change", "effect", "all rows once"))
    yield "<tbody>"
    for job in sorted(diff.jobs, key=lambda job: (job.status is Status.UNCHANGED, not job.changes_requests)):
        link = f'<a href="#job-{shown(job.job)}">{shown(job.job)}</a>' if job.status is not Status.UNCHANGED else ""
        before_after = job.changes_requests and job.before is not None and job.after is not None
        once = f"{expected_words(job.before)} → {expected_words(job.after)}" if before_after else ""  # type: ignore[arg-type]
        yield cells([link or shown(job.job), shown(status_words(job)), shown(effect_words(job)), shown(once)])
    yield "</tbody></table></div>"


# ---- jobs


def _job(job: JobDiff, *, has_rows: bool) -> Iterator[str]:
    yield f'<section class="job" id="job-{shown(job.job)}"><h2>{shown(job.job)} {badge(status_words(job))}</h2>'
    yield f'<p class="answer">{shown(effect_words(job))}</p>'
    yield '<dl class="facts">'
    yield "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _facts(job))
    yield "</dl>"
    if job.answers is not None:
        yield "<h3>Answers</h3>"
        yield from answers_html(job.job, job.answers, has_rows=has_rows)
    if job.prompt.shared:
        yield f"<h3>What all rows share</h3>{_diff(job.prompt.shared)}"
    for row in job.prompt.rows:
        title = f"Row {shown(row.key)} <span class='dim'>{shown(row.place)}; {shown(row.stratum)}</span>"
        yield f"<details open><summary><h3>{title}</h3></summary>{_diff(row.lines)}</details>"
    yield "</section>"


def _facts(job: JobDiff) -> Iterator[tuple[str, str]]:
    yield "asks", shown(f"{job.model}, {job.mode}")
    yield "file", shown(job.path + (f", moved from {job.old_path}" if job.old_path else ""))
    for part in job.parts:
        effect = "" if part.changes_requests else " <span class='dim'>no effect on requests</span>"
        yield shown(part.part.value), f"{shown(part.words)}{effect}"
    if job.rows is not None:
        yield "rows", shown(", ".join(row_words(job.rows)) or "none")
    for words in all_rows_words(job):
        name, _, figures = words.partition(": ")
        yield shown(name), shown(figures)
    if job.caching is not None and job.changes_requests:
        yield "caching", shown(job.caching.words)
    if words := basis_words(job):
        yield "estimate", shown(words.removeprefix("estimate "))
    for note in job.notes:
        yield "note", shown(note)


def _diff(lines: Sequence[DiffLine]) -> str:
    return "<pre>" + "".join(_line(line) for line in lines) + "</pre>"


def _line(line: DiffLine) -> str:
    tag = "del" if line.kind == "old" else "ins"
    words = (f"<{tag}>{shown(span.text)}</{tag}>" if span.is_changed else shown(span.text) for span in line.spans)
    return f'<span class="{line.kind}" data-sign="{_SIGNS[line.kind]}">{"".join(words)}</span>'


# ---- rows


def _rows_frame(rows: int) -> Iterator[str]:
    yield f'<h2 id="answers">Answers, row by row <span class="dim">({rows:,})</span></h2>'
    yield '<p class="dim">Keys: <kbd>/</kbd> search, <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> open, '
    yield "<kbd>n</kbd> <kbd>p</kbd> pages, <kbd>Esc</kbd> close.</p>"
    yield '<form id="filters" role="search">'
    yield '<label>Job <select id="job"></select></label><label>What became of it <select id="kind"></select></label>'
    yield '<label>Change <select id="move"></select></label>'
    yield '<label>Search <input id="q" type="search" autocomplete="off"></label>'
    yield '<button type="button" id="before">Previous</button><button type="button" id="after">Next</button>'
    yield '<p id="status" role="status" aria-live="polite">loading</p></form>'
    yield "<table id='answered'><caption hidden>Rows with their answers</caption>"
    yield head_row(("key", "job", "kind", "what changed"))
    yield '<tbody id="rows"></tbody></table>'
