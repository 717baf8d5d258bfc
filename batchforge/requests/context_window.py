"""The requests of a job, one by one -> warnings of those that do not fit, or hardly fit, into the context window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchforge.claude_models import ModelInfo, context_limit_tokens, find_model
from batchforge.errors import Problem, Severity
from batchforge.spec import JobSpec

MOST_BYTES_A_TOKEN = 12
"""No ordinary text has tokens of more bytes on average, so bytes over this are fewer tokens than there are."""
_NEAR_THE_LIMIT = 0.9


@dataclass(slots=True)
class ContextCheck:
    """Takes the size of each request of a job; a model that is not known has no limit."""

    spec: JobSpec
    too_long: int = 0
    """Requests that surely do not fit."""
    first_too_long: str = ""

    @property
    def model(self) -> ModelInfo | None:
        return find_model(self.spec.model)

    @property
    def limit_tokens(self) -> float:
        return context_limit_tokens(self.model) if self.model else float("inf")

    def is_near(self, tokens: float) -> bool:
        """Whether a prompt of so many tokens, with its answer, comes near to the limit."""
        return tokens + self.spec.max_tokens >= _NEAR_THE_LIMIT * self.limit_tokens

    def take(self, key: str, place: str, body_bytes: int) -> None:
        if body_bytes > self.limit_tokens * MOST_BYTES_A_TOKEN:
            self.too_long += 1
            self.first_too_long = self.first_too_long or f"the row `{key}` ({place})"

    def warnings(self, largest_tokens: float) -> Iterator[Problem]:
        """Once all are taken, given what the largest one is estimated to hold."""
        if self.model is None or not (self.too_long or self.is_near(largest_tokens)):
            return
        name, limit = self.model.id, self.limit_tokens
        if self.too_long:
            rows = "row surely exceeds" if self.too_long == 1 else "rows surely exceed"
            yield _warning(
                "BF436",
                f"{self.too_long:,} {rows} the {limit:,} tokens of {name}'s context window, "
                f"first {self.first_too_long}",
            )
            return
        yield _warning(
            "BF435",
            f"the largest request has about {largest_tokens:,.0f} tokens, with {self.spec.max_tokens:,} for the "
            f"answer; {name}'s context window holds {limit:,}",
        )


def _warning(code: str, message: str) -> Problem:
    return Problem(code, message, severity=Severity.WARNING)
