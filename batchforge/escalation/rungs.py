"""What each rung of a ladder came to, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RungReport:
    """One model of a ladder; of a guarantee's sample, the strongest model's part in it."""

    rung: int
    model: str
    is_sample: bool
    rows: int
    """That it was asked."""
    kept: int
    """Whose answer in the output is its own."""
    went_up: Mapping[str, int]
    """Why rows went on to the next -> how many."""
    asked_again: int
    """Times that it was told what was wrong with its answer."""
    cost_usd: float
    """Of its answers, whenever they were paid."""
    unpriced: int
    """Answers without a known price, which are not in it."""


@dataclass(frozen=True, slots=True)
class GuaranteeReport:
    """How a guarantee was kept."""

    agreement: float
    confidence: float
    score: str
    field: str
    threshold: float | None
    """The score from which on the first model's answers were kept; None: at no score."""
    sample: int
    differing: int
    tells_apart: bool | None
    """Whether the score surely tells rows that agree from rows that differ; None where too few differ to tell."""

    @property
    def words(self) -> str:
        kept = "none of the first model's answers are kept"
        if self.threshold is not None:
            kept = f"answers with {self.score} from {self.threshold:.4g} on are kept"
        found = f"{self.differing:,} of {self.sample:,} sampled rows differ in {self.field}"
        informs = {
            True: "",
            False: f"; {self.score} does not tell them from the others, so more rows go up than would have to",
            None: "",
        }
        aim = f"for {self.agreement:.4g} agreement at {self.confidence:.4g} confidence"
        return f"{found}{informs[self.tells_apart]}; {aim}, {kept}"


@dataclass(frozen=True, slots=True)
class LadderReport:
    rungs: Sequence[RungReport] = ()
    guarantee: GuaranteeReport | None = None
    left: int = 0
    """Rows that a step has yet to ask."""
    answered_by: Mapping[str, int] = field(default_factory=dict)
    """Model -> rows of the output."""
