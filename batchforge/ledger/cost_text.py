"""What was spent -> text for people, JSON and CSV for machines. Amounts are exact but for the text, which rounds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from batchforge.ledger.cost import CostReport
from batchforge.ledger.reconciliation import Amount, ReconciledLine, Reconciliation
from batchforge.ledger.spending import KINDS, Period, Spending, Spent
from batchforge.terminal.terminal_text import display_width
from batchforge.terminal.text_layout import wrapped
from batchforge.usd import paid_words, usd_exact

EMULATED = "emulated, not paid"
KIND_WORDS = {
    "input": "input",
    "cache_write_5m": "5m writes",
    "cache_write_1h": "1h writes",
    "cache_read": "reads",
    "output": "output",
    "web_search": "searches",
    "web_searches": "searches",
    "cache_write": "writes",
}


# ---- JSON and CSV


def cost_json(report: CostReport) -> dict[str, Any]:
    return {
        "since": report.period.since,
        "until": report.period.until,
        "by": list(report.by),
        "paid": _spending_json(report.paid, report.by),
        "emulated": {"note": EMULATED, **_spending_json(report.emulated, report.by)},
        "left_out": list(report.left_out),
        "doubts": list(report.doubts),
    }


def _spending_json(spending: Spending, by: Sequence[str]) -> dict[str, Any]:
    return {
        "lines": [dict(zip(by, line.keys, strict=True)) | spent_json(line.spent) for line in spending.lines],
        "total": spent_json(spending.total),
        "repriced": [
            {
                "model": found.model,
                "results": found.results,
                "stored_usd": usd_exact(found.stored_pico_usd),
                "today_usd": _usd_or_none(found.today_pico_usd),
            }
            for found in spending.repriced
        ],
        "unpriced": [
            {
                "model": found.model,
                "results": found.results,
                "tokens": _tokens(found.usage),
                "today_usd": _usd_or_none(found.today_pico_usd),
            }
            for found in spending.unpriced
        ],
        "unreadable_results": spending.unreadable,
        "pruned": {"results": spending.pruned, "usd": usd_exact(spending.pruned_pico_usd)},
    }


def spent_json(spent: Spent) -> dict[str, Any]:
    costs = {kind: usd_exact(getattr(spent.kinds, kind)) for kind in (*KINDS, "web_search")}
    return {
        "billed_results": spent.billed,
        "unbilled_results": spent.unbilled,
        "unpriced_results": spent.unpriced,
        "tokens": _tokens(spent.usage),
        "web_searches": spent.usage.web_searches,
        "usd": {
            **costs,
            "other_prices": usd_exact(spent.other_prices_pico_usd),
            "total": usd_exact(spent.cost_pico_usd),
        },
        "standard_usd": usd_exact(spent.standard_pico_usd),
        "saved_usd": usd_exact(spent.saved_pico_usd),
        "hit_rate": None if spent.hit_rate is None else round(spent.hit_rate, 6),
    }


def _tokens(usage: Any) -> dict[str, int]:
    return {kind: getattr(usage, f"{kind}_tokens") for kind in KINDS}


def _usd_or_none(pico_usd: int | None) -> str | None:
    return None if pico_usd is None else usd_exact(pico_usd)


def cost_csv(report: CostReport) -> str:
    """One line for each line of the report; no totals, so that a column can be summed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*report.by, "paid", *_flat(Spent())])
    for word, spending in (("yes", report.paid), ("no", report.emulated)):
        writer.writerows([*line.keys, word, *_flat(line.spent).values()] for line in spending.lines)
    return text.getvalue().rstrip("\n")


def _flat(spent: Spent) -> dict[str, Any]:
    value = spent_json(spent)
    tokens = {f"{kind}_tokens": count for kind, count in value.pop("tokens").items()}
    costs = {f"{kind}_usd": amount for kind, amount in value.pop("usd").items()}
    return {**value, **tokens, **costs}


# ---- text


def cost_lines(report: CostReport, columns: int | None = None) -> Iterator[str]:
    """`columns`: those of a terminal, into which the lines are to fit."""
    for line in _cost_lines(report, columns):
        yield from [line] if columns is None else wrapped(line, columns)


def _cost_lines(report: CostReport, columns: int | None) -> Iterator[str]:
    if not report.paid.total.billed and not report.paid.total.unbilled and not report.paid.pruned:
        yield f"Nothing was spent{_period_words(report.period)}."
    else:
        yield from _spending_lines(report.paid, report.by, columns)
    if report.emulated.lines:
        yield ""
        yield f"{EMULATED}:"
        yield from _spending_lines(report.emulated, report.by, columns)
    yield from _report_notes(report)


def _report_notes(report: CostReport) -> Iterator[str]:
    if report.has_shared_tags:
        yield "A job with several tags stands in the lines of each; totals count it once."
    for doubt in report.doubts:
        yield f"{doubt[:1].upper()}{doubt[1:]}."
    for words in report.left_out:
        yield f"left out: target {words}"


def _period_words(period: Period) -> str:
    since = f" since {period.since}" if period.since else ""
    return since + (f" until {period.until}" if period.until else "")


def _spending_lines(spending: Spending, by: Sequence[str], columns: int | None) -> Iterator[str]:
    shown = [kind for kind in (*KINDS, "web_search") if kind in KINDS or spending.total.kinds.web_search]
    table = list(_table(spending, by, shown))
    if columns is not None and display_width(table[0]) > columns:
        table = list(_table(spending, by, ()))  # the kinds are told once more, of the total
    yield from table
    yield ""
    yield from _total_lines(spending.total, shown)
    yield from _note_lines(spending)


