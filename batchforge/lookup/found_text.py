"""What people look up -> lines for a terminal of any width, and values for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from batchforge.lookup.finding import AnswerView, Found, FoundRow, PastAnswer, RowView, RunFacts, RunView
from batchforge.state.records import TRIED, AttemptRecord, BatchRecord
from batchforge.state.run_status import status_words
from batchforge.terminal.report import counted
from batchforge.terminal.terminal_text import printable
from batchforge.terminal.text_layout import joined, shortened, wrapped
from batchforge.usd import paid_words, pico, usd_words

_INDENT = "  "


def row_json(view: RowView) -> dict[str, Any]:
    value = asdict(view)
    if view.request is None:
        del value["request"]
    return value


def row_lines(view: RowView, columns: int) -> Iterator[str]:
    """All of one row: what it is, what was asked, what came back."""
    yield from _heading(view, columns)
    yield from _row_facts(view, columns)
    yield "\n[row]"
    yield from _values(view.row, columns)
    if view.request is not None:
        yield from _request_lines(view.request, columns)
    else:
        yield "\n[request]"
        yield _INDENT + _why_no_request(view)
    yield "\n[answer]"
    yield from _answer_lines(view, columns)


def _why_no_request(view: RowView) -> str:
    if view.custom_id is None:
        return "cannot be asked"
    return "not kept: the answer was recovered from the API" if view.answer else "not sent yet"


def rows_lines(views: Sequence[RowView], columns: int) -> Iterator[str]:
    """A few lines for each of some rows."""
    for view in views:
        yield from _heading(view, columns)
        facts = [view.status, *(_money(view.answer) if view.answer else ())]
        yield from joined(facts, columns, _INDENT)
        if view.error:
            yield from wrapped(view.error, columns, _INDENT)
        for name, value in view.row.items():
            yield _INDENT + shortened(f"{name}: {_plain(value)}", columns - 2)
        for name, value in view.fields.items():
            yield _INDENT + shortened(f"→ {name}: {_plain(value)}", columns - 2)
        if view.answer and not view.fields and view.answer.text:
            yield _INDENT + shortened(f"→ {view.answer.text}", columns - 2)
        yield ""


def _heading(view: RowView, columns: int) -> Iterator[str]:
    scope = "only tried" if view.scope == TRIED else f"only {view.scope}" if view.scope else ""
    yield from joined([f"── {view.key}", view.place, view.job, scope], columns)


def _row_facts(view: RowView, columns: int) -> Iterator[str]:
    answer = view.answer
    yield from joined([view.status, *(_money(answer) if answer else ())], columns)
    if view.error:
        yield from wrapped(view.error, columns)
    if view.custom_id:
        yield view.custom_id
    if answer:
        yield from joined(_whence(answer), columns)
        yield from joined(_run_words(answer.run), columns)
    else:
        yield from joined(_run_words(view.run), columns)


def _money(answer: AnswerView) -> list[str]:
    usage = answer.usage
    cached = f"{usage.cache_read_tokens:,} from cache" if usage.cache_read_tokens else ""
    cost = "price not known" if answer.cost_usd is None else usd_words(pico(answer.cost_usd), decimals=6)
    return [answer.model or "", f"{usage.prompt_tokens:,} tokens in, {usage.output_tokens:,} out", cached, cost]


def _whence(answer: AnswerView) -> list[str]:
    how = f"batch {answer.batch_id}" if answer.batch_id else answer.mode
    message = f"message {answer.message_id}" if answer.message_id else ""
    asked = f"request {answer.api_request_id}" if answer.api_request_id else ""
    return [how, message, asked, f"attempt {answer.attempt_id}", f"stored {_minute(answer.stored_at)}"]


def _run_words(run: RunView) -> list[str]:
    commit = f"commit {run.commit}" if run.commit else ""
    return [f"run {run.run_id}", run.command and f"`{run.command}`", commit, run.started_by]


def _minute(time: str) -> str:
    return time[:19].replace("T", " ")


def _values(values: Mapping[str, Any], columns: int) -> Iterator[str]:
    for name, value in values.items():
        text = _plain(value)
        if "\n" in text:
            yield from wrapped(f"{name}:", columns, _INDENT)
            yield from wrapped(text, columns, _INDENT * 2)
        else:
            yield from wrapped(f"{name}: {text}", columns, _INDENT)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _request_lines(params: Mapping[str, Any], columns: int) -> Iterator[str]:
    yield "\n[request]"
    yield from _values({name: v for name, v in params.items() if name not in {"system", "messages"}}, columns)
    if "system" in params:
        yield from _blocks("system", params["system"], columns)
    for message in params["messages"]:
        yield from _blocks(message["role"], message["content"], columns)


def _blocks(role: str, blocks: Any, columns: int) -> Iterator[str]:
    """Texts as they stand, other blocks as JSON."""
    yield f"\n[{printable(role)}]"
    for block in blocks:
        yield from wrapped(block["text"] if block.get("type") == "text" else _plain(block), columns, _INDENT)


def _answer_lines(view: RowView, columns: int) -> Iterator[str]:
    if view.fields:
        yield from _values(view.fields, columns)
    elif view.answer is None or not view.answer.text:
        yield _INDENT + "none"
    else:
        yield from wrapped(view.answer.text, columns, _INDENT)


# --- history --------------------------------------------------------------------------------------------------------


def history_lines(past: Sequence[PastAnswer], columns: int) -> Iterator[str]:
    for entry in past:
        answer = entry.answer
        when = _minute(answer.stored_at) if answer else _minute(entry.first_run.started_at)
        yield from joined([f"── {when}", entry.status, *(_money(answer) if answer else ())], columns)
        yield from joined([entry.custom_id, f"answer {entry.ordinal + 1}" if entry.ordinal else ""], columns, _INDENT)
        if answer:
            prompt = f"prompt {answer.prompt_hash[:12]}" if answer.prompt_hash else ""
            yield from joined([prompt, *_whence(answer)[:3]], columns, _INDENT)
            yield from joined(_run_words(answer.run), columns, _INDENT)
            if answer.run.run_id != entry.first_run.run_id:
                yield from joined([f"used since run {entry.first_run.run_id}"], columns, _INDENT)
            if answer.error or answer.text:
                yield _INDENT + shortened(f"→ {answer.error or answer.text}", columns - 2)
        else:
            yield from joined(_run_words(entry.first_run), columns, _INDENT)
        yield ""


# --- ids ------------------------------------------------------------------------------------------------------------


def found_json(found: Found) -> dict[str, Any]:
    return asdict(found)


def found_lines(found: Found, columns: int) -> Iterator[str]:
    yield from joined([f"{found.kind} {found.found_id}", found.status], columns)
    for row in found.rows:
        yield from _found_row_lines(row, columns)
    if found.has_more_rows:
        yield f"{_INDENT}and more rows; --limit shows them"
    if found.kind == "request" and not found.rows:
        yield f"{_INDENT}no row has it, or ever had"
    for answer in found.answers:
        yield from joined(["", answer.status, *_money(answer)], columns)
        yield from joined(_whence(answer), columns, _INDENT)
        yield from joined(_run_words(answer.run), columns, _INDENT)
        if answer.error or answer.text:
            yield _INDENT + shortened(f"→ {answer.error or answer.text}", columns - 2)
    if not found.answers:
        by_id = {batch.batch_id: batch for batch in found.batches}
        for attempt in found.attempts:
            yield from attempt_lines(attempt, by_id.get(attempt.batch_id or ""), columns)
    if found.run is not None:
        yield from run_lines(found.run, columns)


def _found_row_lines(row: FoundRow, columns: int) -> Iterator[str]:
    place = row.place or "another request by now, or no row any more"
    yield from joined([f"{row.job}: {row.key}", place, f"target {row.target}"], columns, _INDENT)


def attempt_lines(attempt: AttemptRecord, batch: BatchRecord | None, columns: int) -> Iterator[str]:
    name = attempt.batch_id or f"attempt {attempt.attempt_id}"
    yield from joined(
        [
            f"{attempt.job}: {name}",
            counted(attempt.request_count, "request"),
            attempt.state.value,
            _batch_words(batch) if batch else "",
            f"created {_minute(attempt.created_at)}",
            attempt.note,
        ],
        columns,
        _INDENT,
    )


def _batch_words(batch: BatchRecord) -> str:
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return ", ".join(f"{count:,} {name}" for name in names if (count := getattr(batch, name)))


# --- runs -----------------------------------------------------------------------------------------------------------


def run_lines(facts: RunFacts, columns: int) -> Iterator[str]:
    """Two lines for a run in a list."""
    run, cost = facts.run, facts.cost_usd
    yield from joined(
        [
            run.run_id,
            run.command,
            status_words(run.status),
            f"{facts.requests_sent:,} sent",
            paid_words(pico(cost)) if cost is not None else "",
        ],
        columns,
    )
    commit = f"commit {run.commit}" if run.commit else ""
    jobs = shortened(", ".join(run.jobs) or "no jobs", max(20, columns - 40))
    yield from joined([jobs, f"target {run.target}", commit, run.started_by], columns, _INDENT)


def run_head_lines(facts: RunFacts, columns: int) -> Iterator[str]:
    """A run alone: its facts, then for each job what its summary says."""
    run = facts.run
    yield from run_lines(facts, columns)
    ended = f"ended {_minute(run.ended_at)}" if run.ended_at else "not ended"
    yield from joined([f"started {_minute(run.started_at)}", ended], columns, _INDENT)
    for job in run.summary.get("jobs", ()):
        yield from _job_lines(job, columns)


def _job_lines(job: Mapping[str, Any], columns: int) -> Iterator[str]:
    actions = ", ".join(f"{count:,} {name}" for name, count in (job.get("actions") or {}).items())
    yield from joined([f"\n{job['job']}", f"{job.get('rows', 0):,} rows", actions], columns)
    output = job.get("output") or {}
    statuses = ", ".join(f"{count:,} {name}" for name, count in (output.get("statuses") or {}).items())
    sent = f"{job.get('requests_sent', 0):,} sent"
    results = f"{job.get('results', 0):,} results for {paid_words(pico(job.get('cost_usd') or 0))}"
    yield from joined([sent, results, statuses], columns, _INDENT)
    if output:
        word = "wrote" if output.get("is_published") else "held back"
        yield from joined([f"{word} {output.get('path')}", output.get("held_back_because", "")], columns, _INDENT)
    if job.get("problem"):
        yield from wrapped(f"problem: {job['problem']}", columns, _INDENT)
