"""Plans -> whether they may be sent: limits hold, a saved plan covers them, a person has said yes where one must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from batchforge.errors import BudgetExceeded
from batchforge.planning.budget import Limits, check_limits, cost_warnings, cost_words, needs_confirmation
from batchforge.planning.plan_file import Binding, check_within
from batchforge.planning.planner import JobPlan
from batchforge.project import Project
from batchforge.running.session import Session
from batchforge.target import Target
from batchforge.usd import limit_words


@dataclass(slots=True)
class Approval:
    """Of one run, whose jobs are planned a few at a time."""

    run: Session
    passed: dict[str, JobPlan] = field(default_factory=dict)
    """Job -> its plan, once it may be sent. Such a plan is closed some time, and knows its costs all the same."""
    unconfirmed: dict[str, JobPlan] = field(default_factory=dict)
    """Those of them that nobody was asked about: together they stay below what is asked about."""

    def check(self, plans: Sequence[JobPlan], *, is_approved: bool) -> None:
        """
        Raises:
            BudgetExceeded
        """
        saved = self.run.options.saved_plan
        if saved is not None:
            check_within(saved, plans, plan_binding(self.run.project, self.run.target, plans))
        self.check_limits(plans)
        for job, message in cost_warnings(plans):
            self.run.warn("BF813", message, job)
        if not (is_approved or saved is not None):
            self._confirm(plans)
        self.passed.update({plan.job: plan for plan in plans})

    def settle(self, job: str, cost_pico_usd: int) -> None:
        """A job is done: from now on it counts with what it came to."""
        if plan := self.passed.get(job):
            estimate = replace(plan.estimate, ceiling_pico_usd=cost_pico_usd)
            self.passed[job] = replace(plan, estimate=estimate, outlook=None)

    def check_limits(self, plans: Sequence[JobPlan]) -> None:
        """
        Raises:
            BudgetExceeded: BF802, BF803
        """
        names = {plan.job for plan in plans}
        earlier = [plan for job, plan in self.passed.items() if job not in names]
        check_limits(plans, self.limits, self._committed_pico_usd(), earlier)

    @property
    def limits(self) -> Limits:
        project = self.run.project
        return Limits(self.run.options.max_cost_usd, project.month_max_cost_usd, project.confirm_above_usd)

    def _committed_pico_usd(self) -> int:
        return self.run.state.committed_pico_usd(f"{self.run.clock.now():%Y-%m}-01")

    def _confirm(self, plans: Sequence[JobPlan]) -> None:
        limits, options = self.limits, self.run.options
        has_budget = limits.run_usd is not None or limits.month_usd is not None
        if options.yes or has_budget or self.run.target.type == "emulator":
            return
        asked = {**self.unconfirmed, **{plan.job: plan for plan in plans if plan.job not in self.passed}}
        if not needs_confirmation(list(asked.values()), limits):
            self.unconfirmed = asked
            return
        if options.ask is None:
            assert limits.confirm_above_usd is not None
            above = limit_words(limits.confirm_above_usd)
            raise BudgetExceeded(
                "BF805",
                f"this run needs a yes: {cost_words(plans)}, and confirm_above_usd is {above}",
                hint="Give --yes, or a budget: --max-cost USD, or month_max_cost_usd in batchforge.yml.",
            )
        if not options.ask(f"{cost_words(plans)}. Send it?"):
            raise BudgetExceeded("BF806", "not confirmed; nothing was sent")
        self.unconfirmed = {}


def plan_binding(project: Project, target: Target, plans: Sequence[JobPlan]) -> Binding:
    """What a saved plan holds besides its requests: target, origin and the prices of each job's model."""
    table = project.price_table(target)
    prices = {each.job: table.fingerprint(each.compiled.spec.models) for each in plans}
    return Binding(target.name, str(target.origin()), prices)
