"""What the further steps of a job may ask and cost, before it is known which rows they will ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchforge.spec import StepSpec


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One further step."""

    step: StepSpec
    model: str
    rows: int
    """That it may ask at most."""
    expected_rows: float | None
    """None where it is not known how many rows the steps before leave open."""
    learnt_from: int
    """Rows of an earlier run that this was learnt from."""
    expected_pico_usd: int | None
    ceiling_pico_usd: int | None
    """With all rows; None where there is no bound or no price."""
    requests: bytes = b""
    """Hashes of all that it may send, for a saved plan; empty for a turn: it holds an answer that has yet to come."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Beside the plan of one step of a job."""

    step: StepSpec
    step_count: int
    spent_pico_usd: int = 0
    """By the steps before, in the same run."""
    later: tuple[StepEstimate, ...] = ()

    @property
    def expected_pico_usd(self) -> int | None:
        """Of the further steps; None where it is not known."""
        return _sum_of([each.expected_pico_usd for each in self.later])

    @property
    def ceiling_pico_usd(self) -> int | None:
        return _sum_of([each.ceiling_pico_usd for each in self.later])


def _sum_of(costs: list[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def step_value(each: StepEstimate) -> dict[str, Any]:
    """For JSON."""
    return {
        "step": each.step.number,
        "rung": each.step.rung,
        "kind": each.step.kind,
        "model": each.model,
        "rows_at_most": each.rows,
        "expected_rows": None if each.expected_rows is None else round(each.expected_rows, 1),
        "learnt_from_rows": each.learnt_from,
        "expected_pico_usd": each.expected_pico_usd,
        "ceiling_pico_usd": each.ceiling_pico_usd,
    }
