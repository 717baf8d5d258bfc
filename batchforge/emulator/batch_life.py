"""The life of a batch as a function of stored facts and a moment: status, when each row ends, and how it ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from random import Random
from typing import Literal

import msgspec

from batchforge.emulator.scenario import Scenario

EXPIRY_S = 24 * 3600.0
ARCHIVE_S = 29 * 24 * 3600.0
WAIT_SHARE = 0.25
"""The share of a row's time before its answer begins; from then on its cache entry can be read."""

Status = Literal["in_progress", "canceling", "ended"]


class Traits(msgspec.Struct, frozen=True):
    """What was fixed when the batch was created."""

    processing_time_s: float
    cancel_time_s: float
    parallelism: int
    counts_move: bool
    order: Literal["shuffled", "as_sent", "reversed"]
    seed: int
    api_version: str
    betas: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, api_version: str, betas: frozenset[str]) -> Traits:
        return cls(
            processing_time_s=scenario.processing_time_s,
            cancel_time_s=scenario.cancel_time_s,
            parallelism=max(1, scenario.parallelism),
            counts_move=scenario.counts == "move",
            order=scenario.result_order,
            seed=scenario.seed,
            api_version=api_version,
            betas=tuple(sorted(betas)),
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """When one row is processed, by the emulator's clock."""

    started_s: float
    answer_begins_s: float
    ended_s: float
    worker: int
    """Which of the `parallelism` workers processes it."""


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What is stored of a batch."""

    no: int
    id: str
    workspace: str
    traits: Traits
    requests: int
    created_s: float
    cancel_initiated_s: float | None
    decided: int
    """Rows whose result is stored."""
    results_bytes: int
    succeeded: int
    errored: int
    canceled: int
    expired: int
    is_others: bool
    """Sent by other people in the workspace: not counted, not billed to us."""

    @property
    def expires_s(self) -> float:
        return self.created_s + EXPIRY_S

    @property
    def stops_s(self) -> float:
        """From here on no row is processed any more."""
        ends = [self.created_s + self.traits.processing_time_s, self.expires_s]
        if self.cancel_initiated_s is not None:
            ends.append(self.cancel_initiated_s)
        return min(ends)

    @property
    def ends_s(self) -> float:
        if self.cancel_initiated_s is not None and self.stops_s == self.cancel_initiated_s:
            return self.stops_s + self.traits.cancel_time_s
        return self.stops_s

    @property
    def has_all_results(self) -> bool:
        return self.decided == self.requests

    def status(self, now_s: float) -> Status:
        if now_s >= self.ends_s and self.has_all_results:
            return "ended"
        return "canceling" if self.cancel_initiated_s is not None else "in_progress"

    def is_due(self, now_s: float) -> bool:
        """Its time is over, and its results are not all there yet."""
        return now_s >= self.ends_s and not self.has_all_results

    def is_archived(self, now_s: float) -> bool:
        return now_s >= self.created_s + ARCHIVE_S

    def counts(self, now_s: float) -> dict[str, int]:
        done = (self.succeeded, self.errored, self.canceled, self.expired)
        if self.status(now_s) != "ended" and not self.traits.counts_move:
            done = (0, 0, 0, 0)
        succeeded, errored, canceled, expired = done
        return {
            "processing": self.requests - sum(done),
            "succeeded": succeeded,
            "errored": errored,
            "canceled": canceled,
            "expired": expired,
        }


def processing_order(facts: BatchFacts) -> Sequence[int]:
    """Positions in the order in which they are processed, which is the order of the results."""
    return _order(facts.requests, facts.traits.order, f"{facts.traits.seed}:{facts.no}")


@lru_cache(maxsize=4)
def _order(requests: int, order: str, seed: str) -> Sequence[int]:
    positions = list(range(requests))
    if order == "reversed":
        positions.reverse()
    elif order == "shuffled":
        Random(seed).shuffle(positions)  # noqa: S311
    return positions


def slot(facts: BatchFacts, rank: int) -> Slot:
    """Rows start one after the other; each takes as long as `parallelism` of these steps.

    So start and end have the same order, and siblings that start before the first answer begins miss its cache entry.
    """
    row_s, parallelism = _row_s(facts), _parallelism(facts)
    started_s = facts.created_s + rank * row_s / parallelism
    return Slot(started_s, started_s + WAIT_SHARE * row_s, started_s + row_s, rank % parallelism)


def rows_done_by(facts: BatchFacts, moment_s: float) -> int:
    """How many rows, in processing order, were answered by then."""
    moment_s = min(moment_s, facts.stops_s)
    if moment_s >= facts.created_s + facts.traits.processing_time_s:
        return facts.requests
    row_s = _row_s(facts)
    rank = (moment_s - facts.created_s - row_s) * _parallelism(facts) / row_s
    return max(0, min(facts.requests, floor(rank) + 1))


def rows_due_by(facts: BatchFacts, moment_s: float) -> int:
    """How many rows must have a result by then: at the end also those that are canceled or expired."""
    return facts.requests if moment_s >= facts.ends_s else rows_done_by(facts, moment_s)


def _parallelism(facts: BatchFacts) -> int:
    return min(facts.traits.parallelism, facts.requests)


def _row_s(facts: BatchFacts) -> float:
    return facts.traits.processing_time_s / ((facts.requests - 1) / _parallelism(facts) + 1)


def how_it_stops(facts: BatchFacts) -> Literal["canceled", "expired"]:
    """What becomes of the rows that are not processed when the batch stops."""
    if facts.cancel_initiated_s is not None and facts.cancel_initiated_s < facts.expires_s:
        return "canceled"
    return "expired"
