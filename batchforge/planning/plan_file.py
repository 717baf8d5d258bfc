"""Plans -> a file that can be reviewed and approved; and the check that a run stays within what was approved.

The file holds hashes and counts, no prompts and no secrets. It binds to the requests, the prices and the target. A run
keeps to it if everything it would send was in the plan, and costs no more at most; a commit that moved is reported,
not refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from batchforge.errors import BudgetExceeded, Problem, UsageError
from batchforge.planning.plan_values import plan_value
from batchforge.planning.planner import JobPlan
from batchforge.planning.waiting import WaitingJob, waiting_value
from batchforge.selection.deferral import Deferral
from batchforge.state.records import ManifestRow
from batchforge.usd import usd_apart, usd_words

PLAN_VERSION = 1
_HASH_BYTES = 12


@dataclass(frozen=True, slots=True)
class Binding:
    """What a plan holds to besides its requests."""

    target: str
    origin: str
    prices: Mapping[str, str]
    """Job -> fingerprint of its model's prices."""


@dataclass(frozen=True, slots=True)
class PlannedOptions:
    """How a plan was asked for, so that the run of it asks for the same rows."""

    limit: int | None = None
    sample: int | None = None
    full_refresh: bool = False
    deferral: Deferral | None = None

    def to_json(self) -> dict[str, Any]:
        deferral = self.deferral.to_json() if self.deferral else None
        return {"limit": self.limit, "sample": self.sample, "full_refresh": self.full_refresh, "deferral": deferral}


@dataclass(frozen=True, slots=True)
class SavedPlan:
    plan_hash: str
    binding: Binding
    options: PlannedOptions
    jobs: Mapping[str, Mapping[str, Any]]
    commit: str
    state_serial: int | None


def plan_document(
    plans: Sequence[JobPlan],
    notes: Mapping[str, Sequence[str]],
    binding: Binding,
    options: PlannedOptions,
    *,
    project: str,
    prices_as_of: str,
    commit: str,
    state_serial: int | None,
    waiting: Sequence[WaitingJob] = (),
    snapshots: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    bodies: bool = False,
) -> dict[str, Any]:
    """The JSON value of a plan; `bodies` puts every request into it, prompts and rows included."""
    read = snapshots or {}
    jobs = {plan.job: _job_entry(plan, notes.get(plan.job, ()), read.get(plan.job, ()), bodies) for plan in plans}
    return {
        "plan_version": PLAN_VERSION,
        "batchforge_version": version("batchforge"),
        "project": project,
        "commit": commit,
        "state_serial": state_serial,
        "prices_as_of": prices_as_of,
        **asdict(binding),
        "options": options.to_json(),
        "plan_hash": _plan_hash(binding, jobs),
        "jobs": jobs,
        "waiting": waiting_value(waiting),
    }


def read_plan(path: Path) -> SavedPlan:
    """
    Raises:
        UsageError: BF808 not a plan.
    """
    try:
        value = msgspec.json.decode(path.read_bytes())
        if value["plan_version"] != PLAN_VERSION:
            raise ValueError(f"its version is {value['plan_version']}, this one reads {PLAN_VERSION}")
        binding = Binding(value["target"], value["origin"], dict(value["prices"]))
        deferral = value["options"].get("deferral")
        options = PlannedOptions(**{**value["options"], "deferral": Deferral(**deferral) if deferral else None})
        if value["plan_hash"] != _plan_hash(binding, value["jobs"]):
            raise ValueError("it was edited, so that its hash is another")
        return SavedPlan(
            value["plan_hash"], binding, options, dict(value["jobs"]), value["commit"], value["state_serial"]
        )
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as exc:
        raise UsageError("BF808", f"{path} is not a plan: {exc}", hint="Make it with `batchforge plan --out`.") from exc


def _plan_hash(binding: Binding, jobs: Mapping[str, Mapping[str, Any]]) -> str:
    """Of everything that a run is held to."""
    bound = {
        **asdict(binding),
        "jobs": {name: [job["requests"], job["ceiling_pico_usd"], job["steps"]] for name, job in jobs.items()},
    }
    return hashlib.sha256(msgspec.json.encode(bound, order="deterministic")).hexdigest()


def moved_since(saved: SavedPlan, commit: str, state_serial: int) -> list[str]:
    """What has moved without making a difference to what may be sent."""
    moved = []
    if commit != saved.commit:
        moved.append(f"the plan was made at commit {saved.commit or 'none'}, this is {commit or 'none'}")
    if state_serial != (saved.state_serial or 0):
        moved.append("other requests have been sent since the plan was made")
    return moved


