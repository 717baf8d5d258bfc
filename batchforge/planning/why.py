"""One row's request as it is now and as it was asked before -> which parts changed, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import msgspec

from batchforge.planning.plan_rows import PlannedRow
from batchforge.planning.planner import JobPlan
from batchforge.requests.readable_request import readable_lines
from batchforge.state.records import StateReader


@dataclass(frozen=True, slots=True)
class Why:
    key: str
    place: str
    action: str
    reason: str
    diff: tuple[str, ...]
    """Unified, of the request as a person reads it; empty where there is nothing to compare with."""


def explain_row(plan: JobPlan, planned: PlannedRow, state: StateReader | None, target: str) -> Why:
    """Why a row is sent, reused or waited for."""
    row = planned.row
    before = _request_before(state, target, plan.job, row.key)
    now = _request_now(plan, planned)
    diff: tuple[str, ...] = ()
    if before is not None and now is not None and before != now:
        diff = tuple(unified_diff(readable_lines(before), readable_lines(now), "asked before", "now", lineterm=""))
    return Why(row.key, row.place, planned.action.value, planned.reason, diff)


def _request_before(state: StateReader | None, target: str, job: str, key: str) -> Mapping[str, Any] | None:
    manifest = state.manifest(target, job) if state else None
    if state is None or manifest is None:
        return None
    old = state.rows_by_key(manifest.manifest_id, [key]).get(key)
    asked = state.asked(old.request_id) if old and old.request_id else None
    return msgspec.json.decode(asked.body) if asked else None


def _request_now(plan: JobPlan, planned: PlannedRow) -> Mapping[str, Any] | None:
    request_id = planned.row.request_id
    for row in plan.compiled.requests():
        if row.position == planned.row.position and request_id is not None:
            return plan.compiled.params_of(row)  # type: ignore[arg-type]
    return None
