"""How a run stands that never said how it ended: by its process, and by its leases where that is elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from batchforge.state.holders import this_holder
from batchforge.state.records import Lease, RunRecord
from batchforge.state.run_status import as_it_stands, status_words

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUN = RunRecord("r1", "2026-11-24T11:00:00Z", "run", "prod", ("about",), holder="elsewhere:7:1")


def lease(holder: str, expires_at: str) -> Lease:
    return Lease("submit", 1, holder, "", "", "", RUN.started_at, RUN.started_at, expires_at)


@pytest.mark.parametrize(
    ("holder", "expires_at", "status"),
    [
        (this_holder(), "2026-11-24T11:30:00Z", "running"),
        (f"{this_holder()}0", "2026-11-24T12:30:00Z", "broke_off"),
        ("elsewhere:7:1", "2026-11-24T12:30:00Z", "running"),
        ("elsewhere:7:1", "2026-11-24T11:30:00Z", "unknown"),
        ("", "2026-11-24T12:30:00Z", "unknown"),
    ],
    ids=["this process", "one that is gone", "elsewhere with a lease", "elsewhere without", "not recorded"],
)
def test_a_run_stands_as_its_process_does(holder: str, expires_at: str, status: str) -> None:
    assert as_it_stands(replace(RUN, holder=holder), [lease("elsewhere:7:1", expires_at)], NOW).status == status


def test_a_run_that_has_ended_stays_as_it_ended() -> None:
    assert as_it_stands(replace(RUN, status="failed"), [], NOW).status == "failed"
    assert (status_words("failed"), status_words("broke_off")) == ("failed", "broke off")
