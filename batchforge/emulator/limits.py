"""Rate and queue limits of a tier: what the headers say, and the 429 where they are enforced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from batchforge.emulator.api_fault import rate_limited
from batchforge.emulator.clock import ServerClock, header_time
from batchforge.emulator.http_messages import Refused
from batchforge.emulator.scenario import Scenario
from batchforge.emulator.store import Store

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Limits:
    requests_per_minute: int
    queued_requests: int


TIERS: Mapping[str, Limits] = {
    "start": Limits(1_000, 200_000),
    "build": Limits(2_000, 300_000),
    "scale": Limits(4_000, 500_000),
}
CUSTOM = Limits(20_000, 1_000_000)
"""Shown where no tier was chosen."""
TOKENS_PER_MINUTE = 10_000_000


class RateLimits:
    def __init__(self, scenario: Scenario, store: Store, clock: ServerClock) -> None:
        tier = TIERS.get(scenario.tier or "", CUSTOM)
        self._store, self._clock = store, clock
        self._per_minute = scenario.requests_per_minute or tier.requests_per_minute
        self._queued = scenario.queued_requests or tier.queued_requests
        self._per_minute_counts = bool(scenario.tier or scenario.requests_per_minute)
        self.is_queue_limited = bool(scenario.tier or scenario.queued_requests)

    def take(self, workspace: str, group: str) -> dict[str, str]:
        """Counts one request and gives the headers of its answer; refuses it when there are too many this minute."""
        now_s = self._clock.now_s()
        used = self._count(workspace, group, int(now_s // MINUTE_S))
        headers = self._headers(group, used, now_s)
        if self._per_minute_counts and used > self._per_minute:
            left_s = MINUTE_S - now_s % MINUTE_S
            raise Refused(
                rate_limited(
                    "This request would exceed your organization's rate limit of "
                    f"{self._per_minute:,} requests per minute. Please try again later."
                ),
                {**headers, "retry-after": str(ceil(left_s))},
            )
        return headers

    def check_queue(self, queued: int, more: int) -> None:
        if self.is_queue_limited and queued + more > self._queued:
            raise Refused(
                rate_limited(
                    f"This batch would exceed your organization's limit of {self._queued:,} batch requests in the "
                    f"processing queue: {queued:,} are queued already. Please try again later."
                ),
                {"retry-after": str(MINUTE_S)},
            )

    def _count(self, workspace: str, group: str, minute: int) -> int:
        with self._store.transaction():
            self._store.execute("DELETE FROM minutes WHERE minute <> ?", minute)
            self._store.execute(
                "INSERT INTO minutes VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET requests = requests + 1",
                workspace,
                group,
                minute,
            )
            return int(
                self._store.value("SELECT requests FROM minutes WHERE workspace = ? AND endpoint = ?", workspace, group)
            )

    def _headers(self, group: str, used: int, now_s: float) -> dict[str, str]:
        reset = header_time(now_s - now_s % MINUTE_S + MINUTE_S)
        headers = _three("requests", self._per_minute, max(0, self._per_minute - used), reset)
        if group == "messages":
            for kind in ("tokens", "input-tokens", "output-tokens"):
                headers |= _three(kind, TOKENS_PER_MINUTE, TOKENS_PER_MINUTE, reset)
        return headers


def _three(kind: str, limit: int, remaining: int, reset: str) -> dict[str, str]:
    name = f"anthropic-ratelimit-{kind}"
    return {f"{name}-limit": str(limit), f"{name}-remaining": str(remaining), f"{name}-reset": reset}
