"""What came of one test, as a value: what is printed, what run_results.json holds, what keeps an output back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PASS, WARN, FAIL, ERROR, SKIPPED = "pass", "warn", "fail", "error", "skipped"
TEST_STATUSES = (PASS, WARN, FAIL, ERROR, SKIPPED)


@dataclass(frozen=True, slots=True)
class AssertionResult:
    """One test of one job's output."""

    job: str
    name: str
    kind: str
    severity: str
    status: str
    """pass, warn, fail, error (it could not be worked out) or skipped."""
    rows: int = 0
    """Rows that were tested."""
    failures: int = 0
    """Rows that failed."""
    value: float | None = None
    """What was measured, by a test that measures."""
    message: str = ""
    """What was found, in words; empty where nothing is to be said."""
    failures_path: str | None = None
    """Project-relative: the failing rows, each with its reason."""
    path: str = ""
    """The file in which the test stands."""
    duration_s: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the kind tells besides, e.g. the table of confusions."""

    @property
    def is_failed(self) -> bool:
        """Whether it keeps an output back. What cannot be worked out is not known to hold."""
        return self.status in (FAIL, ERROR)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def result_of(value: Mapping[str, Any]) -> AssertionResult:
    """From what `to_json` made."""
    return AssertionResult(**value)


def failed_words(results: Sequence[AssertionResult]) -> str:
    """Why an output is kept back; empty where no test failed."""
    failed = [result.name for result in results if result.is_failed]
    if not failed:
        return ""
    names = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
    return f"{'a test' if len(failed) == 1 else f'{len(failed)} tests'} failed: {names}"
