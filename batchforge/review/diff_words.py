"""Parts of a `ProjectDiff` in words that text, Markdown and HTML share."""

from __future__ import annotations

from collections.abc import Iterator

from batchforge.review.diff_values import Basis, Cost, JobDiff, PartChange, ProjectDiff, RowCounts, Status
from batchforge.usd import paid_words, pico, usd_words

NO_CHANGE = "no request changes, $0.00"


def headline(diff: ProjectDiff) -> str:
    """One sentence: 2 jobs ask something else; 5,000 rows rerun; $6.87 expected, $26.32 at most."""
    asking = diff.asking_jobs
    if not asking:
        return NO_CHANGE
    rows = sum(job.rows.to_send for job in asking if job.rows)
    reused = sum(job.rows.reused for job in asking if job.rows)
    words = [f"{_counted(len(asking), 'job')} {'asks' if len(asking) == 1 else 'ask'} something else"]
    unknown = [job for job in asking if job.rows is None]
    at_most = "at most " if diff.is_at_most else ""
    if rows or not unknown:
        words.append(f"{at_most}{_counted(rows, 'row')} to send")
    if unknown:
        words.append(f"rows of {_counted(len(unknown), 'job')} not known")
    if reused:
        words.append(f"{reused:,} answered before")
    return "; ".join([*words, cost_words(diff.change)])


def paid_now(diff: ProjectDiff) -> str:
    paid = paid_words(pico(diff.paid_usd))
    return f"{paid} was paid for answers to compare; a later run does not pay for them again"


def cost_words(cost: Cost | None) -> str:
    if cost is None:
        return "cost not known"
    return f"{expected_words(cost)} expected, {ceiling_words(cost)}"


def expected_words(cost: Cost) -> str:
    return "unknown cost" if cost.expected_pico_usd is None else usd_words(cost.expected_pico_usd)


def ceiling_words(cost: Cost) -> str:
    return "no upper bound" if cost.ceiling_pico_usd is None else f"{usd_words(cost.ceiling_pico_usd)} at most"


def status_words(job: JobDiff) -> str:
    if job.status is Status.RENAMED:
        return f"renamed from {job.old_job}"
    return job.status.value


def effect_words(job: JobDiff) -> str:
    """What the change means for the job's requests."""
    if job.status is Status.REMOVED:
        return "not asked any more"
    if not job.changes_requests:
        return NO_CHANGE
    if job.rows is None:
        return "requests change; how many rows, and what they cost, is not known here"
    at_most = "at most " if job.is_at_most else ""
    parts = [f"{at_most}{_counted(job.rows.to_send, 'row')} to send"]
    if job.rows.reused:
        parts.append(f"{job.rows.reused:,} answered before")
    return f"{', '.join(parts)}; {cost_words(job.change)}"


def row_words(rows: RowCounts) -> list[str]:
    """Counts that are not zero."""
    named = [
        (rows.changed, "changed"),
        (rows.new, "new"),
        (rows.gone, "gone"),
        (rows.same, "the same"),
        (rows.reused, "of the changed or new ones answered before"),
        (rows.waiting, "of the same ones unanswered, sent with or without the change"),
        (rows.in_flight, "in flight"),
        (rows.failed, "failed before"),
        (rows.blocked, "blocked"),
    ]
    return [f"{count:,} {words}" for count, words in named if count]


def part_words(part: PartChange) -> str:
    return f"{part.part.value}: {part.words}" + ("" if part.changes_requests else " (no effect on requests)")


def all_rows_words(job: JobDiff) -> Iterator[str]:
    """What all rows cost when each is asked once: before and after."""
    if job.before is None or job.after is None or not job.changes_requests:
        return
    before, after = job.before, job.after
    yield (
        f"all rows once: {expected_words(before)} → {expected_words(after)} expected, "
        f"{_dollars(before.ceiling_pico_usd)} → {_dollars(after.ceiling_pico_usd)} at most"
    )
    yield (
        f"tokens of all rows: {before.input_tokens:,} → {after.input_tokens:,} in, "
        f"{before.output_tokens:,} → {after.output_tokens:,} out"
    )


def basis_words(job: JobDiff) -> str:
    if job.basis is Basis.SAMPLES:
        learnt = f"learnt from {_counted(job.learnt_from, 'result')}" if job.learnt_from else "no results to learn from"
        return f"scaled up from {_counted(job.sampled_rows, 'sample row')} to the last known number of rows; {learnt}"
    if job.basis is Basis.ROWS and job.learnt_from:
        return f"estimate learnt from {_counted(job.learnt_from, 'result')}"
    return ""


def _dollars(pico: int | None) -> str:
    return "no upper bound" if pico is None else usd_words(pico)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"
