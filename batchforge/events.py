"""What happens during a run, told as it happens: for the progress display and the log, never for decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class EventName(StrEnum):
    """Stable names: they are the `event` of a JSON log line."""

    RUN_STARTED = "run_started"
    FETCHED = "fetched"
    JOB_PLANNED = "job_planned"
    JOB_FAILED = "job_failed"
    """It could not go on; other jobs do."""
    JOB_SKIPPED = "job_skipped"
    """Something that it needs failed, or is still in flight."""
    FILE_UPLOADED = "file_uploaded"
    BATCH_SUBMITTED = "batch_submitted"
    BATCH_PROGRESS = "batch_progress"
    RESULTS_STORED = "results_stored"
    ANSWERS_STORED = "answers_stored"
    ANSWERS_REMOVED = "answers_removed"
    """They were older than the target keeps what serves no row."""
    """Sync."""
    ATTEMPT_MOVED = "attempt_moved"
    WAITING = "waiting"
    OUTPUT_WRITTEN = "output_written"
    OUTPUT_HELD_BACK = "output_held_back"
    STOPPED = "stopped"
    """Sync: interrupted before everything was asked."""
    WARNING = "warning"
    RUN_ENDED = "run_ended"


@dataclass(frozen=True, slots=True)
class Event:
    name: EventName
    job: str = ""
    message: str = ""
    """In words, for people; never holds text of prompts or answers."""
    data: Mapping[str, object] = field(default_factory=dict)


Listener = Callable[[Event], None]


def warning(code: str, message: str, job: str = "", **data: object) -> Event:
    """Something will disappoint, or is not as it should be; `batchforge explain CODE` tells what to do."""
    return Event(EventName.WARNING, job, f"{code} {message}", {"code": code, **data})


def ignore(event: Event) -> None:
    """A listener that does not listen."""
