"""A comparison of variants -> lines for a terminal, Markdown, or one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from batchforge.evaluation.comparison import Comparison, Share, VariantResult
from batchforge.review.neutral import code
from batchforge.terminal.report import EMULATED_NOTICE
from batchforge.terminal.terminal_text import printable
from batchforge.usd import paid_words, pico

_HEAD = ("variant", "right", "answered", "agrees", "per 1,000 rows", "whole input", "took", "verdict")
_SHOWN_TEXT = 200


def lines_of_comparison(comparison: Comparison, *, disagreements: int = 5) -> Iterator[str]:
    """For people in a terminal."""
    yield _first_line(comparison)
    yield ""
    yield from _table([_HEAD, *(_cells(result, comparison) for result in comparison.results)])
    yield ""
    yield from _facts(comparison)
    yield from (f"  {line}" for result in comparison.results for line in _details(result))
    for each in comparison.disagreements[:disagreements]:
        yield ""
        label = f" (label: {each.label})" if each.label is not None else ""
        yield f"{printable(each.key)}{printable(label)}: {printable(_short(each.row))}"
        yield from (f"    {name}: {printable(answer)}" for name, answer in each.answers.items())
    if comparison.is_emulated:
        yield from ("", EMULATED_NOTICE)
    yield from ("", _verdict(comparison))


def markdown_of_comparison(comparison: Comparison) -> str:
    """For a comment; texts of rows and answers are neutralised."""
    lines = [f"**{_verdict(comparison)}**", "", _first_line(comparison), ""]
    lines += [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    lines += [f"| {' | '.join(_cells(result, comparison))} |" for result in comparison.results]
    lines += ["", *(f"- {line}" for line in _facts(comparison))]
    lines += [f"- {line}" for result in comparison.results for line in _details(result)]
    if comparison.disagreements:
        names = list(comparison.disagreements[0].answers)
        lines += ["", f"| row | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
        for each in comparison.disagreements:
            cells = [each.key, *each.answers.values()]
            lines.append(f"| {' | '.join(code(cell, in_table=True) for cell in cells)} |")
    if comparison.is_emulated:
        lines += ["", EMULATED_NOTICE]
    return "\n".join(lines) + "\n"


def html_of_comparison(comparison: Comparison) -> str:
    """One page that opens from disk; nothing in it runs or is fetched."""
    table = _html_table(_HEAD, [_cells(result, comparison) for result in comparison.results])
    facts = "".join(f"<li>{escape(line)}</li>" for line in (*_facts(comparison), *_all_details(comparison)))
    rows = ""
    if comparison.disagreements:
        names = list(comparison.disagreements[0].answers)
        rows = "<h2>Rows on which they differ</h2>" + _html_table(
            ["key", "row", "label", *names],
            [
                [each.key, _short(each.row), each.label or "", *each.answers.values()]
                for each in comparison.disagreements
            ],
        )
    notice = f"<p><em>{EMULATED_NOTICE}</em></p>" if comparison.is_emulated else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(comparison.job)}: compared</title><style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem "
        "auto;max-width:75rem;padding:0 1rem}table{border-collapse:collapse;width:100%}th,td{border:1px solid #ccc;"
        "padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f3f3f3}</style>"
        f"</head><body><main><h1>{escape(_verdict(comparison))}</h1><p>{escape(_first_line(comparison))}</p>{table}"
        f"<ul>{facts}</ul>{rows}{notice}</main></body></html>\n"
    )


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _first_line(comparison: Comparison) -> str:
    against = f"the column {comparison.label}" if comparison.label else f"the answers of {comparison.reference}"
    return (
        f"{comparison.job}: {comparison.rows:,} of {comparison.input_rows:,} rows, {comparison.field} held against "
        f"{against}; {paid_words(pico(comparison.paid_usd))} was paid now"
    )


def _facts(comparison: Comparison) -> Iterator[str]:
    if comparison.noise_floor is not None:
        yield f"noise floor: {comparison.reference} agrees with itself on {_share(comparison.noise_floor)} of the rows"
    others = max(len(comparison.results) - 1, 1)
    yield (
        f"not worse: no more than {comparison.margin:.1%} under the best, at {comparison.confidence:.0%} confidence "
        f"for all {others} comparisons together; rows without an answer count as wrong"
    )


def _all_details(comparison: Comparison) -> list[str]:
    return [line for result in comparison.results for line in _details(result)]


def _details(result: VariantResult) -> Iterator[str]:
    name = result.variant.name
    statuses = ", ".join(f"{count:,} {status}" for status, count in result.statuses.items())
    f1 = f"; F1 {result.f1:.3f}" if result.f1 is not None else ""
    yield f"{name}: {statuses}; {result.input_tokens:,} tokens in, {result.output_tokens:,} out{f1}"
    fields = ", ".join(f"{field} {share.value:.1%}" for field, share in result.agreement.items())
    yield f"{name}: agreement by field: {fields}"
    failed = [test for test, status in result.tests.items() if status not in ("pass", "skipped")]
    if result.tests:
        passed = len(result.tests) - len(failed)
        yield f"{name}: {passed} of {len(result.tests)} tests pass" + (f", not {', '.join(failed)}" if failed else "")


def _cells(result: VariantResult, comparison: Comparison) -> list[str]:
    agrees = result.agreement[comparison.field]
    return [
        result.variant.name,
        _share(result.right),
        f"{result.answered.value:.1%}",
        f"{agrees.value:.1%}",
        _usd(result.cost_per_1000_usd),
        _usd(result.whole_input_usd),
        _took(result),
        _word(result, comparison),
    ]


def _took(result: VariantResult) -> str:
    """Of answers that were asked for one by one, each was measured; of a batch, all of it."""
    if result.seconds is None:
        return ""
    if result.median_answer_s is None:
        return f"{result.seconds:,.0f} s, the batch" if result.variant.mode == "batch" else f"{result.seconds:,.0f} s"
    return f"{result.median_answer_s:,.1f} s an answer, 19 of 20 within {result.slow_answer_s:,.1f} s"


def _word(result: VariantResult, comparison: Comparison) -> str:
    if result.variant.name == comparison.winner:
        return "cheapest that is not worse"
    if result.is_not_worse is None:
        rows = result.rows_to_tell
        return f"not enough rows to tell: {rows:,} would do" if rows else "cannot be told"
    return "not worse" if result.is_not_worse else "worse"


def _verdict(comparison: Comparison) -> str:
    if comparison.winner:
        return f"{comparison.winner} is the cheapest that is known not to be worse.{_open_words(comparison)}"
    unsure = [each.rows_to_tell for each in comparison.results if each.rows_to_tell]
    return f"Not enough rows to tell: {min(unsure):,} would do." if unsure else "None can be told to be good enough."


def _open_words(comparison: Comparison) -> str:
    """Of variants that are cheaper than the winner, and may be as good."""
    prices = {each.variant.name: each.cost_per_1000_usd for each in comparison.results}
    best = prices[comparison.winner]
    unsure = [
        each
        for each in comparison.results
        if each.is_not_worse is None and best is not None and each.cost_per_1000_usd is not None
        if each.cost_per_1000_usd < best
    ]
    if not unsure:
        return ""
    rows = [each.rows_to_tell for each in unsure if each.rows_to_tell]
    more = f"; {max(rows):,} rows would do" if rows else ""
    return f" Whether {' or '.join(each.variant.name for each in unsure)} is, cannot be told from so few rows{more}."


def _share(share: Share) -> str:
    return f"{share.value:.1%} ({share.interval.low:.1%} to {share.interval.high:.1%})"


def _usd(value: float | None) -> str:
    return "unknown" if value is None else paid_words(pico(value))


def _short(row: object) -> str:
    text = str(row)
    return text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
