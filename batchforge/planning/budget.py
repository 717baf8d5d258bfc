"""Plans and limits -> whether they may be sent, and what would fit. Ceilings are held against limits, not hopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchforge.errors import BudgetExceeded, Problem
from batchforge.planning.estimate import FourWays, Phase
from batchforge.planning.planner import JobPlan
from batchforge.results import Brought
from batchforge.spec import FolderBudget
from batchforge.usd import PICO, limit_words, pico, usd_words


@dataclass(frozen=True, slots=True)
class Limits:
    """In USD; None where nothing limits."""

    run_usd: float | None = None
    month_usd: float | None = None
    confirm_above_usd: float | None = None
    """An expected cost above this needs a person's yes, or one of the limits above."""

    @property
    def month_pico_usd(self) -> int | None:
        return None if self.month_usd is None else pico(self.month_usd)


def check_limits(
    plans: Sequence[JobPlan], limits: Limits, committed_pico_usd: int, earlier: Sequence[JobPlan] = ()
) -> None:
    """
    Args:
        committed_pico_usd: what this month has settled and reserved already.
        earlier: plans of the same run that were let pass before.

    Raises:
        BudgetExceeded: BF802 a limit does not hold the ceiling, BF803 there is no ceiling to hold against it.
    """
    problems = [
        p for plan in plans for p in _over(plan.job, plan.compiled.spec.max_cost_usd, [plan], plan.spent_pico_usd)
    ]
    for budget, jobs in _by_folder(plans).items():
        before = [plan for plan in earlier if budget in plan.compiled.spec.folder_budgets]
        problems += _over(f"{budget.folder}/", budget.max_cost_usd, jobs, _ceilings(before) + _spent(jobs))
    problems += _over("the run", limits.run_usd, plans, _ceilings(earlier) + _spent(plans))
    problems += _over("the month", limits.month_usd, plans, committed_pico_usd)
    if problems:
        error = BudgetExceeded(problems[0].code, problems[0].message)
        error.problems = tuple(problems)
        raise error


def _ceilings(plans: Sequence[JobPlan]) -> int:
    """Of plans that may have been sent: the most that they can still cost, and what their steps have cost."""
    return sum((plan.ceiling_pico_usd or 0) + plan.spent_pico_usd for plan in plans)


def _spent(plans: Sequence[JobPlan]) -> int:
    """By steps before these, in the same run. What counts for the month holds it already."""
    return sum(plan.spent_pico_usd for plan in plans)


def cost_warnings(plans: Sequence[JobPlan]) -> list[tuple[str, str]]:
    """(job or folder, message) for those that are expected to cost more than their warn_cost_usd."""
    found = []
    for plan in plans:
        found += _above(plan.job, plan.compiled.spec.warn_cost_usd, [plan])
    for budget, jobs in _by_folder(plans).items():
        found += _above(f"{budget.folder}/", budget.warn_cost_usd, jobs)
    return found


def _above(what: str, limit: float | None, plans: Sequence[JobPlan]) -> list[tuple[str, str]]:
    expected = sum(plan.expected_pico_usd or 0 for plan in plans)
    if limit is None or expected <= limit * PICO:
        return []
    return [(what, f"expected to cost {usd_words(expected)}, over warn_cost_usd {limit_words(limit)}")]


def _by_folder(plans: Sequence[JobPlan]) -> dict[FolderBudget, list[JobPlan]]:
    """What the jobs of a folder, and of the folders in it, may cost together."""
    found: dict[FolderBudget, list[JobPlan]] = {}
    for plan in plans:
        for budget in plan.compiled.spec.folder_budgets:
            found.setdefault(budget, []).append(plan)
    return found


def needs_confirmation(plans: Sequence[JobPlan], limits: Limits) -> bool:
    """Whether a person must say yes: what is expected is above `confirm_above_usd`; where that cannot be told, as of
    rows that may go up to another model, the most that it can cost is."""
    if limits.confirm_above_usd is None or not any(plan.may_send for plan in plans):
        return False
    costs = [plan.ceiling_pico_usd if plan.expected_pico_usd is None else plan.expected_pico_usd for plan in plans]
    if any(cost is None for cost in costs):
        return True
    return sum(cost for cost in costs if cost is not None) > limits.confirm_above_usd * PICO


