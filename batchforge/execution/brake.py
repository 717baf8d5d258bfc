"""When the next request may be sent: one brake for all workers. It is told what happened and when, and never waits.

Limits that a server announces are kept without running into them. Where it announces none, what went through before it
refused is taken for what it allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from batchforge.backends.base import Pace, Quota
from batchforge.results import Usage

_PROBE_S = 1.0
"""After a refusal one request goes first; if it is not refused within this time, the others follow."""
_LONGEST_BACKOFF_S = 60.0
_SHORTEST_WAIT_S = 0.05
_ROUNDING = 1e-9
_WINDOW_S = 60.0
"""Limits are per minute."""
_HEADER_STEP_S = 1.2
"""Dates in headers count whole seconds."""


@dataclass(slots=True)
class _Window:
    """One announced limit. Either it starts anew at a fixed time, or it fills up all the time (a bucket), which shows
    in a reset that moves on before it has come."""

    kind: str
    remaining: float
    limit: int | None
    resets: float
    resets_at: float
    told_at: float
    is_bucket: bool = False
    is_guessed: bool = False
    """Whether its present window was begun by our own clock and nothing has been said about it yet."""
    untold: int = 0
    """Answers since then that said nothing about the limit."""

    def take_in(self, quota: Quota, now: float) -> None:
        if quota.resets < self.resets:
            return  # said before what we know
        if quota.resets == self.resets:
            if self.is_bucket or quota.remaining < self.remaining:
                self.remaining, self.told_at, self.untold = quota.remaining, now, 0
            return
        self.is_bucket = self.is_bucket or (not self.is_guessed and now < self.resets_at - _HEADER_STEP_S)
        self.remaining, self.limit, self.resets = quota.remaining, quota.limit, quota.resets
        self.resets_at, self.told_at, self.untold, self.is_guessed = now + quota.reset_in_s, now, 0, False

    def delay_s(self, now: float, in_flight: int, need: float) -> float:
        if now >= self.resets_at:
            self._start_anew(now)
        taken = (in_flight + self.untold) * need
        missing = max(1.0, need) - (self.remaining + self._filled(now) - taken)
        if missing <= _ROUNDING:
            return 0.0
        rate = self._rate() if self.is_bucket else 0.0
        wait_s = self.resets_at - now
        return max(_SHORTEST_WAIT_S, min(wait_s, missing / rate) if rate else wait_s)

    def _start_anew(self, now: float) -> None:
        self.remaining = inf if self.limit is None else self.limit
        self.resets_at, self.told_at, self.untold, self.is_guessed = now + _WINDOW_S, now, 0, True

    def _filled(self, now: float) -> float:
        """What a bucket has gained since."""
        return self._rate() * (now - self.told_at) if self.is_bucket else 0.0

    def _rate(self) -> float:
        """What a bucket gains in a second."""
        return (self.limit or 0) / _WINDOW_S


@dataclass(slots=True)
class Brake:
    concurrency: int
    in_flight: int = 0
    refusals: int = 0
    """Times that the brake was pulled since the last answer."""
    held_until: float = 0.0
    _epoch: int = 0
    """Counts the pulls, so that refusals of requests that were sent before the last one do not pull again."""
    _probing_until: float = 0.0
    _windows: dict[str, _Window] = field(default_factory=dict)
    _answers: int = 0
    """Since the last pull."""
    _allowance: int | None = None
    """How many answers came between the last two pulls, where no header had announced the last one."""
    _tokens: dict[str, float] = field(default_factory=dict)
    """Mean tokens of an answer, by the kind of limit that they count for."""
    _measured: int = 0

    def delay_s(self, now: float) -> float:
        """0: send now. Else look again in so many seconds, or when an answer has come (inf: only then)."""
        if self.in_flight >= self._width(now):
            return self._probing_until - now if now < self._probing_until else inf
        waits = [w.delay_s(now, self.in_flight, self._need(w.kind)) for w in self._windows.values()]
        return max(0.0, self.held_until - now, *waits)

    def sent(self, now: float) -> int:
        """A request goes out; returns what to hand in with its end."""
        self.in_flight += 1
        if self.refusals and self._probing_until == inf:
            self._probing_until = now + _PROBE_S
        return self._epoch

    def answered(self, epoch: int, now: float, pace: Pace, usage: Usage | None) -> None:
        """`usage` is None where nothing was billed."""
        self.in_flight -= 1
        if epoch == self._epoch:
            self._answers += 1
            self.refusals, self._probing_until = 0, 0.0
        elif self._allowance is not None:
            self._allowance += 1
        if usage is not None:
            self._measure(usage)
        self._take_in(pace, now)

    def failed(self, now: float, pace: Pace) -> None:
        """It ended in some other way than by an answer or a limit."""
        self.in_flight -= 1
        self._take_in(pace, now)

    def refused(self, epoch: int, now: float, pace: Pace, *, is_limit: bool) -> bool:
        """A limit was hit, or the server is overloaded. True where this pulls the brake (again)."""
        self.in_flight -= 1
        self._take_in(pace, now)
        is_new = epoch == self._epoch
        if is_new:
            self._epoch += 1
            self.refusals += 1
            is_announced = any(quota.remaining == 0 for quota in pace.quotas)
            self._allowance = self._answers if is_limit and not is_announced else None
            self._answers, self._probing_until = 0, inf
        self.held_until = max(self.held_until, now + self._pause_s(pace))
        return is_new

    def _pause_s(self, pace: Pace) -> float:
        backoff = 2.0 ** min(self.refusals, 10)
        if pace.retry_after_s is None:
            return min(backoff, _LONGEST_BACKOFF_S)
        return max(pace.retry_after_s, min(_SHORTEST_WAIT_S * backoff, 5.0))

    def _width(self, now: float) -> int:
        """How many may be in flight."""
        if now < self._probing_until:
            return 1
        if self._allowance is None:
            return self.concurrency
        left = self._allowance - self._answers
        return max(1, min(self.concurrency, left if left > 0 else 1 - left // 4))

    def _take_in(self, pace: Pace, now: float) -> None:
        told = {quota.kind: quota for quota in pace.quotas}
        for kind, window in self._windows.items():
            if kind not in told:
                window.untold += 1
        for kind, quota in told.items():
            if kind in self._windows:
                self._windows[kind].take_in(quota, now)
            else:
                self._windows[kind] = _Window(
                    kind, quota.remaining, quota.limit, quota.resets, now + quota.reset_in_s, now
                )

    def _need(self, kind: str) -> float:
        return 1.0 if kind == "requests" else self._tokens.get(kind, 0.0)

    def _measure(self, usage: Usage) -> None:
        # Tokens that are read from the cache do not count toward the limits.
        entered = usage.prompt_tokens - usage.cache_read_tokens
        counts = {"input-tokens": entered, "output-tokens": usage.output_tokens}
        self._measured += 1
        for kind, count in _with_total(counts.items()):
            mean = self._tokens.get(kind, 0.0)
            self._tokens[kind] = mean + (count - mean) / self._measured


def _with_total(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    listed = list(counts)
    return [*listed, ("tokens", sum(count for _, count in listed))]
