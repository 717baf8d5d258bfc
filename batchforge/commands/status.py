"""`batchforge status`: what is in flight, as state knows it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import output_option, project_options, selection_options, target_option
from batchforge.commands.running import choose

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted
    from batchforge.state.records import AttemptRecord, BatchRecord
    from batchforge.summaries import AttemptInFlight, StatusSummary
    from batchforge.target import Target


@click.command(name="status")
@selection_options
@target_option
@project_options
@output_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Show what is in flight, what is uncertain and what will settle it, and how the last run ended.

    Asks nobody; `batchforge collect` asks the API.
    """
    from batchforge import pipeline
    from batchforge.terminal.report import to_json
    from batchforge.terminal.terminal_text import printable
    from batchforge.terminal.text_layout import terminal_columns, wrapped

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    status = pipeline.status(chosen.project, chosen.jobs, chosen.target)
    if output == "json":
        click.echo(to_json(_json(status, chosen.target)))
    else:
        columns = terminal_columns() if sys.stdout.isatty() else None
        for line in _lines(status, chosen.target):
            click.echo("\n".join(wrapped(line, columns)) if columns else printable(line))
    click.get_current_context().exit(status.exit_code)


def _json(status: StatusSummary, target: Target) -> dict[str, Any]:
    from batchforge.execution.settlement import settlement_of

    value = status.to_json()
    for entry, each in zip(value["in_flight"], status.in_flight, strict=True):
        settlement = settlement_of(each.attempt, target) if each.is_unsettled else None
        entry["settled_by"] = settlement.by if settlement else None
        entry["settled_at"] = settlement.at if settlement else None
    return value


def _lines(status: StatusSummary, target: Target) -> list[str]:
    from batchforge.state.run_status import status_words

    lines, last = [], status.last_run
    if last:
        ended = f", ended {_second(last.ended_at)}" if last.ended_at else ""
        started = _second(last.started_at)
        state = status_words(last.status)
        lines.append(f"last run {last.run_id} ({last.command}): {state}, started {started}{ended}")
    for each in status.in_flight:
        lines += _attempt_lines(each, target)
    if status.ahead.expected_at:
        lines.append(f"Expected by {_second(status.ahead.expected_at)}, as earlier batches took.")
    return [*lines, "" if status.in_flight else "Nothing is in flight."]


def _second(time: str) -> str:
    return f"{time[:19]}Z"


def _attempt_lines(each: AttemptInFlight, target: Target) -> list[str]:
    from batchforge.clock import SystemClock
    from batchforge.execution.settlement import settlement_of, unfetched_words

    attempt, batch = each.attempt, each.batch
    name = attempt.batch_id or f"attempt {attempt.attempt_id}"
    lines = [f"{attempt.job}: {name}, {attempt.request_count:,} requests, {_words(attempt, batch)}"]
    if each.is_unsettled:
        lines.append(f"  settled by: {settlement_of(attempt, target).by}")
    if batch is not None and (warning := unfetched_words(batch, attempt.job, SystemClock().now())):
        lines.append(f"  warning: {warning}")
    return lines


def _words(attempt: AttemptRecord, batch: BatchRecord | None) -> str:
    if batch is not None:
        done = attempt.request_count - batch.processing
        return f"{batch.status}, {done:,} done when last asked; expires {_second(batch.expires_at)}"
    if attempt.mode == "sync":
        since = _second(attempt.sent_at or attempt.created_at)
        return f"asked one by one by {attempt.holder.rsplit(':', 1)[0]}, since {since}"
    since = f", sent {_second(attempt.sent_at)}" if attempt.sent_at else ""
    return f"{attempt.state}{since}{f' ({attempt.note})' if attempt.note else ''}"
