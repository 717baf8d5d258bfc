"""`batchforge models`: the Claude models that are known, their limits and prices."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import output_option

if TYPE_CHECKING:
    from batchforge.claude_models import ModelInfo, PriceTable, PriceTier


@click.command(name="models")
@output_option
def command(output: str) -> None:
    """List Claude models, their limits and prices."""
    from batchforge.claude_models import all_models, price_table

    models, prices, today = all_models(), price_table(), date.today()
    if output == "json":
        click.echo(json.dumps(to_json(models, prices, today), indent=2))
    elif sys.stdout.isatty():
        _show_table(models, prices, today)
    else:
        click.echo("\n".join(["\t".join(COLUMNS), *("\t".join(row) for row in rows(models, today))]))
        click.echo(f"\n{prices_note(prices, today)}")


COLUMNS = ("model", "status", "context", "max answer", "cache from", "input", "output", "write 5m", "write 1h", "read")


def rows(models: Sequence[ModelInfo], today: date) -> list[tuple[str, ...]]:
    """One row for each price tier of each model, in the order of COLUMNS."""
    return [row for model in models for row in _rows_of(model, today)]


def _rows_of(model: ModelInfo, today: date) -> list[tuple[str, ...]]:
    facts = (
        model.id,
        _status(model, today),
        _count(model.context_window_tokens),
        _count(model.max_output_tokens),
        _count(model.min_cacheable_tokens),
    )
    if model.prices is None:
        return [(*facts, *["-"] * 5)]
    first, *others = model.prices.tiers
    above = [
        (f"  prompts over {_count(lower.prompt_tokens_max)}", "", "", "", "", *_prices(tier))
        for lower, tier in zip(model.prices.tiers, others, strict=False)
    ]
    return [(*facts, *_prices(first, doubtful=not model.prices.verified)), *above]


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
    return tuple(_usd(amount) + ("?" if doubtful else "") for amount in amounts)


def _usd(amount: Decimal) -> str:
    """At least cents: 2.50, 0.125."""
    text = f"{amount.normalize():f}"
    return text if len(text.partition(".")[2]) > 2 else f"{amount:.2f}"


def prices_note(prices: PriceTable, today: date) -> str:
    age_days = prices.age_days(today)
    age = "today" if age_days == 0 else f"{age_days} days ago"
    return (
        f"USD per million tokens at the standard price, as of {prices.as_of.isoformat()} ({age}); batches cost half. "
        "?: not verified."
    )


def to_json(models: Sequence[ModelInfo], prices: PriceTable, today: date) -> dict[str, Any]:
    from dataclasses import asdict

    listed = [{**asdict(model), "status": model.status_on(today)} for model in models]
    value = {"as_of": prices.as_of, "age_days": prices.age_days(today), "source": prices.source, "models": listed}
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_plain))
    return plain


def _plain(value: Decimal | date) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value.normalize():f}"


def _show_table(models: Sequence[ModelInfo], prices: PriceTable, today: date) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, caption=prices_note(prices, today), caption_justify="left")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number == 0)
    for row in rows(models, today):
        table.add_row(*row, style="dim" if row[1].startswith("retired") else None)
    Console().print(table)
