"""The brake against simulated servers: fixed windows and buckets, with and without headers that announce the limit."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from math import ceil, floor, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.backends.base import Pace, Quota
from batchforge.execution.brake import Brake
from batchforge.results import Usage

WINDOW_S = 60.0


@dataclass
class Server:
    """Takes `limit` requests a minute; says so in its headers, or not."""

    limit: int
    announces: bool = True
    is_bucket: bool = False
    taken: Counter[int] = field(default_factory=Counter)
    level: float = 0.0
    refilled_at: float = 0.0
    refusals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.level = self.limit

    def take(self, now: float) -> tuple[bool, Pace]:
        return self._from_bucket(now) if self.is_bucket else self._from_window(now)

    def _from_window(self, now: float) -> tuple[bool, Pace]:
        window = int(now // WINDOW_S)
        self.taken[window] += 1
        left = self.limit - self.taken[window]
        resets = (window + 1) * WINDOW_S
        return self._reply(now, left >= 0, max(0, left), resets, resets - now)

    def _from_bucket(self, now: float) -> tuple[bool, Pace]:
        rate = self.limit / WINDOW_S
        self.level = min(self.limit, self.level + (now - self.refilled_at) * rate)
        self.refilled_at = now
        is_taken = self.level >= 1
        self.level -= is_taken
        resets = now + (self.limit - self.level) / rate
        return self._reply(now, is_taken, floor(self.level), resets, (1 - self.level) / rate)

    def _reply(self, now: float, is_taken: bool, left: int, resets: float, retry_s: float) -> tuple[bool, Pace]:
        if not is_taken:
            self.refusals.append(now)
        # As in HTTP: whole seconds, and the time left counted from a Date header that was rounded down.
        quota = Quota("requests", self.limit, left, float(floor(resets)), max(0.0, floor(resets) - floor(now)))
        return is_taken, Pace(None if is_taken else float(ceil(retry_s)), (quota,) if self.announces else ())


def seconds_for(server: Server, requests: int, *, concurrency: int, answer_s: float, start_s: float = 7.0) -> float:
    """How long the server's client takes for so many answers."""
    brake, now, to_send, numbers = Brake(concurrency), start_s, requests, iter(range(1_000_000))
    under_way: list[tuple[float, int, int, bool, Pace]] = []
    while to_send or under_way:
        delay = brake.delay_s(now) if to_send else inf
        if delay == 0:
            is_taken, pace = server.take(now)
            heapq.heappush(
                under_way, (now + (answer_s if is_taken else 0.01), next(numbers), brake.sent(now), is_taken, pace)
            )
            to_send -= 1
            continue
        arrives = under_way[0][0] if under_way else inf
        assert min(arrives, now + delay) < inf, "nothing can ever happen again"
        if now + delay < arrives:
            now += delay
            continue
        now, _, epoch, is_taken, pace = heapq.heappop(under_way)
        if is_taken:
            brake.answered(epoch, now, pace, Usage(100, 10))
        else:
            brake.refused(epoch, now, pace, is_limit=True)
            to_send += 1
    assert brake.in_flight == 0
    return now - start_s


def fastest_s(server: Server, requests: int, *, concurrency: int, answer_s: float, start_s: float = 7.0) -> float:
    """What the limit and the number of workers allow."""
    by_workers = requests / concurrency * answer_s
    if server.is_bucket:
        return max(by_workers, (requests - server.limit) / (server.limit / WINDOW_S)) + answer_s
    windows = ceil(requests / server.limit) - 1
    by_limit = windows * WINDOW_S - (start_s % WINDOW_S) if windows else 0.0
    return max(by_workers, by_limit) + answer_s


