"""A project's states -> what was spent on the API, and what emulators' answers would have cost; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cache, partial

from batchforge.claude_models import price_table
from batchforge.errors import BatchForgeError
from batchforge.ledger.pricing import Pricing, tier_limits
from batchforge.ledger.reconciliation import Reconciliation, reconcile
from batchforge.ledger.spending import Period, Spending, SpendingSum
from batchforge.ledger.usage_export import ExportLine
from batchforge.project import Project
from batchforge.state.spending import SettledAttempt, SpentGroup, settled_attempts, spent_groups
from batchforge.state.stores import Opening, open_state
from batchforge.target import Target
from batchforge.targets import existing_state, has_state, state_url


@dataclass(frozen=True, slots=True)
class CostReport:
    period: Period
    by: Sequence[str]
    paid: Spending
    emulated: Spending
    """Emulated, not paid: what the emulators' answers would have cost."""
    left_out: Sequence[str]
    """Targets whose state cannot be read, with the reason."""
    doubts: Sequence[str]
    """Why some of the prices should not be relied on."""
    has_shared_tags: bool
    """Whether a job's results stand in several lines, since it has several tags."""


@dataclass(frozen=True, slots=True)
class StateFile:
    url: str
    opening: Opening
    is_emulated: bool


def cost_report(
    project: Project,
    tags: Mapping[str, Sequence[str]],
    target: Target | None,
    period: Period,
    by: Sequence[str],
    today: date,
) -> CostReport:
    """Of one target, or of all that the project's states know.

    Raises:
        UsageError: BF908 the target has no state yet.
    """
    files, left_out = _state_files(project, target)
    pricing_of = cache(partial(_pricing, project))
    sums = {is_emulated: SpendingSum(by, tags, tier_limits()) for is_emulated in (False, True)}

    def is_wanted(found: SpentGroup | SettledAttempt) -> bool:
        return period.holds(found.day) and (target is None or found.target == target.name)

    for file in files:
        with closing(open_state(file.url, file.opening)) as state:
            groups = spent_groups(state, tier_limits())
            sums[file.is_emulated].add(groups, settled_attempts(state), pricing_of, is_wanted)
    paid = sums[False].result()
    return CostReport(
        period=period,
        by=by,
        paid=paid,
        emulated=sums[True].result(),
        left_out=left_out,
        doubts=_doubts(paid, pricing_of, today),
        has_shared_tags="tag" in by and any(len(its_own) > 1 for its_own in tags.values()),
    )


def _doubts(paid: Spending, pricing_of: Callable[[str], Pricing], today: date) -> list[str]:
    tables = {(target, model): pricing_of(target).table for target, model in paid.models}
    found = {table.doubt(model, today) for (_, model), table in tables.items() if table.prices_of(model) is not None}
    return sorted(doubt for doubt in found if doubt is not None)


def reconciled(
    project: Project, target: Target | None, period: Period, exported: Iterator[ExportLine]
) -> Reconciliation:
    """What was paid, by the states, against the vendor's export."""
    files, _ = _state_files(project, target)
    groups = (
        group
        for file in files
        if not file.is_emulated
        for group in _groups_of(file)
        if target is None or group.target == target.name
    )
    return reconcile(groups, exported, period)


def _groups_of(file: StateFile) -> Iterator[SpentGroup]:
    with closing(open_state(file.url, file.opening)) as state:
        yield from spent_groups(state, tier_limits())


def _state_files(project: Project, target: Target | None) -> tuple[list[StateFile], list[str]]:
    """Each state once, though several targets may share it."""
    if target is not None:
        existing_state(project, target).close()
        return [_state_file(project, state_url(project, target), target)], []
    found: dict[str, StateFile] = {}
    left_out = []
    for candidate in project.targets.values():
        try:
            url, is_there = state_url(project, candidate), has_state(project, candidate)
        except BatchForgeError as exc:
            left_out.append(f"{candidate.name}: {exc.problems[0].message}")
            continue
        if is_there and url not in found:
            found[url] = _state_file(project, url, candidate)
    return list(found.values()), left_out


def _state_file(project: Project, url: str, target: Target) -> StateFile:
    opening = Opening(read_only=True, folder=project.state_folder)
    with closing(open_state(url, opening)) as state:
        origin = state.origin()
    return StateFile(url, opening, (origin.kind if origin else target.type) == "emulator")


def _pricing(project: Project, target_name: str) -> Pricing:
    """A target that is not in the project any more has the project's prices."""
    target = project.targets.get(target_name)
    return Pricing(project.price_table(target) if target else price_table(project.prices))
