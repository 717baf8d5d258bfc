"""Rules of `review: fail_on:` and a `ProjectDiff` -> which of them a change trips, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from batchforge.answers import INVALID
from batchforge.errors import BudgetExceeded, Problem, UsageError
from batchforge.nearest import did_you_mean
from batchforge.review.answer_values import FieldDiff, JobTestDiff, JobTestSide, Transition
from batchforge.review.diff_values import Cost, Gate, JobDiff, ProjectDiff
from batchforge.testing.outcome import ERROR, FAIL
from batchforge.usd import usd_words

Limit = float | bool

UNKNOWN = "not known here, so it cannot be held against the limit"
NO_ANSWERS = "no row has answers of both sides"
_HOST_SETTINGS = ("base_url", "type", "workspace_id", "added", "removed")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rule looks at: whether it is beyond the limit, and in words."""

    is_tripped: bool
    words: str


def check_gates(diff: ProjectDiff, rules: Iterable[tuple[str, Limit]]) -> list[Gate]:
    """Each rule once, tripped or not; a rule that is `false` is off."""
    gates = []
    for name, limit in dict.fromkeys(rules):
        if limit is not False:
            found = _CHECKS[name](diff, float(limit))
            gates.append(Gate(name, limit, found.is_tripped, found.words))
    return gates


def parse_rule(text: str) -> tuple[str, Limit]:
    """`rows_rerun=1000`, or `unpriced_model` alone.

    Raises:
        UsageError: BF925 there is no such rule, or its limit is no number.
    """
    name, separator, limit = text.partition("=")
    if name not in _CHECKS:
        hint = did_you_mean(name, _CHECKS) or f"Rules: {', '.join(_CHECKS)}."
        raise UsageError("BF925", f"There is no rule `{name}`.", hint=hint)
    if name in YES_OR_NO:
        if separator:
            raise UsageError("BF925", f"The rule `{name}` takes no limit.", hint=f"Write --fail-on {name}.")
        return name, True
    try:
        return name, _positive(limit)
    except ValueError as exc:
        hint = f"Write e.g. --fail-on {name}={_EXAMPLES[name]}."
        raise UsageError("BF925", f"The rule `{name}` needs a limit, a number from 0 up.", hint=hint) from exc


