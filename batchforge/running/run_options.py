"""How a command was asked to run, as a value; and which of a job's rows that means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batchforge.planning.decisions import Resend
from batchforge.planning.plan_file import SavedPlan
from batchforge.selection.choosing import ChosenTests
from batchforge.selection.deferral import Deferral
from batchforge.state.records import TRIED
from batchforge.target import Mode


@dataclass(frozen=True, slots=True)
class RunOptions:
    resend: Resend = Resend.NOTHING_PAID
    limit: int | None = None
    """Only the first so many rows; the full output stays as it is."""
    sample: int | None = None
    """Only so many rows, the same ones every time; the full output stays as it is."""
    wait: bool = True
    """False: submit and end."""
    submitted_rows: bool = False
    """Write outputs of the rows as they were submitted, though the inputs have moved since."""
    allow_unknown_model: bool = False
    yes: bool = False
    """A person has agreed to the cost already."""
    max_cost_usd: float | None = None
    """The most that the whole run may cost."""
    resend_uncertain: bool = False
    """Send uncertain batches again, on a person's word."""
    uses_state: bool = True
    """For a plan. False: as if there were none, where it cannot be reached."""
    looks_at_rows: bool = False
    """For a plan: every row is looked at, also where it is known that nothing has changed."""
    count_exactly: bool = False
    """For a plan: let the API count the tokens of a few requests."""
    saved_plan: SavedPlan | None = None
    """What was approved: nothing beyond it is sent."""
    ask: Callable[[str], bool] | None = None
    """Asks a person; None where nobody is there."""
    keys: tuple[str, ...] = ()
    """Only the rows with these keys; for `try`, which writes no output."""
    lock_timeout_s: float = 300.0
    """How long to wait for another process that is submitting."""
    mode: Mode | None = None
    """batch or sync, before what the job and the target say."""
    threads: int | None = None
    """How many jobs may be at work at the same time; None: as many as can be."""
    fail_fast: bool = False
    """Begin no further job once one has failed."""
    deferral: Deferral | None = None
    """Whose answers are read of jobs that are not run and have none on this target."""
    tests: Sequence[ChosenTests] = ()
    """For a build: of what it does not run, those are asked before anything is sent."""
    fetch: bool = True
    """Whether snapshots are taken anew of what lives in databases and object stores."""
    command: str = "run"

    @property
    def scope(self) -> str:
        """Names which rows are asked; empty for all."""
        if self.command in ("try", "compare", "diff"):
            return TRIED
        parts = [f"{name}={value}" for name in ("limit", "sample") if (value := getattr(self, name)) is not None]
        return " ".join(parts)


def narrowing_of(scope: str) -> dict[str, int]:
    """The options that a scope names.

    >>> narrowing_of("limit=10 sample=5")
    {'limit': 10, 'sample': 5}
    """
    return {name: int(value) for name, _, value in (part.partition("=") for part in scope.split())}
