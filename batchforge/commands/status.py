"""`batchforge status`: what is in flight, as state knows it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import output_option, project_options, selection_options, target_option
from batchforge.commands.running import choose, jobs_argument

if TYPE_CHECKING:
    from batchforge.state.records import AttemptRecord, BatchRecord, RunRecord, StateReader


@click.command(name="status")
@jobs_argument
@selection_options
@target_option
@project_options
@output_option
def command(
    job_names: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Show what is in flight and how the last run ended. Asks nobody; `batchforge collect` asks the API."""
    from batchforge.report import printable_lines, to_json
    from batchforge.targets import read_state

    chosen = choose(job_names, select, exclude, project_dir, cli_vars, target_name)
    names = [job.name for job in chosen.jobs]
    with read_state(chosen.project, chosen.target) as state:
        attempts = _attempts(state, names) if state else []
        last = state.runs(1)[0] if state and state.runs(1) else None
    if output == "json":
        value = {
            "target": chosen.target.name,
            "in_flight": [asdict(attempt) | {"batch": asdict(batch) if batch else None} for attempt, batch in attempts],
            "last_run": asdict(last) if last else None,
        }
        click.echo(to_json(value))
    else:
        click.echo(printable_lines(_lines(attempts, last)))
    click.get_current_context().exit(3 if attempts else 0)


def _attempts(state: StateReader, names: list[str]) -> list[tuple[AttemptRecord, BatchRecord | None]]:
    return [(a, state.batch(a.batch_id) if a.batch_id else None) for a in state.open_attempts(names)]


def _lines(attempts: list[tuple[AttemptRecord, BatchRecord | None]], last: RunRecord | None) -> list[str]:
    lines = []
    if last:
        ended = f", ended {last.ended_at}" if last.ended_at else ""
        lines.append(f"last run {last.run_id} ({last.command}): {last.status}, started {last.started_at}{ended}")
    for attempt, batch in attempts:
        name = attempt.batch_id or f"attempt {attempt.attempt_id}"
        lines.append(f"{attempt.job}: {name}, {attempt.request_count:,} requests, {_words(attempt, batch)}")
    return [*lines, "" if attempts else "Nothing is in flight."]


def _words(attempt: AttemptRecord, batch: BatchRecord | None) -> str:
    if batch is not None:
        done = attempt.request_count - batch.processing
        return f"{batch.status}, {done:,} done when last asked; expires {batch.expires_at}"
    if attempt.mode == "sync":
        return f"asked one by one by {attempt.holder.rsplit(':', 1)[0]}, since {attempt.sent_at or attempt.created_at}"
    note = f" ({attempt.note})" if attempt.note else ""
    return f"{attempt.state}{note}; `batchforge collect` settles it"