def _positive(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def gates_error(gates: Sequence[Gate]) -> BudgetExceeded | None:
    """BF830 for each rule that is tripped; None where none is."""
    tripped = [gate for gate in gates if gate.is_tripped]
    if not tripped:
        return None
    hint = "The rule stands under `review: fail_on:` in batchforge.yml, or was given with --fail-on."
    error = BudgetExceeded("BF830", gate_words(tripped[0]), hint=hint)
    error.problems = tuple(Problem("BF830", gate_words(gate), hint=hint) for gate in tripped)
    return error


def gate_words(gate: Gate) -> str:
    limit = "" if gate.limit is True else f" (limit {gate.limit:g})"
    return f"{gate.rule}{limit}: {gate.words}"


# ---- rules


def _change_cost(diff: ProjectDiff, limit: float) -> _Found:
    return _usd_above(diff.change.expected_pico_usd if diff.change else None, limit, "the next run pays {} more")


def _cost_increase_usd(diff: ProjectDiff, limit: float) -> _Found:
    before, after = _all_rows(diff)
    more = None if before is None or after is None else after - before
    return _usd_above(more, limit, "all rows, asked once, cost {} more")


def _cost_increase_percent(diff: ProjectDiff, limit: float) -> _Found:
    before, after = _all_rows(diff)
    if before is None or after is None:
        return _Found(True, f"what all rows cost is {UNKNOWN}")
    words = f"all rows, asked once, cost {usd_words(before)} before and {usd_words(after)} after"
    return _Found(after > before * (1 + limit / 100), words)


def _usd_above(pico: int | None, limit: float, words: str) -> _Found:
    if pico is None:
        return _Found(True, f"the cost is {UNKNOWN}")
    return _Found(pico > limit * 1e12, words.format(usd_words(max(pico, 0))))


def _all_rows(diff: ProjectDiff) -> tuple[int | None, int | None]:
    """What all rows of the changed jobs cost when each is asked once, before and after."""
    jobs = diff.asking_jobs
    return _summed(job.before for job in jobs), _summed(job.after for job in jobs)


def _summed(costs: Iterable[Cost | None]) -> int | None:
    total = 0
    for cost in costs:
        if cost is None or cost.expected_pico_usd is None:
            return None
        total += cost.expected_pico_usd
    return total


def _rows_rerun(diff: ProjectDiff, limit: float) -> _Found:
    jobs = [job for job in diff.asking_jobs if job.is_asked_anew]
    if any(job.rows is None for job in jobs):
        return _Found(True, f"the number of rows is {UNKNOWN}")
    rows = sum(job.rows.rerun for job in jobs if job.rows)
    at_most = "at most " if diff.is_at_most else ""
    return _Found(rows > limit, f"{at_most}{rows:,} {'row is' if rows == 1 else 'rows are'} asked again")


def _answers_changed(diff: ProjectDiff, limit: float) -> _Found:
    shares = [(_above_noise(field), job, field) for job in diff.jobs if job.answers for field in job.answers.fields]
    if not shares:
        return _Found(False, NO_ANSWERS)
    share, job, field = max(shares, key=lambda each: each[0])
    chance = "above chance" if field.noise else "chance was not measured"
    return _Found(share > limit, f"{job.job}, {field.name}: {share:.1%} of answers changed, {chance}")


def _above_noise(field: FieldDiff) -> float:
    """The share of answers that changed, less that which changes by asking twice."""
    noise = field.noise
    if noise is not None and noise.rows:
        return max(0.0, (noise.changed_by_edit - noise.changed_by_chance) / noise.rows) if noise.is_above else 0.0
    return field.changed / field.compared if field.compared else 0.0


def _accuracy_drop(diff: ProjectDiff, limit: float) -> _Found:
    drops = [(-job.answers.accuracy.difference, job) for job in diff.jobs if job.answers and job.answers.accuracy]
    if not drops:
        return _Found(False, f"{NO_ANSWERS} and a label")
    drop, job = max(drops, key=lambda each: each[0])
    words = f"falls by {drop:.1%}" if drop > 0 else "does not fall"
    return _Found(drop > limit, f"{job.job}: accuracy {words}")


def _new_schema_violations(diff: ProjectDiff, limit: float) -> _Found:
    compared = [job for job in diff.jobs if job.answers]
    if not compared:
        return _Found(False, NO_ANSWERS)
    rows = sum(change.rows for job in compared for change in _statuses(job) if change.after == INVALID)
    return _Found(rows > limit, f"{rows:,} {'answer breaks' if rows == 1 else 'answers break'} the schema that did not")


def _statuses(job: JobDiff) -> Sequence[Transition]:
    return job.answers.statuses if job.answers else ()


def _new_test_failures(diff: ProjectDiff, limit: float) -> _Found:
    """A test of severity warn warns, and does not fail; one that can be worked out no more counts as failing."""
    compared = [job for job in diff.jobs if job.answers]
    if not compared:
        return _Found(False, NO_ANSWERS)
    found = [(job, test) for job in compared for test in _tests(job) if _is_failing(test.after)]
    new = [f"{job.job}/{test.name}" for job, test in found if not _is_failing(test.before)]
    words = f"{len(new):,} {'test fails' if len(new) == 1 else 'tests fail'} that did not"
    return _Found(len(new) > limit, f"{words}: {', '.join(new)}" if new else words)


def _tests(job: JobDiff) -> Sequence[JobTestDiff]:
    return job.answers.tests if job.answers else ()


def _is_failing(side: JobTestSide) -> bool:
    return side.status in (FAIL, ERROR)


def _unpriced_model(diff: ProjectDiff, _: float) -> _Found:
    jobs = [job for job in diff.asking_jobs if job.is_asked_anew and _is_unpriced(job)]
    words = ", ".join(f"{job.job} uses {job.model}" for job in jobs)
    return _Found(bool(jobs), f"no price is known: {words}" if jobs else "every model has a price")


def _is_unpriced(job: JobDiff) -> bool:
    return any(cost is not None and cost.expected_pico_usd is None for cost in (job.change, job.after))


def _changed_target(diff: ProjectDiff, _: float) -> _Found:
    return _edited(diff.target_changes)


def _changed_host(diff: ProjectDiff, _: float) -> _Found:
    return _edited([words for words in diff.target_changes if words.split(": ", 1)[-1] in _HOST_SETTINGS])


def _edited(changes: Sequence[str]) -> _Found:
    return _Found(bool(changes), f"edited: {', '.join(changes)}" if changes else "no edit")


_CHECKS: Mapping[str, Callable[[ProjectDiff, float], _Found]] = {
    "change_cost_usd": _change_cost,
    "cost_increase_usd": _cost_increase_usd,
    "cost_increase_percent": _cost_increase_percent,
    "rows_rerun": _rows_rerun,
    "answers_changed": _answers_changed,
    "accuracy_drop": _accuracy_drop,
    "new_schema_violations": _new_schema_violations,
    "new_test_failures": _new_test_failures,
    "unpriced_model": _unpriced_model,
    "changed_target": _changed_target,
    "changed_host": _changed_host,
}
YES_OR_NO = frozenset({"unpriced_model", "changed_target", "changed_host"})
_EXAMPLES = {
    "change_cost_usd": "20",
    "cost_increase_usd": "20",
    "cost_increase_percent": "10",
    "rows_rerun": "1000",
    "answers_changed": "0.05",
    "accuracy_drop": "0.01",
    "new_schema_violations": "0",
    "new_test_failures": "0",
}
