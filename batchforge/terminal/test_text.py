"""Results of tests -> lines for people: each test with what it came to, the failing ones once more, and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from batchforge.summaries import JobSummary
from batchforge.terminal.terminal_text import printable
from batchforge.testing.outcome import ERROR, FAIL, PASS, SKIPPED, WARN, AssertionResult

_WORDS = {PASS: "PASS", WARN: "WARN", FAIL: "FAIL", ERROR: "ERROR", SKIPPED: "SKIP"}
_COUNTED = {"PASS": PASS, "WARN": WARN, "FAIL": FAIL, "ERROR": ERROR, "SKIP": SKIPPED}
_PAINTS = {PASS: "32", WARN: "33", FAIL: "31", ERROR: "31", SKIPPED: "2"}
_WIDTH = 79
_SHOWN_ROWS, _ROW_CHARS = 3, 160


def lines_of_tests(jobs: Sequence[JobSummary], root: Path, *, color: bool = False) -> Iterator[str]:
    """`1 of 3 PASS about.not_null_answer ........ [PASS in 0.01s]`, then what failed, with a few of its rows, then how
    many of each."""
    results = [result for job in jobs for result in job.tests]
    for number, result in enumerate(results, 1):
        yield _line(number, len(results), result, color)
    for result in results:
        if result.status != PASS:
            yield ""
            yield from problem_lines(result, color=color)
            yield from _first_rows(result, root)
    yield ""
    yield summary_line(results)


def problem_lines(result: AssertionResult, *, color: bool = False) -> Iterator[str]:
    """What is to be known of a test that did not pass."""
    words = {WARN: "Warning in", FAIL: "Failure in", ERROR: "Error in", SKIPPED: "Skipped:"}[result.status]
    place = f" ({printable(result.path)})" if result.path else ""
    yield _painted(f"{words} test {result.job}.{result.name}{place}", result.status, color)
    yield f"  {printable(result.message)}"
    if result.failures_path:
        yield f"  failing rows: {result.failures_path}"


def _first_rows(result: AssertionResult, root: Path) -> Iterator[str]:
    if result.failures_path is None:
        return
    with suppress(OSError), (root / result.failures_path).open(encoding="utf-8") as file:
        for line in islice(file, _SHOWN_ROWS):
            text = printable(line.rstrip("\n"))
            yield f"    {text if len(text) <= _ROW_CHARS else f'{text[: _ROW_CHARS - 1]}…'}"


def summary_line(results: Sequence[AssertionResult]) -> str:
    counts = Counter(result.status for result in results)
    words = " ".join(f"{word}={counts[status]}" for word, status in _COUNTED.items())
    return f"Done. {words} TOTAL={len(results)}"


def verdict(result: AssertionResult) -> str:
    """PASS, WARN 3, FAIL 3: with the number of failing rows."""
    is_counted = result.status in (WARN, FAIL) and result.value is None
    return f"{_WORDS[result.status]} {result.failures:,}" if is_counted else _WORDS[result.status]


def _line(number: int, total: int, result: AssertionResult, color: bool) -> str:
    start = f"{number} of {total} {verdict(result)} {result.job}.{result.name} "
    ending = f"{verdict(result)} in {result.duration_s:.2f}s"
    return f"{start}{'.' * max(2, _WIDTH - len(start) - len(ending) - 3)} [{_painted(ending, result.status, color)}]"


def _painted(text: str, status: str, color: bool) -> str:
    return f"\x1b[{_PAINTS[status]}m{text}\x1b[0m" if color else text
