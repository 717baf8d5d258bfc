"""`>5`, `> 1%` -> a condition on what a test has counted or measured."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_FORM = re.compile(r"(?P<sign>>=?|<=?|==?|!=|<>) *(?P<number>[0-9]+(?:\.[0-9]+)?) *(?P<percent>%?)")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition as it was written."""

    text: str
    sign: str
    number: float
    is_share: bool

    def holds_for_count(self, count: int, total: int) -> bool:
        """For a number of failing rows among so many. No share of no rows is ever reached, but zero."""
        value = count / total if self.is_share and total else float(count)
        return _SIGNS[self.sign](value, self._limit)

    def holds_for_value(self, value: float) -> bool:
        """For something that was measured."""
        return _SIGNS[self.sign](value, self._limit)

    @property
    def _limit(self) -> float:
        return self.number / 100 if self.is_share else self.number


def parse_threshold(text: str) -> Threshold:
    """
    >>> parse_threshold("> 1%").holds_for_count(3, 200)
    True
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no comparison with a number")
    return Threshold(text, match["sign"], float(match["number"]), bool(match["percent"]))
