"""`batchforge render`: requests as a person reads them, or as they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import defer_options, output_option, project_options, target_option
from batchforge.commands.running import choose_enabled_job, deferral_of

if TYPE_CHECKING:
    from batchforge.requests.compiler import CompiledJob
    from batchforge.requests.request import BlockedRow, MessageRequest


@click.command(name="render")
@click.argument("job_name", metavar="JOB")
@click.option("--key", metavar="KEY", help="Only the row with this key.")
@click.option("--limit", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How many rows.")
@target_option
@project_options
@output_option
@defer_options
def command(
    job_name: str,
    key: str | None,
    limit: int,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    defer: bool,
    state: str | None,
) -> None:
    """Print a job's requests; with --output json, as they are sent, one a line."""
    from batchforge import pipeline
    from batchforge.errors import UsageError
    from batchforge.requests.artifacts import request_lines
    from batchforge.requests.request import BlockedRow
    from batchforge.running.run_options import RunOptions

    chosen = choose_enabled_job(job_name, project_dir, cli_vars, target_name)
    options = RunOptions(allow_unknown_model=True, deferral=deferral_of(chosen, state, is_wanted=defer))
    shown = 0
    with pipeline.compiled_offline(chosen.project, chosen.jobs, chosen.target, options) as offline:
        job = offline.jobs[0]
        rows = (pair for pair in request_lines(job) if key is None or pair[0].key == key)
        for row, line in islice(rows, limit):
            shown += 1
            if output == "json":
                click.echo(line.decode(), nl=False)
            elif isinstance(row, BlockedRow):
                click.echo("\n".join(_blocked_lines(row)))
            else:
                click.echo("\n".join(_lines(job, row)))
    if key is not None and not shown:
        raise UsageError("BF907", f"{job_name} has no row with the key `{key}`.", hint="Keys are shown by `render`.")


def _blocked_lines(row: BlockedRow) -> Iterator[str]:
    from batchforge.terminal.terminal_text import printable

    yield f"── {printable(row.key)} · {printable(row.place)}"
    yield f"{row.code} {printable(row.reason)}; this row is not asked"


def _lines(job: CompiledJob, row: MessageRequest) -> Iterator[str]:
    from batchforge.requests.fingerprint import custom_id
    from batchforge.terminal.terminal_text import printable

    params = job.params_of(row)
    yield f"── {printable(row.key)} · {printable(row.place)}"
    yield custom_id(row.request_id)
    yield from _settings(params)
    if "system" in params:
        yield from _blocks("system", params["system"])
    for message in params["messages"]:
        yield from _blocks(message["role"], message["content"])
    yield ""


def _settings(params: Mapping[str, Any]) -> Iterator[str]:
    import json

    for name, value in params.items():
        if name not in {"system", "messages"}:
            yield f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _blocks(role: str, blocks: list[Mapping[str, Any]]) -> Iterator[str]:
    """Text as it stands; other blocks as JSON."""
    import json

    from batchforge.terminal.terminal_text import printable

    yield f"\n[{role}]"
    for block in blocks:
        text = block["text"] if block.get("type") == "text" else json.dumps(block, ensure_ascii=False)
        yield from (printable(line) for line in text.split("\n"))