def _table(spending: Spending, by: Sequence[str], shown: Sequence[str]) -> Iterator[str]:
    heading = [*by, "results", *(KIND_WORDS[kind] for kind in shown), "cost", "hits", "saved"]
    rows = [[*line.keys, *_cells(line.spent, shown)] for line in spending.lines]
    if len(rows) > 1:
        rows.append(["total", *[""] * (len(by) - 1), *_cells(spending.total, shown)])
    yield from aligned([heading, *rows], left=len(by))


def _cells(spent: Spent, kinds: Sequence[str]) -> list[str]:
    return [
        f"{spent.billed + spent.unbilled:,}",
        *(paid_words(getattr(spent.kinds, kind)) for kind in kinds),
        paid_words(spent.cost_pico_usd),
        "-" if spent.hit_rate is None else f"{spent.hit_rate:.1%}",
        paid_words(spent.saved_pico_usd),
    ]


def _total_lines(total: Spent, kinds: Sequence[str]) -> Iterator[str]:
    rows = [["", "tokens", "cost"]]
    for kind in kinds:
        count = total.usage.web_searches if kind == "web_search" else getattr(total.usage, f"{kind}_tokens")
        rows.append([KIND_WORDS[kind], f"{count:,}", paid_words(getattr(total.kinds, kind))])
    if total.other_prices_pico_usd:
        rows.append(["at other prices", "", paid_words(total.other_prices_pico_usd)])
    rows.append(["total", "", paid_words(total.cost_pico_usd)])
    yield from aligned(rows, left=1)
    yield ""
    share = f" ({total.saved_pico_usd / total.standard_pico_usd:.0%})" if total.standard_pico_usd else ""
    yield (
        f"{total.billed:,} billed results, {total.unbilled:,} unbilled. One by one without caching: "
        f"{paid_words(total.standard_pico_usd)}; saved {paid_words(total.saved_pico_usd)}{share}."
    )


def _note_lines(spending: Spending) -> Iterator[str]:
    for found in spending.repriced:
        today = "has no price" if found.today_pico_usd is None else f"gives {paid_words(found.today_pico_usd)}"
        yield (
            f"{found.model}: {_results(found.results)} stored at {paid_words(found.stored_pico_usd)}; today's price "
            f"table {today}. The total is of the stored costs."
        )
    for lacking in spending.unpriced:
        today = "" if lacking.today_pico_usd is None else f"; by today's prices {paid_words(lacking.today_pico_usd)}"
        yield (
            f"{lacking.model}: {lacking.results:,} billed results had no known price and are in no sum{today} "
            f"({lacking.usage.prompt_tokens:,} tokens in, {lacking.usage.output_tokens:,} out)."
        )
    if spending.unreadable:
        yield f"{spending.unreadable:,} results have a form that was not understood; they may have been paid."
    if spending.pruned:
        yield f"{spending.pruned:,} paid answers were pruned since, {paid_words(spending.pruned_pico_usd)}: in no line."


def _results(count: int) -> str:
    return "1 result was" if count == 1 else f"{count:,} results were"


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Columns side by side; the first `left` ones begin, the others end, at the same place."""
    widths = [max(display_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - display_width(cell))
            cells.append(cell + padding if column < left else padding + cell)
        yield "  ".join(cells).rstrip()


# ---- reconciliation


def reconciliation_json(found: Reconciliation) -> dict[str, Any]:
    return {
        "since": found.period.since,
        "until": found.period.until,
        "is_equal": found.is_equal,
        "compared": list(found.compared),
        "lines": [
            {
                "day": line.day,
                "model": line.model,
                "mode": line.mode or None,
                "verdict": line.verdict,
                "differences": list(line.differences),
                "ours": _amount_json(line.ours),
                "theirs": _amount_json(line.theirs),
            }
            for line in found.lines
        ],
        "ours": _amount_json(found.ours),
        "theirs": _amount_json(found.theirs),
        "shifted": [{"model": model, "mode": mode or None} for model, mode in found.shifted],
    }


def _amount_json(amount: Amount) -> dict[str, Any]:
    return {"tokens": dict(amount.tokens), "usd": _usd_or_none(amount.cost_pico_usd)}


def reconciliation_lines(found: Reconciliation) -> Iterator[str]:
    equal = sum(1 for line in found.lines if line.verdict == "equal")
    what = ", ".join(KIND_WORDS.get(kind, kind) for kind in found.compared)
    yield f"Compared{_period_words(found.period)}: {what or 'nothing'}; {equal:,} of {len(found.lines):,} lines equal."
    for line in found.lines:
        if line.verdict != "equal":
            yield _difference_words(line)
    for model, mode in found.shifted:
        yield f"{model}{f' ({mode})' if mode else ''}: only the days differ, the sums are equal."
    if "cost" in found.compared:
        ours, theirs = found.ours.cost_pico_usd or 0, found.theirs.cost_pico_usd or 0
        yield f"In all: {paid_words(ours)} here, {paid_words(theirs)} there."


def _difference_words(line: ReconciledLine) -> str:
    parts = []
    for kind in line.differences:
        if kind == "cost":
            here, there = paid_words(line.ours.cost_pico_usd or 0), paid_words(line.theirs.cost_pico_usd or 0)
        else:
            here, there = f"{line.ours.tokens.get(kind, 0):,}", f"{line.theirs.tokens.get(kind, 0):,}"
        parts.append(f"{KIND_WORDS.get(kind, kind)} {here} here, {there} there")
    mode = f" {line.mode}" if line.mode else ""
    return f"{line.day} {line.model}{mode}: {line.verdict}: {'; '.join(parts)}"
