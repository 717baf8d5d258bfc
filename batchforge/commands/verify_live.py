"""`batchforge verify-live`: try what BatchForge takes for true of the API against the API itself, for cents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import load_files, output_option, project_options, target_option

if TYPE_CHECKING:
    from batchforge.live_facts import FactReport
    from batchforge.target import Target


@click.command(name="verify-live")
@target_option
@project_options
@output_option
@click.option(
    "--max-cost",
    "max_cost_usd",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="USD",
    help="Refuse to begin if it can cost more.",
)
def command(
    target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str, max_cost_usd: float
) -> None:
    """Try the facts that BatchForge rests on against the target's API, and print what was expected and seen.

    Sends a few tiny requests and batches; takes as long as small batches take. Ends with 1 where a fact does not hold.
    """
    from batchforge import live_facts
    from batchforge.emulator import EmulatorServer, Scenario
    from batchforge.errors import BudgetExceeded
    from batchforge.terminal.report import to_json
    from batchforge.usd import limit_words, pico, usd_words

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    if live_facts.ceiling() > max_cost_usd:
        most = usd_words(pico(live_facts.ceiling()))
        message = f"the check can cost {most}, over --max-cost {limit_words(max_cost_usd)}"
        raise BudgetExceeded("BF802", message, hint="Raise --max-cost. Nothing was sent.")
    target = project.target(target_name)
    server = _server(target)
    with EmulatorServer(api_keys=frozenset({"emulated"}), scenario=Scenario(processing_time_s=0.5)) as emulator:
        ours = live_facts.check_facts(live_facts.Server(emulator.base_url, "emulated", looks_for_s=5))
    live = live_facts.check_facts(server, tell=lambda text: click.echo(f"trying {text}", err=True))
    reports = live_facts.compare(live, ours)
    if output == "json":
        values = [asdict(report) | {"holds": report.holds, "is_alike": report.is_alike} for report in reports]
        click.echo(to_json({"target": target.name, "facts": values}))
    else:
        click.echo("\n".join(_lines(reports)))
    click.get_current_context().exit(0 if all(report.holds for report in reports) else 1)


def _server(target: Target) -> Any:
    from batchforge.errors import UsageError
    from batchforge.live_facts import Server

    if target.type == "emulator":
        hint = "Choose one of type claude with --target. Its key is used, for cents."
        raise UsageError("BF914", f"target `{target.name}` is an emulator, not an API to be tried.", hint=hint)
    return Server(target.base_url(), target.api_key())


def _lines(reports: Sequence[FactReport]) -> list[str]:
    from batchforge.terminal.terminal_text import printable

    lines = []
    for report in reports:
        mark = "ok " if report.holds else "NO "
        seen = (
            report.seen
            if report.expected in {report.seen, "(measured)"}
            else f"{report.seen}, expected {report.expected}"
        )
        alike = "" if report.is_alike else f"  [the emulator: {report.emulator or 'nothing'}]"
        lines.append(printable(f"{mark} {report.name}: {seen}{alike}"))
    failed = sum(not report.holds for report in reports)
    return [*lines, "", f"{len(reports)} facts tried, {failed} do not hold."]
