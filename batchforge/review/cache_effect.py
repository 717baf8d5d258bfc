"""Plans of all rows, before and after -> what becomes of the cached prefix, in words."""

from __future__ import annotations

from batchforge.planning.planner import JobPlan
from batchforge.review.diff_values import CacheEffect, CacheSide


def cache_effect(old: JobPlan, new: JobPlan) -> CacheEffect:
    before, after = _side(old), _side(new)
    is_changed = _prefix(old) != _prefix(new)
    return CacheEffect(before, after, is_changed, _words(before, after, is_changed=is_changed))


def _side(plan: JobPlan) -> CacheSide:
    return CacheSide(round(plan.caching.prefix_tokens), plan.caching.is_cached, plan.caching.note)


def _prefix(plan: JobPlan) -> bytes:
    """What stands before the first text that differs by row."""
    return plan.compiled.template.skeleton.text.split(b"\0", 1)[0]


def _words(before: CacheSide, after: CacheSide, *, is_changed: bool) -> str:
    sizes = f"{before.prefix_tokens:,} → {after.prefix_tokens:,} tokens"
    if before.is_cached and not after.is_cached:
        return f"the shared prefix is no longer cached ({sizes}): {after.note}"
    if after.is_cached and not before.is_cached:
        return f"the shared prefix is cached now ({sizes})"
    if not after.is_cached:
        return f"not cached, before as now: {after.note}"
    if is_changed:
        return f"the cached prefix is another one ({sizes}), written anew by the next run"
    return f"the cached prefix stays as it is ({after.prefix_tokens:,} tokens)"
