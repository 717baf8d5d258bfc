"""Tried rows -> lines for a terminal of any width: each answer beside its input, with its price."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from batchforge.lookup.tried import TriedRow, TrySummary
from batchforge.outputs import ANSWERED
from batchforge.terminal.terminal_text import display_width, printable
from batchforge.terminal.text_layout import joined, shortened, wrapped
from batchforge.usd import pico, usd_words

_INPUT_LINES, _ANSWER_LINES = 3, 30
_COLUMNS_SHOWN = 12
_NAME_WIDTH = 16


def try_lines(summary: TrySummary, columns: int) -> Iterator[str]:
    for row in summary.rows:
        yield from _row_lines(row, columns)
        yield ""
    yield from wrapped(_total(summary), columns)


def _row_lines(row: TriedRow, columns: int) -> Iterator[str]:
    yield from joined([f"── {printable(row.key)}", printable(row.place)], columns)
    yield from _named(_first(row.row), "  ", _INPUT_LINES, columns)
    if len(row.row) > _COLUMNS_SHOWN:
        yield f"  … and {len(row.row) - _COLUMNS_SHOWN} more columns"
    if row.status == ANSWERED:
        yield from _named(row.fields, "→ ", _ANSWER_LINES, columns)
    else:
        yield from _cut(wrapped(f"→ {row.status}: {row.error}", columns), _ANSWER_LINES)
        yield from _cut(wrapped(row.text, columns, "  "), _ANSWER_LINES) if row.text else ()
    yield from joined(_facts(row), columns, "  ")


def _first(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(islice(values.items(), _COLUMNS_SHOWN))


def _named(values: Mapping[str, Any], mark: str, lines: int, columns: int) -> Iterator[str]:
    """Names to the left, values beside them, in as many lines as they need."""
    names = {name: shortened(name, _NAME_WIDTH) for name in values}
    width = max(map(display_width, names.values()), default=0)
    for name, value in values.items():
        label = f"{mark}{names[name]}{' ' * (width - display_width(names[name]))}  "
        indent = " " * display_width(label)
        shown = list(_cut(wrapped(_plain(value), columns, indent), lines, indent))
        yield label + shown[0][len(indent) :]
        yield from shown[1:]


def _cut(lines: Iterator[str], count: int, indent: str = "  ") -> Iterator[str]:
    yield from islice(lines, count)
    left = sum(1 for _ in lines)
    if left:
        yield f"{indent}… {left:,} more line{'s' if left > 1 else ''}"


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _facts(row: TriedRow) -> list[str]:
    if row.model is None:
        return []
    paid = "no known price" if row.cost_usd is None else usd_words(pico(row.cost_usd), decimals=6)
    return [
        paid if row.is_new else f"{paid}, paid before",
        f"{row.usage.prompt_tokens:,} tokens in, {row.usage.output_tokens:,} out",
        printable(row.model),
    ]


def _total(summary: TrySummary) -> str:
    asked = [row for row in summary.rows if row.is_new]
    if not summary.rows:
        return "The input has no rows."
    if not asked:
        return "Nothing was asked and nothing was paid."
    some = f"{len(asked):,} of {len(summary.rows):,}" if len(asked) < len(summary.rows) else f"{len(asked):,}"
    count = f"{some} row{'' if len(summary.rows) == 1 else 's'} asked"
    if any(row.model is not None and row.cost_usd is None for row in asked):
        price = "what it cost is not known"
    else:
        paid, a_row = (usd_words(pico(cost), decimals=6) for cost in (summary.cost_usd, summary.cost_usd / len(asked)))
        price = f"{paid} in all, {a_row} a row; half of it in a batch"
    return f"{count}: {price}. `batchforge run {summary.job}` keeps these answers and asks for the others."
