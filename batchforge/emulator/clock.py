"""The emulator's time: it can be set, moved on and sped up; all processes on one database see the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from batchforge.emulator.store import Store


class _Anchor(msgspec.Struct):
    """At `real_s` the emulator's time was `shown_s`; since then it runs `speed` times as fast."""

    real_s: float
    shown_s: float
    speed: float

    def at(self, real_s: float) -> float:
        return self.shown_s + (real_s - self.real_s) * self.speed


class ServerClock:
    def __init__(self, store: Store) -> None:
        self._store = store
        now_s = time.time()
        store.fact_or("clock", _encoded(_Anchor(now_s, now_s, 1.0)))

    def now_s(self) -> float:
        """Seconds since 1970."""
        return self._anchor().at(time.time())

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s(), UTC)

    def set(self, moment: datetime) -> None:
        self._move(shown_s=moment.timestamp())

    def advance(self, seconds: float) -> None:
        with self._store.transaction():
            self._move(shown_s=self.now_s() + seconds)

    @property
    def speed(self) -> float:
        return self._anchor().speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self._store.transaction():
            self._move(speed=speed)

    def real_seconds_until(self, moment_s: float) -> float:
        """How long one has to wait for a moment of the emulator's time; never, if the clock stands still."""
        anchor = self._anchor()
        left_s = moment_s - anchor.at(time.time())
        if left_s <= 0:
            return 0.0
        return left_s / anchor.speed if anchor.speed > 0 else float("inf")

    def _move(self, *, shown_s: float | None = None, speed: float | None = None) -> None:
        anchor, real_s = self._anchor(), time.time()
        self._store.remember(
            "clock",
            _encoded(
                _Anchor(
                    real_s,
                    anchor.at(real_s) if shown_s is None else shown_s,
                    anchor.speed if speed is None else speed,
                )
            ),
        )

    def _anchor(self) -> _Anchor:
        return msgspec.json.decode(self._store.fact("clock") or "", type=_Anchor)


def _encoded(anchor: _Anchor) -> str:
    return msgspec.json.encode(anchor).decode()


def wire_time(moment_s: float | None) -> str | None:
    """As batches show it: RFC 3339 with microseconds."""
    if moment_s is None:
        return None
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="microseconds")


def header_time(moment_s: float) -> str:
    """As rate-limit headers and files show it: RFC 3339 with whole seconds and a Z."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
