"""What the emulator was asked to do and what it billed, counted from its store: survives a kill, one for all."""

from __future__ import annotations

from dataclasses import dataclass

from batchforge.emulator.store import Store

_REQUESTS = """
SELECT
    (SELECT COUNT(*) FROM batches WHERE others = 0) AS batches_created,
    (SELECT COALESCE(SUM(requests), 0) FROM batches WHERE others = 0) AS requests_accepted,
    (SELECT COUNT(*) FROM (SELECT 1 FROM requests GROUP BY custom_id HAVING COUNT(*) > 1)) AS submitted_twice,
    (SELECT COUNT(*) FROM (
        SELECT 1 FROM outcomes WHERE billed = 1 AND custom_id IS NOT NULL GROUP BY custom_id HAVING COUNT(*) > 1
    )) AS billed_twice
"""
_OUTCOMES = """
SELECT
    COALESCE(SUM(kind = 'message'), 0) AS messages_answered,
    COALESCE(SUM(kind = 'succeeded'), 0) AS requests_succeeded,
    COALESCE(SUM(kind = 'errored'), 0) AS requests_errored,
    COALESCE(SUM(kind = 'canceled'), 0) AS requests_canceled,
    COALESCE(SUM(kind = 'expired'), 0) AS requests_expired,
    COALESCE(SUM(billed), 0) AS requests_billed,
    COALESCE(SUM(input_tokens), 0) AS input_tokens,
    COALESCE(SUM(cache_write_5m_tokens), 0) AS cache_write_5m_tokens,
    COALESCE(SUM(cache_write_1h_tokens), 0) AS cache_write_1h_tokens,
    COALESCE(SUM(cache_read_tokens), 0) AS cache_read_tokens,
    COALESCE(SUM(output_tokens), 0) AS output_tokens,
    COALESCE(SUM(billed_usd), 0.0) AS billed_usd
FROM outcomes
"""


@dataclass(frozen=True, slots=True)
class Counters:
    batches_created: int
    requests_accepted: int
    """Rows of batches."""
    messages_answered: int
    """Synchronous messages."""
    requests_succeeded: int
    requests_errored: int
    requests_canceled: int
    requests_expired: int
    requests_billed: int
    """Rows of batches and synchronous messages."""
    custom_ids_submitted_twice: int
    """custom_ids that were accepted more than once."""
    custom_ids_billed_twice: int
    """custom_ids that were billed more than once."""
    input_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cache_read_tokens: int
    output_tokens: int
    billed_usd: float


def read_counters(store: Store) -> Counters:
    with store.transaction():
        requests, outcomes = store.rows(_REQUESTS)[0], store.rows(_OUTCOMES)[0]
    return Counters(
        batches_created=requests["batches_created"],
        requests_accepted=requests["requests_accepted"],
        custom_ids_submitted_twice=requests["submitted_twice"],
        custom_ids_billed_twice=requests["billed_twice"],
        **{name: outcomes[name] for name in outcomes.keys()},  # noqa: SIM118  (a Row is no mapping)
    )
