"""What a run came to -> text for people; any value -> JSON for machines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from batchforge.escalation.rungs import LadderReport
from batchforge.outputs import OutputReport
from batchforge.planning.budget import ways_words
from batchforge.summaries import JobSummary, RunSummary, cost_over_estimate
from batchforge.terminal.terminal_text import printable
from batchforge.terminal.test_text import verdict
from batchforge.terminal.text_layout import wrapped
from batchforge.testing.outcome import PASS, TEST_STATUSES
from batchforge.usd import paid_words, pico, usd_words

EMULATED_NOTICE = "These answers come from the emulator's plain rules. They are not Claude's."


def to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def render_run(summary: RunSummary, *, color: bool = False, columns: int | None = None) -> str:
    """A run for people: a block a job, then what to do next. With `columns`, no line is longer."""
    lines = [line for job in summary.jobs for line in _job_lines(job)]
    if summary.is_emulated and summary.jobs:
        lines += ["", EMULATED_NOTICE]
    lines += _next_step(summary)
    if columns is not None:
        lines = [part for line in lines for part in wrapped_line(line, columns)]
    return "\n".join(_painted(printable(line), color) for line in lines)


def wrapped_line(line: str, columns: int) -> Iterator[str]:
    """The line in lines that fit; those after the first are indented by two more."""
    indent = line[: len(line) - len(line.lstrip())]
    first, *_ = wrapped(line.strip(), columns, indent)
    yield first
    rest = line.strip()[len(first.strip()) :].strip()
    if rest:
        yield from wrapped(rest, columns, f"{indent}    ")


_PAINTS = (
    (re.compile(r"^\S+(?=: )"), "\x1b[1m"),
    (re.compile(r"(?<=[ (])[\d,]+ answered\b(?! before)"), "\x1b[32m"),
    (
        re.compile(
            r"(?<=[ (])[\d,]+ (truncated|refused|thinking_only|context_exceeded|empty|paused|errored|expired|canceled"
            r"|invalid|blocked)\b"
        ),
        "\x1b[31m",
    ),
    (re.compile(r"^ +(FAIL|ERROR)\b"), "\x1b[31m"),
    (re.compile(r"^ +WARN\b"), "\x1b[33m"),
    (re.compile(r"^ +(not written|no output was written|the old output stays)\b"), "\x1b[31m"),
)
_END = "\x1b[0m"


def _painted(line: str, color: bool) -> str:
    if color:
        for pattern, paint in _PAINTS:
            line = pattern.sub(rf"{paint}\g<0>{_END}", line)
    return line


def printable_lines(lines: list[str]) -> str:
    return "\n".join(printable(line) for line in lines)


def counted(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _job_lines(job: JobSummary) -> Iterator[str]:
    if job.skipped_because or job.waiting_for:
        yield f"{job.job}: " + (
            f"skipped, {job.skipped_because}" if job.skipped_because else f"waits for {job.waiting_for}"
        )
        return
    yield f"{job.job}: {_work_words(job)}"
    if job.brought.results:
        yield f"  {_brought_words(job)}"
        yield from _bill_lines(job)
    if job.ladder:
        yield from ladder_lines(job.ladder)
    if job.output:
        yield from _output_lines(job.output)
    if job.tests:
        yield from _test_lines(job)
    if job.problem:
        yield f"  not written: {job.problem}"
    if job.batches_in_flight:
        yield f"  in flight: {', '.join(job.batches_in_flight)}"


def _work_words(job: JobSummary) -> str:
    if not job.actions:
        return counted(job.rows, "row") if job.rows else counted(len(job.batches_in_flight), "batch") + " in flight"
    if not job.requests_sent:
        return f"{counted(job.rows, 'row')}, 0 requests sent: {_why_nothing(job)}"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in job.reasons.items())
    return f"{counted(job.rows, 'row')}, {counted(job.requests_sent, 'request')} sent ({reasons})"


def _why_nothing(job: JobSummary) -> str:
    words = {
        "reuse": "answered before",
        "wait": "already in flight",
        "failed": "failed before (`batchforge retry` asks again)",
        "blocked": "cannot be asked",
    }
    parts = [f"{job.actions[action]:,} {text}" for action, text in words.items() if job.actions.get(action)]
    return ", ".join(parts) or "the input has no rows"


def _brought_words(job: JobSummary) -> str:
    usage = job.brought.usage
    words = [
        f"{counted(job.brought.results, 'result')} for {paid_words(job.brought.cost_pico_usd)}",
        f"{usage.prompt_tokens:,} tokens in, {usage.output_tokens:,} out",
    ]
    if usage.cache_read_tokens:
        hits = f"{job.brought.cache_hits:,} of {job.brought.billed:,} results"
        words.append(f"{usage.cache_read_tokens:,} read from cache, by {hits}")
    if job.brought.unpriced:
        words.append(f"{job.brought.unpriced:,} without a known price")
    return "; ".join(words)


def _bill_lines(job: JobSummary) -> Iterator[str]:
    """The estimate held against the bill, and what the other ways of asking would have cost."""
    estimate, ratio = job.estimate, cost_over_estimate(job)
    if estimate is not None and ratio is not None:
        assert estimate.expected_pico_usd is not None
        parts = [f"estimated {usd_words(estimate.expected_pico_usd)}", f"billed {ratio:.0%} of it"]
        if estimate.ceiling_pico_usd is not None:
            parts.append(f"{usd_words(estimate.ceiling_pico_usd)} at most")
        parts.append(f"{estimate.input_tokens:,} tokens in and {estimate.output_tokens:,} out were expected")
        yield f"  {'; '.join(parts)}"
    if job.four_ways is not None:
        yield f"  {ways_words(job.four_ways)}"


def ladder_lines(ladder: LadderReport) -> Iterator[str]:
    """What each model caught and cost."""
    for rung in ladder.rungs:
        name = f"rung {rung.rung}, {rung.model}" + (" (sample)" if rung.is_sample else "")
        words = [f"{counted(rung.rows, 'row')} asked", f"{rung.kept:,} kept"]
        if rung.asked_again:
            words.append(f"{rung.asked_again:,} told what was wrong")
        if rung.went_up:
            causes = ", ".join(f"{count:,} {cause}" for cause, count in rung.went_up.items())
            words.append(f"{sum(rung.went_up.values()):,} went up ({causes})")
        cost = paid_words(pico(rung.cost_usd)) + (
            f" and {rung.unpriced:,} without a known price" if rung.unpriced else ""
        )
        yield f"  {name}: {', '.join(words)}; its answers cost {cost}"
    if ladder.guarantee is not None:
        yield f"  {ladder.guarantee.words}"
    if ladder.left:
        yield f"  {counted(ladder.left, 'row')} {'has' if ladder.left == 1 else 'have'} yet to go up"


def _output_lines(output: OutputReport) -> Iterator[str]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in output.statuses.items())
    yield f"  {statuses or 'no rows'}"
    if output.is_published:
        also = [f"the table {output.table}"] if output.table else []
        yield "  wrote " + " and ".join([output.path, *also, *([output.address] if output.address else [])])
    else:
        also_in = f" and {output.address}" if output.address else ""
        stays = "the old output stays" if output.keeps_old else "no output was written"
        yield f"  {stays}, {output.held_back_because}; these rows are in {output.path}{also_in}"
    if output.rejected_path:
        yield f"  failed rows with their reasons: {output.rejected_path}"


def _test_lines(job: JobSummary) -> Iterator[str]:
    counts = Counter(result.status for result in job.tests)
    words = ", ".join(f"{counts[status]:,} {status}" for status in TEST_STATUSES if counts[status])
    yield f"  {counted(len(job.tests), 'test')}: {words}"
    for result in job.tests:
        if result.status != PASS:
            yield f"    {verdict(result)} {result.name}: {result.message}"
            if result.failures_path:
                yield f"      failing rows: {result.failures_path}"


def _next_step(summary: RunSummary) -> Iterator[str]:
    if not summary.jobs:
        yield "Nothing to do."
    if any(job.rows_left for job in summary.jobs):
        yield ""
        yield "`batchforge resume` asks the next model about the rows that have yet to go up."
    if any(job.batches_in_flight or job.waiting_for for job in summary.jobs):
        yield ""
        yield "Batches are in flight. `batchforge collect` fetches them; it never sends a request."
        if any(job.waiting_for for job in summary.jobs):
            yield "`batchforge resume` fetches them too, and goes on with the jobs that wait."
        if summary.expected_at:
            yield f"They are expected by {summary.expected_at[:19]}Z, as earlier ones took."
        if summary.latest_at:
            yield f"They end at the latest at {summary.latest_at[:19]}Z."
