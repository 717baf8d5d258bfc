"""Tests that measure one value of a whole output: how many rows, how right, how much like before, at what price."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from batchforge.spec import AssertionSpec
from batchforge.testing.tested_rows import NUMBERS, Found, NotNow, TestedRows, Unanswerable, shown
from batchforge.usd import pico, usd_words

_SHOWN_LABELS = 20
_MAX_VALUES, _BINS = 50, 10
_OTHER = "other"


def row_count(spec: AssertionSpec, rows: TestedRows) -> Found:
    _needs_all_rows(rows)
    count = rows.count()
    return Found(count, value=float(count), message=f"{count:,} rows")


def cost_per_row(spec: AssertionSpec, rows: TestedRows) -> Found:
    count = rows.table.row_count
    if count == 0:
        return Found(0, value=0.0, message="no rows")
    cost_usd = rows.around.cost_usd()
    if cost_usd is None:
        raise Unanswerable("the price of some of its answers is not known.")
    return Found(count, value=cost_usd / count, message=f"{usd_words(pico(cost_usd / count), decimals=6)} a row")


# ---- against a label


def accuracy(spec: AssertionSpec, rows: TestedRows) -> Found:
    labelled, right = rows.fetch(
        f"{_pairs(spec, rows)} SELECT count(*), count(*) FILTER (WHERE answer = label) FROM pairs"
    )[0]
    _needs_labels(spec, rows, labelled)
    share = right / labelled if labelled else 1.0
    return _beside_labels(
        spec, rows, labelled, labelled - right, share, f"{right:,} of {labelled:,} right, {share:.2%}"
    )


def f1(spec: AssertionSpec, rows: TestedRows) -> Found:
    scores = _scores(spec, rows)
    labelled = int(sum(score["rows"] for score in scores.values()))
    _needs_labels(spec, rows, labelled)
    right = int(sum(score["right"] for score in scores.values()))
    value, word = _averaged(spec, scores)
    most = sorted(scores.items(), key=lambda each: (-each[1]["rows"], each[0]))[:_SHOWN_LABELS]
    details = {"labels": {_short(label): score for label, score in most}}
    message = f"F1 {value:.4f} ({word})"
    return _beside_labels(spec, rows, labelled, labelled - right, value, message, details)


def _averaged(spec: AssertionSpec, scores: Mapping[str, Mapping[str, float]]) -> tuple[float, str]:
    if "positive" in spec.args:
        label = _label_text(spec.args["positive"])
        return (scores[label]["f1"] if label in scores else 0.0), f"of {label}"
    average = spec.args.get("average", "macro")
    if not scores:
        return 1.0, average
    if average == "macro":
        return sum(score["f1"] for score in scores.values()) / len(scores), average
    total = sum(score["rows"] for score in scores.values())
    if average == "weighted":
        return sum(score["f1"] * score["rows"] for score in scores.values()) / total, average
    answered = sum(score["answers"] for score in scores.values())
    return 2 * sum(score["right"] for score in scores.values()) / (total + answered), average


def _scores(spec: AssertionSpec, rows: TestedRows) -> dict[str, dict[str, float]]:
    """Label -> its rows, its answers, how many of them are right, and F1; also of labels that were only answered."""
    query = f"""{_pairs(spec, rows)}, counted AS (
        SELECT label AS name, 1 AS has, 0 AS says, CAST(answer IS NOT DISTINCT FROM label AS INTEGER) AS hits FROM pairs
        UNION ALL SELECT answer, 0, 1, 0 FROM pairs WHERE answer IS NOT NULL)
        SELECT name, sum(has), sum(says), sum(hits) FROM counted GROUP BY name"""
    return {
        name: {"rows": int(has), "answers": int(says), "right": int(hits), "f1": 2 * int(hits) / (int(has) + int(says))}
        for name, has, says, hits in rows.fetch(query)
    }


def confusion(spec: AssertionSpec, rows: TestedRows) -> Found:
    query = f"""{_pairs(spec, rows)}, sizes AS (SELECT label, count(*) AS size FROM pairs GROUP BY label)
        SELECT label, answer, count(*) AS times, any_value(size) FROM pairs JOIN sizes USING (label)
        GROUP BY label, answer ORDER BY label = answer, times / any_value(size) DESC, label, answer"""
    cells = rows.fetch(f"{query} LIMIT {_SHOWN_LABELS * _SHOWN_LABELS}")
    labelled = rows.number(f"{_pairs(spec, rows)} SELECT count(*) FROM pairs")
    _needs_labels(spec, rows, labelled)
    wrong = [cell for cell in cells if cell[0] != cell[1]]
    failures = rows.number(f"{_pairs(spec, rows)} SELECT count(*) FROM pairs WHERE answer IS DISTINCT FROM label")
    label, answer, times, size = max(wrong, key=lambda cell: cell[2] / cell[3], default=("", "", 0, 1))
    share = times / size
    message = (
        f"{_short(label)} was taken for {_short(answer)} in {share:.2%} of its rows" if wrong else "nothing confused"
    )
    table = [{"label": _short(a), "answer": _short(b), "rows": n, "share": n / of} for a, b, n, of in cells]
    return _beside_labels(spec, rows, labelled, failures, share, message, {"confusions": table})


def _pairs(spec: AssertionSpec, rows: TestedRows) -> str:
    """`pairs` of label and answer, numbers as numbers. Rows without a label are not counted."""
    names = spec.args["label"], spec.args["column"]
    both_numbers = all(rows.kind(name) in NUMBERS for name in names)
    label, answer = (
        f"CAST(CAST({rows.column(n)} AS DOUBLE) AS VARCHAR)" if both_numbers else rows.text(n) for n in names
    )
    known = f"{rows.column(names[0])} IS NOT NULL"
    return f", pairs AS (SELECT {label} AS label, {answer} AS answer FROM tested WHERE {known})"


def _beside_labels(
    spec: AssertionSpec,
    rows: TestedRows,
    labelled: int,
    wrong: int,
    value: float,
    message: str,
    details: Mapping[str, Any] | None = None,
) -> Found:
    label, answer = spec.args["label"], spec.args["column"]
    condition = f"{rows.column(label)} IS NOT NULL AND {rows.text(answer)} IS DISTINCT FROM {rows.text(label)}"
    reason = f"{shown(rows.column(answer))} || ' instead of ' || {shown(rows.column(label))}"
    failing = rows.failing_sql(condition, reason) if wrong else ""
    return Found(labelled, wrong, value, message, details or {}, failing)


def _needs_labels(spec: AssertionSpec, rows: TestedRows, labelled: int) -> None:
    if labelled == 0 and rows.count() > 0:
        raise Unanswerable(f"no row has anything in '{spec.args['label']}', so there is nothing to compare with.")


# ---- against the output before


def drift(spec: AssertionSpec, rows: TestedRows) -> Found:
    _needs_all_rows(rows)
    count = rows.count()
    before = rows.around.spread_before(spec.name)
    spread = _spread(spec.args["column"], rows, before)
    details = {"spread": spread, "output": rows.around.output_id}
    if before is None or not before.get("counts"):
        return Found(count, value=0.0, message="nothing to compare with yet", details=details)
    moved, most = _distance(before, spread)
    message = f"{moved:.2%} of the rows have moved to other values" + (
        f", most of them to or from {most}" if most else ""
    )
    return Found(count, value=moved, message=message, details=details)


def _spread(name: str, rows: TestedRows, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Value -> rows; of numbers with many values, rows in each of ten bins, those of the output before where it had
    bins."""
    column = rows.column(name)
    is_number = rows.kind(name) in NUMBERS
    edges = before.get("edges") if before else None
    distinct = rows.number(f"SELECT count(DISTINCT {column}) FROM tested")
    if is_number and (edges or (distinct > _MAX_VALUES and not (before and before.get("counts")))):
        return _binned(column, rows, edges)
    value = rows.text(name)
    found = rows.fetch(
        f"SELECT {value}, count(*) AS n FROM tested GROUP BY 1 ORDER BY n DESC, 1 LIMIT {_MAX_VALUES * 4}"
    )
    counts = {_named(text, rows): n for text, n in found}
    rest = rows.count() - sum(counts.values())
    return {"counts": {**counts, _OTHER: rest} if rest else counts}


