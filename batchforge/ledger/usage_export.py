"""A usage export of the vendor (CSV) -> tokens and costs by day, model and way of sending.

The Console writes two files: one of tokens, with a column for each kind, and one of costs, with a line for each kind.
Columns are found by name, in any order; those that are not known are passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from batchforge.claude_models import find_model
from batchforge.errors import Location, UsageError

DAY_COLUMNS = ("usage_date_utc", "usage_date", "date", "day", "starting_at")
MODEL_COLUMNS = ("model_version", "model", "model_id")
MODE_COLUMNS = ("usage_type", "service_tier")
COST_COLUMNS = ("cost_usd", "cost", "total_cost_usd", "amount_usd")
TOKEN_COLUMNS: Mapping[str, Sequence[str]] = {
    "input": ("usage_input_tokens_no_cache", "uncached_input_tokens", "input_tokens", "input"),
    "cache_write_5m": (
        "usage_input_tokens_cache_write_5m",
        "cache_write_5m_tokens",
        "ephemeral_5m_input_tokens",
        "cache_write_5m",
    ),
    "cache_write_1h": (
        "usage_input_tokens_cache_write_1h",
        "cache_write_1h_tokens",
        "ephemeral_1h_input_tokens",
        "cache_write_1h",
    ),
    "cache_read": ("usage_input_tokens_cache_read", "cache_read_input_tokens", "cache_read_tokens", "cache_read"),
    "output": ("usage_output_tokens", "output_tokens", "output"),
    "web_searches": ("web_search_count", "web_searches"),
    "cache_write": ("usage_input_tokens_cache_write", "cache_creation_input_tokens", "cache_write_tokens"),
}
"""`cache_write` holds writes of both lives, in a file that does not tell them apart."""
_HINT = "Export usage or cost as CSV from the Console; docs/cost.md lists the columns that are read."


@dataclass(frozen=True, slots=True)
class ExportLine:
    day: str
    model: str
    """By its id, where the model is known."""
    mode: str
    """batch or sync; empty where the file does not tell."""
    tokens: Mapping[str, int]
    """By kind; only the kinds that the file has a column for."""
    cost_usd: Decimal | None
    """None where the file has no column for it."""


@dataclass(frozen=True, slots=True)
class _Columns:
    day: str
    model: str
    mode: str | None
    cost: str | None
    tokens: Mapping[str, str]


def read_usage_export(path: Path) -> Iterator[ExportLine]:
    """
    Raises:
        UsageError: BF820 not such a file, BF821 a line that cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, dialect=_dialect(file.readline()))
            file.seek(0)
            columns = _columns(path, reader.fieldnames or ())
            for row in reader:
                if any(value for value in row.values()):
                    yield _line(row, columns, Location(str(path), reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise UsageError("BF820", f"{path} cannot be read as CSV: {exc}", hint=_HINT) from exc


def _dialect(header: str) -> type[csv.Dialect]:
    separator = max(",;\t", key=header.count)
    return type("Export", (csv.excel,), {"delimiter": separator})


def _columns(path: Path, names: Sequence[str]) -> _Columns:
    known = {_plain(name): name for name in reversed(names) if name}
    day, model = _first(DAY_COLUMNS, known), _first(MODEL_COLUMNS, known)
    cost = _first(COST_COLUMNS, known)
    tokens = {kind: column for kind, wanted in TOKEN_COLUMNS.items() if (column := _first(wanted, known))}
    if {"cache_write_5m", "cache_write_1h"} & tokens.keys():
        tokens.pop("cache_write", None)
    missing = [what for what, column in (("the day", day), ("the model", model)) if column is None]
    if not tokens and cost is None:
        missing.append("tokens or cost")
    if day is None or model is None or missing:
        columns = ", ".join(names) or "none"
        message = f"{path} has no column for {' and '.join(missing)}; its columns are: {columns}"
        raise UsageError("BF820", message, hint=_HINT)
    return _Columns(day, model, _first(MODE_COLUMNS, known), cost, tokens)


def _plain(name: str) -> str:
    """`Usage Date (UTC)` -> `usage_date_utc`."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _first(wanted: Sequence[str], known: Mapping[str, str]) -> str | None:
    return next((known[name] for name in wanted if name in known), None)


def _line(row: Mapping[str, str | None], columns: _Columns, place: Location) -> ExportLine:
    try:
        cost = _number(row[columns.cost]) if columns.cost else None
        return ExportLine(
            day=_day(row[columns.day] or ""),
            model=model_id(row[columns.model] or ""),
            mode=_mode(row[columns.mode] or "") if columns.mode else "",
            tokens={kind: int(_number(row[column])) for kind, column in columns.tokens.items()},
            cost_usd=cost,
        )
    except (ValueError, InvalidOperation) as exc:
        message = f"this line of the usage export cannot be read: {exc}"
        raise UsageError("BF821", message, hint=_HINT, location=place) from exc


def _day(text: str) -> str:
    """2026-11-24, 2026-11-24T00:00:00Z, 2026/11/24."""
    numbers = re.match(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)", text.strip())
    if numbers is None:
        raise ValueError(f"`{text}` is not a day such as 2026-11-24")
    return date(*map(int, numbers.groups())).isoformat()


def _number(text: str | None) -> Decimal:
    """An empty cell is nothing; commas within a number, and a currency sign before it, are passed over."""
    plain = (text or "").strip().replace(",", "").removeprefix("$") or "0"
    try:
        number = Decimal(plain)
    except InvalidOperation:
        raise ValueError(f"`{text}` is not a number") from None
    if not number.is_finite():
        raise ValueError(f"`{text}` is not a number")
    return number


def _mode(text: str) -> str:
    return "batch" if "batch" in text.lower() else "sync"


def model_id(name: str) -> str:
    """By id, alias or the name that people see: `Claude Haiku 5.5` is claude-haiku-5-5."""
    plain = re.sub(r"[ ._]+", "-", name.strip().lower())
    model = find_model(name.strip()) or find_model(plain)
    return model.id if model else name.strip()
