"""An answer and a ladder's rules -> why its row goes up to the next model, or that it stays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from batchforge.answers import INVALID, Answer
from batchforge.results import ResultKind
from batchforge.spec import Condition, JobSpec, LadderSpec

CAUSE_OF_STATUS: Mapping[str, str] = {
    INVALID: "invalid",
    ResultKind.EMPTY: "invalid",
    ResultKind.REFUSED: "refused",
    ResultKind.TRUNCATED: "truncated",
    ResultKind.THINKING_ONLY: "truncated",
    ResultKind.CONTEXT_EXCEEDED: "truncated",
}
ANSWERED = "answered"
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def cause_of(answer: Answer, ladder: LadderSpec) -> str | None:
    """Of one answer by itself; None where it is good enough as far as that can be told from it."""
    if answer.status != ANSWERED:
        cause = CAUSE_OF_STATUS.get(answer.status)
        return cause if cause in ladder.causes else None
    return next((str(each) for each in ladder.conditions if _holds(each, answer.values.get(each.field))), None)


def _holds(condition: Condition, value: Any) -> bool:
    """Also where there is nothing to compare: what an answer does not say is no sign that it is good."""
    if isinstance(condition.value, float):
        number = number_of(value)
        return number is None or _COMPARE[condition.sign](number, condition.value)
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else None
    return text is None or _COMPARE[condition.sign](text.casefold(), condition.value.casefold())


def number_of(value: Any) -> float | None:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # a whole number of hundreds of digits is none either
        return None
    return number if isfinite(number) else None


def field_to_agree_on(spec: JobSpec) -> str:
    """What answers are held against each other by: as the guarantee says, else what tests compare with a label, else
    the first field."""
    ladder = spec.ladder
    if ladder is not None and ladder.guarantee is not None and ladder.guarantee.field:
        return ladder.guarantee.field
    for test in spec.tests:
        if test.kind in ("accuracy", "f1", "confusion"):
            return str(test.args["column"])
    fields = list((spec.output.schema or {}).get("properties", ()))
    return fields[0] if fields else spec.output.text_column