def most_refusals_in_a_later_window(server: Server) -> int:
    windows = Counter(int(at // WINDOW_S) for at in server.refusals)
    return max((count for window, count in windows.items() if window != min(windows)), default=0)


@pytest.mark.parametrize("limit", [5, 50, 1_000])
@pytest.mark.parametrize("concurrency", [1, 8, 32])
@pytest.mark.parametrize("answer_s", [0.05, 2.0])
def test_an_announced_limit_is_kept_and_used_up(limit: int, concurrency: int, answer_s: float) -> None:
    server = Server(limit)
    requests = int(limit * 4.5)
    took = seconds_for(server, requests, concurrency=concurrency, answer_s=answer_s)
    assert most_refusals_in_a_later_window(server) <= 1
    assert len(server.refusals) <= max(0, concurrency - limit)
    assert took <= 1.2 * fastest_s(server, requests, concurrency=concurrency, answer_s=answer_s) + 2 * answer_s + 2


@pytest.mark.parametrize("limit", [50, 1_000])
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_a_bucket_is_noticed_and_drunk_as_it_fills(limit: int, concurrency: int) -> None:
    server = Server(limit, is_bucket=True)
    requests = int(limit * 3.5)
    took = seconds_for(server, requests, concurrency=concurrency, answer_s=0.2)
    assert len(server.refusals) <= 3
    assert took <= 1.2 * fastest_s(server, requests, concurrency=concurrency, answer_s=0.2) + 2


@pytest.mark.parametrize("limit", [50, 300])
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_a_limit_that_is_not_announced_is_learnt(limit: int, concurrency: int) -> None:
    server = Server(limit, announces=False)
    requests = limit * 5
    took = seconds_for(server, requests, concurrency=concurrency, answer_s=0.1, start_s=0.0)
    assert most_refusals_in_a_later_window(server) <= 1
    assert took <= 1.2 * fastest_s(server, requests, concurrency=concurrency, answer_s=0.1, start_s=0.0) + 2


@settings(max_examples=150, deadline=None)
@given(
    limit=st.integers(1, 200),
    concurrency=st.integers(1, 64),
    answer_s=st.floats(0.01, 20),
    announces=st.booleans(),
    is_bucket=st.booleans(),
    start_s=st.floats(0, 59),
)
def test_everything_is_answered_whatever_the_limit(
    limit: int, concurrency: int, answer_s: float, announces: bool, is_bucket: bool, start_s: float
) -> None:
    server = Server(limit, announces, is_bucket)
    seconds_for(server, limit * 3 + 1, concurrency=concurrency, answer_s=answer_s, start_s=start_s)
    if announces and not is_bucket:
        assert most_refusals_in_a_later_window(server) <= 1


def test_nobody_sends_before_the_time_that_a_refusal_names() -> None:
    brake = Brake(8)
    epochs = [brake.sent(0.0) for _ in range(8)]
    pulls = [brake.refused(epoch, 1.0, Pace(30.0), is_limit=True) for epoch in epochs]
    assert pulls == [True] + [False] * 7
    assert brake.delay_s(1.0) == 30.0
    assert brake.delay_s(31.0) == 0.0


def test_after_a_refusal_one_request_goes_first() -> None:
    brake = Brake(8)
    brake.refused(brake.sent(0.0), 0.0, Pace(1.0), is_limit=True)
    epoch = brake.sent(1.0)
    assert brake.delay_s(1.0) == 1.0
    brake.answered(epoch, 1.5, Pace(), Usage())
    assert brake.delay_s(1.5) == 0.0


def test_the_others_follow_when_the_first_was_not_refused_at_once() -> None:
    brake = Brake(8)
    brake.refused(brake.sent(0.0), 0.0, Pace(1.0), is_limit=False)
    brake.sent(1.0)
    assert brake.delay_s(2.1) == 0.0


def test_refusals_without_a_time_wait_longer_each_time() -> None:
    brake, now, waits = Brake(2), 0.0, []
    for _ in range(8):
        brake.refused(brake.sent(now), now, Pace(), is_limit=False)
        waits.append(brake.delay_s(now))
        now += waits[-1]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_tokens_that_are_left_are_shared_out_by_what_an_answer_took() -> None:
    brake = Brake(8)
    quota = Quota("output-tokens", 10_000, 2_500, 60.0, 60.0)
    brake.answered(brake.sent(0.0), 0.0, Pace(quotas=(quota,)), Usage(10, 1_000))
    assert brake.delay_s(0.0) == 0.0
    brake.sent(0.0)
    assert brake.delay_s(0.0) == 0.0
    brake.sent(0.0)
    assert brake.delay_s(0.0) == 60.0


def test_more_than_the_concurrency_is_never_in_flight() -> None:
    brake = Brake(2)
    brake.sent(0.0)
    brake.sent(0.0)
    assert brake.delay_s(0.0) == inf
