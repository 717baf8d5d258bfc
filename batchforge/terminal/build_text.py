"""A build -> lines for people: each job with its tests, what went wrong once more, and how many of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from batchforge.clock import parse_iso
from batchforge.summaries import JobSummary, RunSummary
from batchforge.terminal.report import EMULATED_NOTICE, counted
from batchforge.terminal.terminal_text import printable
from batchforge.terminal.test_text import problem_lines, verdict
from batchforge.testing.outcome import ERROR, FAIL, PASS, SKIPPED, WARN
from batchforge.usd import paid_words, pico

_WIDTH = 79
_PAINTS = {"OK": "32", "PASS": "32", "WARN": "33", "FAIL": "31", "ERROR": "31", "SKIP": "2", "WAIT": "2"}
_TEST_WORDS = {PASS: "PASS", WARN: "WARN", FAIL: "FAIL", ERROR: "ERROR", SKIPPED: "SKIP"}
_TOTALS = ("PASS", "WARN", "FAIL", "ERROR", "SKIP", "WAIT")


def render_build(summary: RunSummary, *, color: bool = False, columns: int | None = None) -> str:
    """`1 of 4 OK extract: 68 rows, 68 requests, $0.0017 ...... [OK]`, below it the job's tests."""
    width = min(columns or _WIDTH, 120)
    lines = [line for n, job in enumerate(summary.jobs, 1) for line in _job_lines(n, summary, job, width, color)]
    problems = [line for job in summary.jobs for line in _problem_lines(job, color)]
    notice = ["", EMULATED_NOTICE] if summary.is_emulated and summary.jobs else []
    return "\n".join([*lines, *problems, *notice, "", *_last_lines(summary)])


def job_word(job: JobSummary) -> str:
    if job.waiting_for or job.batches_in_flight:
        return "WAIT"
    if job.skipped_because:
        return "SKIP"
    if job.problem:
        return "ERROR"
    return "FAIL" if job.is_failed else "OK"


def _job_lines(number: int, summary: RunSummary, job: JobSummary, width: int, color: bool) -> Iterator[str]:
    word = job_word(job)
    start = f"{number} of {len(summary.jobs)} {word} {job.job}: {_came_to(job)} "
    yield _dotted(start, word, word, width, color)
    for result in job.tests:
        yield _dotted(f"    {result.name} ", verdict(result), _TEST_WORDS[result.status], width, color)


def _dotted(start: str, ending: str, word: str, width: int, color: bool) -> str:
    dots = "." * max(2, width - len(start) - len(ending) - 3)
    return f"{printable(start)}{dots} [{_painted(ending, word, color)}]"


def _came_to(job: JobSummary) -> str:
    if job.skipped_because:
        return job.skipped_because
    if job.waiting_for:
        return f"waits for {job.waiting_for}"
    if job.batches_in_flight:
        return f"{counted(len(job.batches_in_flight), 'batch')} in flight"
    words = [counted(job.rows, "row"), counted(job.requests_sent, "request")]
    return ", ".join([*words, paid_words(job.brought.cost_pico_usd)] if job.requests_sent else words)


def _problem_lines(job: JobSummary, color: bool) -> Iterator[str]:
    if job.problem:
        yield from ("", _painted(f"Error in {job.job}", "ERROR", color), f"  {printable(job.problem)}")
    if job.output is not None and not job.output.is_published and job.is_failed:
        yield from ("", _painted(f"Output of {job.job} held back", "FAIL", color))
        yield f"  {printable(job.output.held_back_because)}; its rows are in {job.output.path}"
        if job.output.rejected_path:
            yield f"  failed rows with their reasons: {job.output.rejected_path}"
    for result in job.tests:
        if result.status not in (PASS, SKIPPED):
            yield ""
            yield from problem_lines(result, color=color)


def _last_lines(summary: RunSummary) -> Iterator[str]:
    counts = _counts(summary.jobs)
    cost_usd = sum(job.brought.cost_usd for job in summary.jobs)
    tests = sum(len(job.tests) for job in summary.jobs)
    took = _took_words(summary)
    yield f"{counted(len(summary.jobs), 'job')} and {counted(tests, 'test')}{took}, {paid_words(pico(cost_usd))}"
    yield "Done. " + " ".join(f"{word}={counts[word]}" for word in _TOTALS) + f" TOTAL={sum(counts.values())}"
    if summary.status == "pending":
        yield "Batches are in flight. `batchforge resume` fetches them, and goes on with the jobs that wait."


def _counts(jobs: Sequence[JobSummary]) -> Counter[str]:
    words = Counter("PASS" if job_word(job) == "OK" else job_word(job) for job in jobs)
    words.update(_TEST_WORDS[result.status] for job in jobs for result in job.tests)
    return words


def _took_words(summary: RunSummary) -> str:
    if summary.ended_at is None:
        return ""
    seconds = (parse_iso(summary.ended_at) - parse_iso(summary.started_at)).total_seconds()
    return f" in {seconds:,.0f} s" if seconds < 120 else f" in {seconds / 60:,.0f} min"


def _painted(text: str, word: str, color: bool) -> str:
    return f"\x1b[{_PAINTS[word]}m{text}\x1b[0m" if color else text
