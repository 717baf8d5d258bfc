"""Rows of one revision of a job -> answers in state, asked one by one within a budget that holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batchforge.errors import BatchForgeError
from batchforge.events import Listener
from batchforge.lookup.tried import TrySummary
from batchforge.pipeline import try_rows
from batchforge.planning.decisions import Resend
from batchforge.project import Project
from batchforge.requests.fingerprint import parse_custom_id
from batchforge.running.run_options import RunOptions
from batchforge.spec import JobSpec
from batchforge.state.records import RequestRecord
from batchforge.target import Target
from batchforge.targets import read_state


@dataclass(slots=True)
class Asker:
    target: Target
    max_cost_usd: float | None
    yes: bool
    confirm: Callable[[str], bool] | None
    listen: Listener
    paid_usd: float = 0.0

    def ask(self, project: Project, job: JobSpec, keys: Sequence[str]) -> TrySummary:
        """What is answered already is not asked.

        Raises:
            BudgetExceeded: what is left of the budget does not hold it.
        """
        return self._try(project, job, keys, Resend.NOTHING_PAID)

    def ask_again(self, project: Project, job: JobSpec, keys: Sequence[str]) -> None:
        """So that each row has two answers to the same request."""
        rows = {row.key: row.custom_id for row in self.ask(project, job, keys).rows if row.custom_id}
        requests = {key: parsed[0] for key, name in rows.items() if (parsed := parse_custom_id(name))}
        with read_state(project, self.target) as state:
            records = state.lookup(list(set(requests.values()))) if state else {}
        lacking = [key for key, request in requests.items() if _answers(records.get(request)) < 2]
        if lacking:
            self._try(project, job, lacking, Resend.ALL)

    def _try(self, project: Project, job: JobSpec, keys: Sequence[str], resend: Resend) -> TrySummary:
        left = None if self.max_cost_usd is None else max(self.max_cost_usd - self.paid_usd, 0.0)
        options = RunOptions(
            resend=resend, keys=tuple(keys), max_cost_usd=left, yes=self.yes, ask=self.confirm, command="try"
        )
        try:
            summary = try_rows(project, job, self.target, options, listen=self.listen)
        except BatchForgeError as exc:
            if self.paid_usd:
                exc.add_note(f"${self.paid_usd:,.4f} was paid for other rows before; their answers are kept.")
            raise
        self.paid_usd += summary.cost_usd
        return summary


def _answers(record: RequestRecord | None) -> int:
    return len({answer.ordinal for answer in record.answers if answer.kind.is_billed}) if record else 0
