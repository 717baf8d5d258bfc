"""What state holds against what the vendor's usage export says, by day and model: every difference by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from batchforge.ledger.spending import KINDS, Period
from batchforge.ledger.usage_export import TOKEN_COLUMNS, ExportLine, model_id
from batchforge.results import Usage
from batchforge.state.spending import SpentGroup

Verdict: TypeAlias = Literal["equal", "differs", "only ours", "only theirs"]
Key: TypeAlias = tuple[str, str, str]
"""Day, model, mode; the mode is empty where the export does not tell it."""
CENT_PICO_USD = 10**10


@dataclass(frozen=True, slots=True)
class Amount:
    tokens: Mapping[str, int] = field(default_factory=dict)
    cost_pico_usd: int | None = None
    roundings: int = 0
    """How many amounts that may have been rounded to cents are in the cost."""

    def __add__(self, other: Amount) -> Amount:
        kinds = [kind for kind in TOKEN_COLUMNS if kind in self.tokens or kind in other.tokens]
        tokens = {kind: self.tokens.get(kind, 0) + other.tokens.get(kind, 0) for kind in kinds}
        costs = [cost for cost in (self.cost_pico_usd, other.cost_pico_usd) if cost is not None]
        return Amount(tokens, sum(costs) if costs else None, self.roundings + other.roundings)


@dataclass(frozen=True, slots=True)
class ReconciledLine:
    day: str
    model: str
    mode: str
    verdict: Verdict
    ours: Amount
    theirs: Amount
    differences: Sequence[str] = ()
    """Kinds of token that differ, and `cost` where it differs by more than rounding to cents can explain."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    period: Period
    compared: Sequence[str]
    """What both sides tell: kinds of token, cost."""
    lines: Sequence[ReconciledLine]
    ours: Amount
    theirs: Amount
    shifted: Sequence[tuple[str, str]]
    """(model, mode) whose days differ and whose sums over the period do not."""

    @property
    def is_equal(self) -> bool:
        """Also where only the days differ."""
        return all(line.verdict == "equal" or (line.model, line.mode) in self.shifted for line in self.lines)


def reconcile(groups: Iterable[SpentGroup], exported: Iterable[ExportLine], period: Period) -> Reconciliation:
    """Compared is the period; where it has no end on a side, the export's own first or last day is taken."""
    theirs = _their_sums(line for line in exported if period.holds(line.day))
    days = [day for day, _, _ in theirs]
    if days:
        period = Period(period.since or min(days), period.until or max(days))
    has_modes = any(mode for _, _, mode in theirs)
    ours = _our_sums((group for group in groups if group.is_billed and period.holds(group.day)), has_modes)
    compared = _compared(theirs.values())
    lines = [_line(key, ours.get(key), theirs.get(key), compared) for key in sorted(ours.keys() | theirs.keys())]
    return Reconciliation(
        period=period,
        compared=compared,
        lines=lines,
        ours=_sum(ours.values()),
        theirs=_sum(theirs.values()),
        shifted=_shifted(lines, compared),
    )


def _their_sums(exported: Iterable[ExportLine]) -> dict[Key, Amount]:
    sums: dict[Key, Amount] = {}
    for line in exported:
        cost = None if line.cost_usd is None else int(line.cost_usd.scaleb(12).to_integral_value())
        key = (line.day, line.model, line.mode)
        sums[key] = sums.get(key, Amount()) + Amount(line.tokens, cost, roundings=1)
    return sums


def _our_sums(groups: Iterable[SpentGroup], has_modes: bool) -> dict[Key, Amount]:
    sums: dict[Key, Amount] = {}
    for group in groups:
        key = (group.day, model_id(group.model), group.mode if has_modes else "")
        sums[key] = sums.get(key, Amount()) + Amount(_tokens(group.usage), group.cost_pico_usd)
    return sums


def _tokens(usage: Usage) -> dict[str, int]:
    by_kind = {kind: getattr(usage, f"{kind}_tokens") for kind in KINDS}
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return {**by_kind, "web_searches": usage.web_searches, "cache_write": written}


def _compared(theirs: Iterable[Amount]) -> list[str]:
    total = _sum(theirs)
    return [*total.tokens] + (["cost"] if total.cost_pico_usd is not None else [])


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total += amount
    return total


def _line(key: Key, ours: Amount | None, theirs: Amount | None, compared: Sequence[str]) -> ReconciledLine:
    mine, yours = ours or Amount(), theirs or Amount()
    differences = _differences(mine, yours, compared)
    verdict: Verdict = "differs"
    if not differences:
        verdict = "equal"
    elif theirs is None:
        verdict = "only ours"
    elif ours is None:
        verdict = "only theirs"
    return ReconciledLine(*key, verdict, mine, yours, differences)


def _differences(ours: Amount, theirs: Amount, compared: Sequence[str]) -> list[str]:
    found = [k for k in compared if k != "cost" and ours.tokens.get(k, 0) != theirs.tokens.get(k, 0)]
    apart_pico_usd = abs((ours.cost_pico_usd or 0) - (theirs.cost_pico_usd or 0))
    if "cost" in compared and apart_pico_usd >= max(CENT_PICO_USD, theirs.roundings * CENT_PICO_USD // 2):
        found.append("cost")
    return found


def _shifted(lines: Sequence[ReconciledLine], compared: Sequence[str]) -> list[tuple[str, str]]:
    """A batch that runs over midnight stands on one day here and on two there."""
    names = sorted({(line.model, line.mode) for line in lines if line.verdict != "equal"})
    return [name for name in names if not _differences(*_both_sums(name, lines), compared)]


def _both_sums(name: tuple[str, str], lines: Sequence[ReconciledLine]) -> tuple[Amount, Amount]:
    its_own = [line for line in lines if (line.model, line.mode) == name]
    return _sum(line.ours for line in its_own), _sum(line.theirs for line in its_own)