def cost_words(plans: Sequence[JobPlan]) -> str:
    """$6.87 expected, $26.32 at most"""
    expected = [plan.expected_pico_usd for plan in plans]
    ceilings = [plan.ceiling_pico_usd for plan in plans]
    return f"{_sum_words(expected, 'unknown cost')} expected, {_sum_words(ceilings, 'no upper bound')} at most"


def _sum_words(costs: Sequence[int | None], unknown: str) -> str:
    if any(cost is None for cost in costs):
        return unknown
    return usd_words(sum(cost for cost in costs if cost is not None))


def ways_words(ways: FourWays) -> str:
    return (
        f"standard {usd_words(ways.standard)}, with caching {usd_words(ways.standard_cached)}; "
        f"batch {usd_words(ways.batch)}, with caching {usd_words(ways.batch_cached)}"
    )


def _over(what: str, limit: float | None, plans: Sequence[JobPlan], committed: int) -> list[Problem]:
    if limit is None or not any(plan.may_send for plan in plans):
        return []
    ceilings = [plan.ceiling_pico_usd for plan in plans]
    if any(ceiling is None for ceiling in ceilings):
        return [_no_bound(what, plans)]
    ceiling = sum(c for c in ceilings if c is not None)
    if committed + ceiling <= limit * PICO:
        return []
    spent = f" after {usd_words(committed)} that are spent or reserved" if committed else ""
    message = f"{what}: at most {usd_words(ceiling)}{spent}, over the limit of {limit_words(limit)}"
    return [Problem("BF802", message, hint=_what_fits(limit * PICO - committed, ceiling, plans))]


def _no_bound(what: str, plans: Sequence[JobPlan]) -> Problem:
    reasons = {reason for plan in plans for reason in plan.estimate.no_bound_because} or {
        "the model has no known price"
    }
    return Problem(
        "BF803",
        f"{what}: there is no upper bound on the cost ({'; '.join(sorted(reasons))}), so a limit cannot be kept",
        hint="Leave the limit out, give `prices:` in batchforge.yml, or leave out what has no bound.",
    )


def _what_fits(left: float, ceiling: int, plans: Sequence[JobPlan]) -> str:
    """A limit that holds, where there is one job; else how much of it all would fit."""
    if len(plans) == 1:
        fits = plans[0].rows_that_fit(left)
        if fits:
            return f"The first {fits:,} rows would fit: --limit {fits}. Or raise the limit. Nothing was sent."
        return "Not even the first row would fit. Raise the limit. Nothing was sent."
    fitting = [plan.job for plan in plans if (plan.ceiling_pico_usd or 0) <= left and plan.requests_to_send]
    alone = f"Alone would fit: {', '.join(fitting)}. " if fitting else ""
    return f"{alone}Select fewer jobs or rows (--limit), or raise the limit. Nothing was sent."


CANARY_MAX_FAILED = 0.2
CANARY_MAX_OVER_ESTIMATE = 1.5


def came_to_nothing(phase: Phase, before: Brought, after: Brought) -> bool:
    """Whether rows that were to write the cache failed in a way that says nothing of the others, e.g. overloaded."""
    results = after.results - before.results
    return phase.name.startswith("prime") and results > 0 and after.transient - before.transient == results


def check_gate(plan: JobPlan, phase: Phase, before: Brought, after: Brought) -> None:
    """Whether the next phase may follow, given what a phase's results came to.

    Raises:
        BudgetExceeded: BF804
    """
    results, failed = (
        after.results - before.results,
        (after.results - after.answered) - (before.results - before.answered),
    )
    unbilled = (after.results - after.billed) - (before.results - before.billed)
    cost = after.cost_pico_usd - before.cost_pico_usd
    expected = (plan.estimate.expected_pico_usd or 0) * plan.share_of(phase)
    problem = ""
    if phase.name.startswith("prime") and results and unbilled == results:
        problem = "the row that went first was not answered"
    elif phase.name == "canary" and failed > CANARY_MAX_FAILED * max(results, 1):
        problem = f"{failed:,} of the {results:,} rows that went first failed"
    elif phase.name == "canary" and expected and cost > CANARY_MAX_OVER_ESTIMATE * expected:
        problem = f"the rows that went first cost {usd_words(cost)}, {usd_words(round(expected))} was expected"
    if problem:
        raise BudgetExceeded(
            "BF804",
            f"{plan.job}: {problem}, so the other {plan.requests_after(phase):,} were not sent",
            hint="`batchforge status` and the rejected rows tell why. What was learnt is used by the next run; "
            "`canary: off` sends everything at once.",
        )
