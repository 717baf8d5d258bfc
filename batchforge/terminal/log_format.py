"""A run as lines of JSON: one event a line, with stable names; and what each name and field means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from batchforge.errors import Problem
from batchforge.events import Event

COMMON_FIELDS: Mapping[str, str] = {
    "time": "When, in UTC, as ISO 8601.",
    "event": "The event's name, as listed below.",
    "job": "The job it is about; left out where it is about none.",
    "message": "The same in words. It may change between versions; names and fields do not.",
}


@dataclass(frozen=True, slots=True)
class EventMeaning:
    meaning: str
    fields: Mapping[str, str] = field(default_factory=dict)


_BATCH_ID = {"batch_id": "The batch's id at the API."}
_STORED = {
    "results": "Status -> how many results of this event have it.",
    "cost_usd": "What these results cost.",
    "input_tokens": "Tokens of their prompts, cached ones included.",
    "output_tokens": "Tokens of their answers.",
}

EVENTS: Mapping[str, EventMeaning] = {
    "run_started": EventMeaning(
        "A run has begun.", {"run_id": "The run's id.", "command": "What was called.", "target": "Where it runs."}
    ),
    "fetched": EventMeaning(
        "A query was asked, or files of an object store were looked at, and the snapshot is up to date.",
        {
            "what": "The query's file, its job, or the URL.",
            "sha256": "Of the snapshot's content.",
            "rows": "Of a query; null for files.",
            "files": "How many.",
            "size_bytes": "Of the snapshot.",
            "fetched_at": "When.",
            "changed": "Whether the rows are others than before.",
            "asked": "False where `max_age` made it unnecessary.",
        },
    ),
    "job_planned": EventMeaning(
        "It is decided what is sent.",
        {
            "rows": "Rows of the input.",
            "distinct_requests": "Different requests among them.",
            "requests_to_send": "Requests that will be sent.",
            "actions": "Decision -> rows: submit, reuse, wait, failed, blocked.",
            "reasons": "Why rows are submitted -> rows.",
            "estimated_usd": "What they are expected to cost; null where no price is known.",
        },
    ),
    "job_failed": EventMeaning("A job cannot go on; those that do not need it do.", {"code": "The error's code."}),
    "job_skipped": EventMeaning(
        "A job does not begin: something that it needs has failed, or is in flight.", {"because": "Why, in words."}
    ),
    "batch_submitted": EventMeaning(
        "The API has accepted a batch.", {**_BATCH_ID, "requests": "How many it holds.", "size_bytes": "Its size."}
    ),
    "batch_progress": EventMeaning(
        "The API was asked about a batch.",
        {
            **_BATCH_ID,
            "status": "in_progress, canceling or ended.",
            "processing": "Requests without a result.",
            "succeeded": "Requests by what became of them, as the API counts.",
            "errored": "Likewise.",
            "canceled": "Likewise.",
            "expired": "Likewise.",
        },
    ),
    "results_stored": EventMeaning(
        "Results of a batch are in the state, safe from any crash.",
        {**_BATCH_ID, "stored": "Results of this batch stored so far.", **_STORED},
    ),
    "answers_removed": EventMeaning(
        "Answers that serve no row any more were removed, as they were older than the target's `retention_days`.",
        {"answers": "How many."},
    ),
    "answers_stored": EventMeaning(
        "Answers that came one by one (mode sync) are in the state. All numbers are totals of the job so far.",
        {
            "stored": "Answers stored.",
            "requests": "How many are asked for.",
            "cost_usd": "What they cost.",
            "input_tokens": "Tokens of their prompts, cached ones included.",
            "output_tokens": "Tokens of their answers.",
        },
    ),
    "file_uploaded": EventMeaning(
        "A document was uploaded, because it is large or several requests share it.",
        {"file_id": "The API's.", "path": "The file."},
    ),
    "attempt_moved": EventMeaning(
        "An attempt to send requests has entered another state.",
        {
            "attempt_id": "Its number in the state.",
            "state": "intended, sending, known, ended, closed…",
        },
    ),
    "waiting": EventMeaning("Something has to be waited for.", {"seconds": "How long, where it is known."}),
    "output_written": EventMeaning(
        "An output was replaced.", {"path": "The file.", "because": "Empty.", "moved": "Not there."}
    ),
    "output_held_back": EventMeaning(
        "An output was not replaced.",
        {"path": "Where the rows are.", "because": "Why.", "moved": "Rows that have changed since they were sent."},
    ),
    "stopped": EventMeaning(
        "Interrupted before everything was asked (mode sync).",
        {"stored": "Answers stored.", "left": "Not asked.", "under_way": "Asked, their answers lost."},
    ),
    "warning": EventMeaning(
        "Something will disappoint, or is not as it should be.",
        {
            "code": "For `batchforge explain`.",
            **_BATCH_ID,
            "custom_ids": "A few examples.",
        },
    ),
    "problem": EventMeaning(
        "Why the command ended without doing its work.",
        {
            "code": "For `batchforge explain`.",
            "location": "File, line, column.",
            "hint": "What to do.",
        },
    ),
    "interrupted": EventMeaning("Ctrl-C or a signal: what is in flight, and which command goes on."),
    "run_ended": EventMeaning(
        "A run has ended.",
        {
            "run_id": "The run's id.",
            "status": "ok, failed or pending.",
            "exit_code": "0, 1 or 3.",
            "cost_usd": "Cost.",
        },
    ),
    "profiled": EventMeaning(
        "With --profile, at the end: where time and memory went.",
        {
            "stages": "Stage -> its wall_s, cpu_s, peak_growth_mb and times, without the stages inside it.",
            "peak_mb": "The peak of the process.",
        },
    ),
}
"""All events of --log-format json. Names and fields are stable: new ones may come, none is renamed."""


class JsonLog:
    """A listener that writes each event as a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, event: Event) -> None:
        write_line(self.stream, event.name.value, event.message, event.data, event.job)

    def close(self) -> None:
        """Nothing is left to be done."""


def write_line(
    stream: TextIO, name: str, message: str, data: Mapping[str, object] | None = None, job: str = ""
) -> None:
    value = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name}
    if job:
        value["job"] = job
    line = json.dumps({**value, "message": message, **(data or {})}, ensure_ascii=False, default=str)
    stream.write(line + "\n")
    stream.flush()


def write_problem(stream: TextIO, problem: Problem) -> None:
    place = str(problem.location) if problem.location else None
    write_line(stream, "problem", problem.message, {"code": problem.code, "location": place, "hint": problem.hint})
