"""What was spent, from a state: usage and stored costs summed by whatever tells them apart, in a stream.

Cost is linear in tokens within one model, mode, place and price tier, so the sums lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batchforge.results import UNBILLED, Usage
from batchforge.state.sql_state import SqlState


@dataclass(frozen=True, slots=True)
class SpentGroup:
    """Results of one attempt that are alike in all that decides their price."""

    attempt_id: int
    job: str
    run_id: str
    target: str
    mode: str
    commit: str
    day: str
    """In UTC: when their batch ended; for single requests, and where that is not known, when they were stored."""
    model: str
    """As the answers name it; where there is none, as it was asked for."""
    inference_geo: str | None
    tier: int
    """How many of the tier limits their prompts exceed."""
    is_billed: bool
    is_priced: bool
    """Whether a price was known when they were stored."""
    results: int
    unreadable: int
    """Those whose form was not understood: they may have been paid."""
    usage: Usage
    cost_pico_usd: int


@dataclass(frozen=True, slots=True)
class SettledAttempt:
    """What an attempt came to when its results were stored."""

    attempt_id: int
    day: str
    target: str
    billed_results: int
    cost_pico_usd: int


_UNBILLED_KINDS = ", ".join(f"'{kind.value}'" for kind in sorted(UNBILLED))
_PROMPT = "input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens"
# Attempts are few and results are many: sum first, join then.
_GROUPS = """
    SELECT g.attempt_id, a.job, a.run_id, a.target, a.mode, coalesce(u.git_commit, ''),
        substr(coalesce(b.ended_at, g.stored_day), 1, 10), coalesce(g.model, a.model), g.inference_geo, g.tier,
        g.is_billed, g.is_priced, g.results, g.unreadable, g.input_tokens, g.output_tokens, g.cache_read_tokens,
        g.cache_write_5m_tokens, g.cache_write_1h_tokens, g.web_searches, g.cost_pico_usd
    FROM (
        SELECT attempt_id, model, inference_geo, {tier} AS tier, substr(stored_at, 1, 10) AS stored_day,
            kind NOT IN ({unbilled}) AS is_billed, cost_pico_usd IS NOT NULL AS is_priced, count(*) AS results,
            sum(CASE WHEN error_type = 'unreadable_result' THEN 1 ELSE 0 END) AS unreadable,
            sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
            sum(cache_read_tokens) AS cache_read_tokens, sum(cache_write_5m_tokens) AS cache_write_5m_tokens,
            sum(cache_write_1h_tokens) AS cache_write_1h_tokens, sum(web_searches) AS web_searches,
            coalesce(sum(cost_pico_usd), 0) AS cost_pico_usd
        FROM results GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) g
    JOIN attempts a USING (attempt_id)
    LEFT JOIN batches b ON b.batch_id = a.batch_id
    LEFT JOIN runs u ON u.run_id = a.run_id
"""


_PLAIN_FIELDS = tuple(SpentGroup.__dataclass_fields__)[:14]


def spent_groups(state: SqlState, tier_limits: Sequence[int]) -> Iterator[SpentGroup]:
    """Everything that is stored. `tier_limits` are prompt sizes above which some model has another price."""
    tier = " + ".join(f"CASE WHEN {_PROMPT} > {limit:d} THEN 1 ELSE 0 END" for limit in tier_limits) or "0"
    for row in state.query(_GROUPS.format(tier=tier, unbilled=_UNBILLED_KINDS)):
        yield _group(row)


def _group(row: Sequence[Any]) -> SpentGroup:
    fields = dict(zip(_PLAIN_FIELDS, row, strict=False))
    flags = {name: bool(fields[name]) for name in ("is_billed", "is_priced")}
    return SpentGroup(**fields | flags, usage=Usage(*row[14:20]), cost_pico_usd=row[20])


def settled_attempts(state: SqlState) -> Iterator[SettledAttempt]:
    """Also those whose results have been pruned since."""
    rows = state.query(
        "SELECT a.attempt_id, substr(coalesce(b.ended_at, a.created_at), 1, 10), a.target, a.billed_results, "
        "coalesce(a.cost_pico_usd, 0) FROM attempts a LEFT JOIN batches b ON b.batch_id = a.batch_id "
        "WHERE a.billed_results IS NOT NULL"
    )
    return (SettledAttempt(*row) for row in rows)
