"""A run told while it happens: plain lines for logs and pipes, one a change; the numbers that a live display shows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from batchforge.events import Event, EventName
from batchforge.terminal.terminal import wants_color
from batchforge.terminal.terminal_text import printable

_SHOWN = frozenset(
    {
        "fetched",
        "job_planned",
        "job_failed",
        "job_skipped",
        "batch_submitted",
        "batch_progress",
        "answers_stored",
        "waiting",
        "stopped",
    }
)
_SHOWN_ON_DEMAND = frozenset({"attempt_moved", "results_stored", "output_written", "output_held_back"})
_WITH_TIME = frozenset({"batch_progress", "answers_stored"})
_WORDS = {"output_written": "wrote ", "output_held_back": "not replaced: "}
_YELLOW, _END = "\x1b[33m", "\x1b[0m"
ANSWERS_STORED_EVERY_S = 5.0
"""Answers of mode sync come one by one; a line for each would say little."""


@dataclass(slots=True)
class PlainProgress:
    """One line a change; a line that says again what was said last about the same thing is left out."""

    stream: TextIO
    is_quiet: bool = False
    is_verbose: bool = False
    clock: Callable[[], float] = time.monotonic
    _started_at: float = -1.0
    _last: dict[tuple[object, ...], str] = field(default_factory=dict)
    _last_answers_at: float = float("-inf")

    def __call__(self, event: Event) -> None:
        if self.tells(event):
            self.write(self.line(event))

    def tells(self, event: Event) -> bool:
        """Whether the event is worth a line."""
        if self._started_at < 0:
            self._started_at = self.clock()
        if not self._is_wanted(event.name.value) or self._is_too_soon(event):
            return False
        about = (event.name.value, event.job, event.data.get("batch_id"), event.data.get("attempt_id"))
        if self._last.get(about) == event.message:
            return False
        self._last[about] = event.message
        return True

    def line(self, event: Event) -> str:
        message = _WORDS.get(event.name.value, "") + event.message
        text = printable(f"{event.job}: {message}" if event.job else message)
        if event.name is EventName.WARNING:
            word = f"{_YELLOW}warning:{_END}" if wants_color(self.stream) else "warning:"
            return f"{word} {text}"
        return f"{text} ({self.elapsed()})" if event.name.value in _WITH_TIME else text

    def write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()

    def elapsed(self) -> str:
        return duration(self.clock() - self._started_at)

    def close(self) -> None:
        """Nothing is left to be done."""

    def _is_wanted(self, name: str) -> bool:
        if name == "warning":
            return True
        return not self.is_quiet and (name in _SHOWN or (self.is_verbose and name in _SHOWN_ON_DEMAND))

    def _is_too_soon(self, event: Event) -> bool:
        if event.name.value != "answers_stored" or event.data.get("stored") == event.data.get("requests"):
            return False
        now = self.clock()
        if now - self._last_answers_at < ANSWERS_STORED_EVERY_S:
            return True
        self._last_answers_at = now
        return False


def duration(seconds: float) -> str:
    """
    >>> duration(61), duration(3_601)
    ('1:01', '1:00:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(slots=True)
class JobTally:
    """What is known of one job, from what was told."""

    to_send: int = 0
    sent: int = 0
    left: dict[str, int] = field(default_factory=dict)
    """Batch -> requests without a result."""
    statuses: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    """Those that came one by one."""
    input_tokens: int = 0
    output_tokens: int = 0
    spent_usd: float = 0.0
    estimated_usd: float | None = None
    waits_for: str = ""

    @property
    def answered(self) -> int:
        return self.statuses["answered"] + self.answers

    @property
    def failed(self) -> int:
        return self.statuses.total() - self.statuses["answered"]

    @property
    def batches(self) -> tuple[int, int]:
        """(ended, all)"""
        return sum(1 for left in self.left.values() if not left), len(self.left)

    def take(self, event: Event) -> None:
        data: Mapping[str, Any] = event.data
        self.waits_for = ""
        match event.name.value:
            case "job_planned":
                self.to_send = max(self.to_send, data.get("requests_to_send", 0))
                self.estimated_usd = data.get("estimated_usd")
            case "batch_submitted":
                self.sent += data["requests"]
                self.left[data["batch_id"]] = data["requests"]
            case "batch_progress":
                self.left[data["batch_id"]] = data["processing"]
            case "results_stored":
                self._add_results(data)
            case "answers_stored":
                self.answers = data["stored"]
                self.spent_usd = data["cost_usd"]
                self.input_tokens, self.output_tokens = data["input_tokens"], data["output_tokens"]
            case "waiting":
                self.waits_for = event.message

    def _add_results(self, data: Mapping[str, Any]) -> None:
        self.statuses.update(data.get("results", {}))
        self.input_tokens += data.get("input_tokens", 0)
        self.output_tokens += data.get("output_tokens", 0)
        self.spent_usd += data.get("cost_usd", 0.0)
