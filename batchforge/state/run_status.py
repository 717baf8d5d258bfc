"""A run as it was recorded -> how it stands: one that never said how it ended may have been killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from batchforge.clock import parse_iso
from batchforge.state.holders import is_alive_here
from batchforge.state.records import Lease, RunRecord

RUNNING = "running"
BROKE_OFF = "broke_off"
"""Its process is gone, and did not say how it ended."""
UNKNOWN = "unknown"
"""Its process is one of another machine, and gives no sign of life here."""
_WORDS = {BROKE_OFF: "broke off", UNKNOWN: "running, or broke off on another machine"}


def as_it_stands(run: RunRecord, leases: Sequence[Lease], now: datetime) -> RunRecord:
    """Nothing is written: that its process is gone may be known on one machine only."""
    return replace(run, status=_standing(run, leases, now)) if run.status == RUNNING else run


def status_words(status: str) -> str:
    return _WORDS.get(status, status)


def _standing(run: RunRecord, leases: Sequence[Lease], now: datetime) -> str:
    lives = is_alive_here(run.holder) if run.holder else None
    if lives is None:
        lives = any(lease.holder == run.holder and now < parse_iso(lease.expires_at) for lease in leases) or None
    return {True: RUNNING, False: BROKE_OFF, None: UNKNOWN}[lives]
