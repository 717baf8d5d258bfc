"""`batchforge models`: the Claude models that are known, their limits and prices, and whether that is still true."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import output_option, project_dir_option, target_option
from batchforge.usd import at_least_cents

if TYPE_CHECKING:
    from batchforge.claude_models import ModelInfo, ModelPrices, PriceTable, PriceTier
    from batchforge.model_check import ModelFinding
    from batchforge.project import Project
    from batchforge.target import Target


@click.command(name="models")
@click.option("--check", "is_check", is_flag=True, help="Compare with what the target's API lists; costs nothing.")
@target_option
@project_dir_option
@output_option
def command(is_check: bool, target_name: str | None, project_dir: Path | None, output: str) -> None:
    """List Claude models, their limits and prices.

    Within a project its own `prices:` are shown. --check exits with 1 where the table and the API differ. Outside of a
    project it asks api.anthropic.com with the key in ANTHROPIC_API_KEY.
    """
    from batchforge.claude_models import all_models, price_table

    project, target = _place(project_dir, target_name)
    today = date.today()
    if is_check:
        _check(project, target, today, output)
        return
    models, prices = all_models(), project.price_table(target) if project else price_table()
    if output == "json":
        click.echo(json.dumps(to_json(models, prices, today), indent=2))
    elif sys.stdout.isatty():
        _show_table(models, prices, today)
    else:
        click.echo("\n".join(["\t".join(COLUMNS), *("\t".join(row) for row in rows(models, prices, today))]))
        click.echo(f"\n{prices_note(prices, today)}")


def _place(project_dir: Path | None, target_name: str | None) -> tuple[Project | None, Target]:
    """The project that we are in, if any, and whose models are meant."""
    from batchforge.commands.options import project_root
    from batchforge.errors import BatchForgeError, ProblemList
    from batchforge.project import load_project
    from batchforge.target import Target

    try:
        root = project_root(project_dir)
    except BatchForgeError:
        if project_dir or target_name:
            raise
        return None, Target("api", "claude", {})
    problems = ProblemList()
    project = load_project(root, problems=problems)
    problems.raise_if_any()
    return project, project.target(target_name)


# ---- checking


def _check(project: Project | None, target: Target, today: date, output: str) -> None:
    from batchforge.claude_models import all_models, price_table
    from batchforge.model_check import check_models
    from batchforge.targets import live_models

    live = live_models(project, target)
    findings = check_models(all_models(), live, today)
    is_equal = all(finding.kind == "note" for finding in findings)
    place = target.name if project else "api.anthropic.com"
    if output == "json":
        from dataclasses import asdict

        as_of = price_table().as_of.isoformat()
        listed = {"target": place, "as_of": as_of, "listed": len(live), "is_equal": is_equal}
        click.echo(json.dumps({**listed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _show_findings(findings, len(live), place, is_equal)
    click.get_current_context().exit(0 if is_equal else 1)


def _show_findings(findings: Sequence[ModelFinding], listed: int, place: str, is_equal: bool) -> None:
    from batchforge.terminal.report import printable_lines

    lines = [f"{finding.kind}: {finding.model}: {finding.what}" for finding in findings]
    verdict = "the table of this version agrees with it" if is_equal else "the table of this version differs from it"
    hint = [] if is_equal else ["A newer version may know: pip install -U batchforge. Prices are not in the list."]
    click.echo(printable_lines([*lines, f"{place} lists {listed:,} models; {verdict}.", *hint]))


# ---- listing

COLUMNS = ("model", "status", "context", "max answer", "cache from", "input", "output", "write 5m", "write 1h", "read")


def rows(models: Sequence[ModelInfo], prices: PriceTable, today: date) -> list[tuple[str, ...]]:
    """One row for each price tier of each model, in the order of COLUMNS; then the models that only the project has."""
    known = [row for model in models for row in _rows_of(model, prices.prices_of(model.id), today)]
    added = [(name, "in this project", "-", "-", "-", *_prices(own.tiers[0])) for name, own in _added(models, prices)]
    return [*known, *added]


def _added(models: Sequence[ModelInfo], prices: PriceTable) -> list[tuple[str, ModelPrices]]:
    known = {name for model in models for name in (model.id, *model.aliases)}
    return [(name, own) for name, own in prices.overrides.items() if name not in known]


def _rows_of(model: ModelInfo, prices: ModelPrices | None, today: date) -> list[tuple[str, ...]]:
    facts = (
        model.id,
        _status(model, today),
        _count(model.context_window_tokens),
        _count(model.max_output_tokens),
        _count(model.min_cacheable_tokens),
    )
    if prices is None:
        return [(*facts, *["-"] * 5)]
    first, *others = prices.tiers
    above = [
        (f"  prompts over {_count(lower.prompt_tokens_max)}", "", "", "", "", *_prices(tier))
        for lower, tier in zip(prices.tiers, others, strict=False)
    ]
    return [(*facts, *_prices(first, doubtful=not prices.verified)), *above]


def _status(model: ModelInfo, today: date) -> str:
    status: str = model.status_on(today)
    if model.retires_on is not None:
        status += (
            f" {model.retires_on.isoformat()}" if status == "retired" else f", ends {model.retires_on.isoformat()}"
        )
    return f"{status}, limited access" if model.access == "limited" else status


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else f"{tokens:,}"


def _prices(tier: PriceTier, *, doubtful: bool = False) -> tuple[str, ...]:
    amounts = (tier.input, tier.output, tier.cache_write_5m, tier.cache_write_1h, tier.cache_read)
    return tuple(at_least_cents(amount) + ("?" if doubtful else "") for amount in amounts)


def prices_note(prices: PriceTable, today: date) -> str:
    age_days = prices.age_days(today)
    age = "today" if age_days == 0 else f"{age_days} days ago"
    own = f" The project's own: {', '.join(prices.overrides)}." if prices.overrides else ""
    return (
        f"USD per million tokens at the standard price, as of {prices.as_of.isoformat()} ({age}); batches cost half. "
        f"?: not verified.{own}"
    )


def to_json(models: Sequence[ModelInfo], prices: PriceTable, today: date) -> dict[str, Any]:
    from dataclasses import asdict

    listed = [
        {**asdict(model), "status": model.status_on(today), "prices": _prices_json(prices.prices_of(model.id))}
        for model in models
    ]
    value = {
        "as_of": prices.as_of,
        "age_days": prices.age_days(today),
        "source": prices.source,
        "models": listed,
        "added_by_project": {name: _prices_json(own) for name, own in _added(models, prices)},
    }
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_plain))
    return plain


def _prices_json(prices: ModelPrices | None) -> dict[str, Any] | None:
    from dataclasses import asdict

    return None if prices is None else asdict(prices)


def _plain(value: Decimal | date) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value.normalize():f}"


def _show_table(models: Sequence[ModelInfo], prices: PriceTable, today: date) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, caption=prices_note(prices, today), caption_justify="left")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number == 0)
    for row in rows(models, prices, today):
        table.add_row(*row, style="dim" if row[1].startswith("retired") else None)
    Console().print(table)