def _binned(column: str, rows: TestedRows, edges: Sequence[float] | None) -> dict[str, Any]:
    shares = ", ".join(str(step / _BINS) for step in range(1, _BINS))
    edges = edges or sorted(set(rows.number(f"SELECT quantile_cont(CAST({column} AS DOUBLE), [{shares}]) FROM tested")))
    bins = " + ".join(f"CAST({column} > {edge!r} AS INTEGER)" for edge in edges)
    found = rows.fetch(f"SELECT {bins} AS bin, count(*) FROM tested GROUP BY 1")
    words = [
        f"up to {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"over {edges[-1]:g}",
    ]
    counts = {("null" if place is None else words[int(place)]): n for place, n in found}
    return {"edges": list(edges), "counts": counts}


def _named(text: str | None, rows: TestedRows) -> str:
    """A label by its name; any other text by its hash, since what rows say is kept in outputs only."""
    if text is None:
        return "null"
    is_plain = text in rows.around.labels or (len(text) <= 20 and text.replace(".", "", 1).lstrip("-").isdigit())
    return text if is_plain or text in ("true", "false") else f"#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _distance(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[float, str]:
    """The share of rows that would have to move to other values to make one spread the other, and the value that has
    gained or lost most."""
    one, other = before["counts"], now["counts"]
    sizes = sum(one.values()), sum(other.values())
    if not all(sizes):
        return (0.0 if sizes[0] == sizes[1] else 1.0), ""
    changes = {name: other.get(name, 0) / sizes[1] - one.get(name, 0) / sizes[0] for name in {*one, *other}}
    moved = sum(abs(change) for change in changes.values()) / 2
    most = max(sorted(changes), key=lambda name: abs(changes[name]), default="")
    return moved, "" if most.startswith("#") or moved == 0 else most


def _needs_all_rows(rows: TestedRows) -> None:
    if rows.around.is_partial:
        raise NotNow("only some of the rows were asked")


def _short(text: str | None) -> str:
    return "null" if text is None else text if len(text) <= 40 else f"{text[:37]}..."


def _label_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