def check_within(saved: SavedPlan, plans: Sequence[JobPlan], binding: Binding) -> None:
    """
    Raises:
        BudgetExceeded: BF807, with everything that goes beyond the plan.
    """
    held = saved.binding
    problems = [
        Problem("BF807", f"the {what} is {now}, in the plan it was {then}")
        for what, now, then in (("target", binding.target, held.target), ("origin", binding.origin, held.origin))
        if now != then
    ]
    for plan in plans:
        if plan.requests_to_send and plan.job in held.prices and binding.prices[plan.job] != held.prices[plan.job]:
            problems.append(Problem("BF807", f"{plan.job}: the prices have changed since the plan was made"))
        problems += _beyond(saved.jobs.get(plan.job), plan)
    if problems:
        error = BudgetExceeded("BF807", "")
        hint = "Nothing was sent. Make a new plan and have it approved."
        error.problems = tuple(Problem(p.code, p.message, hint=hint) for p in problems)
        raise error


def _beyond(approved: Mapping[str, Any] | None, plan: JobPlan) -> Iterable[Problem]:
    if not plan.requests_to_send:
        return
    if approved is None:
        yield Problem("BF807", f"{plan.job} is not in the plan, and would send {plan.requests_to_send:,} requests")
        return
    known = _approved_hashes(approved, plan)
    other = [] if known is None else [row.row.key for row in plan.to_send() if not _is_in(row.row, known, plan)]
    if other:
        message = f"{plan.job}: {len(other):,} requests are not in the plan, first that of row {other[0]}"
        yield Problem("BF807", message)
    ceiling, most = plan.ceiling_pico_usd, approved["ceiling_pico_usd"]
    if most is not None and (ceiling is None or ceiling > most):
        now, then = ("no upper bound", usd_words(most)) if ceiling is None else usd_apart(ceiling, most)
        yield Problem("BF807", f"{plan.job}: at most {now} now, {then} in the plan")


def _approved_hashes(approved: Mapping[str, Any], plan: JobPlan) -> set[bytes] | None:
    """Of all that may be sent now; None for a turn that was approved: what it sends could not be known."""
    step = plan.compiled.spec.step
    number = step.number if step is not None else approved["step"]
    if number in (None, approved["step"]):
        return _hashes(base64.b64decode(approved["requests"]))
    planned = next((each for each in approved["steps"] if each["step"] == number), None)
    if planned is None:
        return set()
    return None if planned["kind"] == "turn" else _hashes(base64.b64decode(planned["requests"]))


def _is_in(row: ManifestRow, known: Collection[bytes], plan: JobPlan) -> bool:
    """Whether the plan holds the request, or that which its answer was invalid to: its ceiling counts both."""
    retries = plan.compiled.spec.output.retries
    lowest = 0 if 0 < row.ordinal <= retries else row.ordinal
    return any(_hash(row.request_id, ordinal) in known for ordinal in range(lowest, row.ordinal + 1))


def _job_entry(
    plan: JobPlan, notes: Sequence[str], snapshots: Sequence[Mapping[str, Any]], bodies: bool
) -> dict[str, Any]:
    requests = base64.b64encode(request_hashes(plan)).decode()
    entry = plan_value(plan) | {"notes": list(notes), "snapshots": list(snapshots), "requests": requests}
    for value, later in zip(entry["steps"], plan.outlook.later if plan.outlook else (), strict=True):
        value["requests"] = base64.b64encode(later.requests).decode()
    if bodies:
        fill = plan.compiled.template.skeleton.fill
        entry["bodies"] = [msgspec.json.decode(fill(row.pieces or ())) for row in plan.to_send()]
    return entry


def request_hashes(plan: JobPlan) -> bytes:
    """Of what a plan sends, one after the other."""
    return b"".join(sorted(_hash(planned.row.request_id, planned.row.ordinal) for planned in plan.to_send()))


def _hash(request_id: bytes | None, ordinal: int) -> bytes:
    return hashlib.sha256((request_id or b"") + ordinal.to_bytes(4, "big")).digest()[:_HASH_BYTES]


def _hashes(joined: bytes) -> set[bytes]:
    return {joined[start : start + _HASH_BYTES] for start in range(0, len(joined), _HASH_BYTES)}
