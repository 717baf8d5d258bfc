"""Where the time and the memory of a command went, stage by stage. Stages cost nothing unless a profile is taken."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ContextDecorator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

OTHER = "everything else"
"""What lies in no stage: the start of Python, reading options, printing."""


@dataclass(slots=True)
class StageCost:
    """What one stage took without the stages inside it. Wall and CPU are of the threads that went through it."""

    name: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_growth_mb: float = 0.0
    """By how much the peak of the process rose meanwhile."""
    times: int = 0


@dataclass(slots=True)
class _Open:
    cost: StageCost
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class Profile:
    """The costs of a command's stages, from the moment it is made."""

    began_wall_s: float = field(default_factory=time.perf_counter)
    costs: dict[str, StageCost] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, name: str) -> None:
        stack = self._stack()
        if stack:
            self._close(stack[-1])
        with self._lock:
            cost = self.costs.setdefault(name, StageCost(name))
            cost.times += 1
        stack.append(_Open(cost, 0.0, 0.0, 0.0))
        _begin(stack[-1])

    def leave(self) -> None:
        stack = self._stack()
        self._close(stack.pop())
        if stack:
            _begin(stack[-1])

    def table(self) -> list[StageCost]:
        """By wall time, with what lies in no stage; CPU and the peak of that are what the process had besides."""
        stages = sorted(self.costs.values(), key=lambda cost: -cost.wall_s)
        wall_s = time.perf_counter() - self.began_wall_s - sum(cost.wall_s for cost in stages)
        cpu_s = time.process_time() - sum(cost.cpu_s for cost in stages)
        peak_mb = peak_memory_mb() - sum(cost.peak_growth_mb for cost in stages)
        return [*stages, StageCost(OTHER, max(wall_s, 0.0), max(cpu_s, 0.0), max(peak_mb, 0.0), 1)]

    def _stack(self) -> list[_Open]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[_Open] = self._local.stack
        return stack

    def _close(self, stage: _Open) -> None:
        with self._lock:
            stage.cost.wall_s += time.perf_counter() - stage.wall_s
            stage.cost.cpu_s += time.thread_time() - stage.cpu_s
            stage.cost.peak_growth_mb += peak_memory_mb() - stage.peak_mb


def _begin(stage: _Open) -> None:
    stage.wall_s, stage.cpu_s, stage.peak_mb = time.perf_counter(), time.thread_time(), peak_memory_mb()


def peak_memory_mb() -> float:
    """Of this process, so far."""
    return peak_memory_bytes() / (1 << 20)


def peak_memory_bytes() -> int:
    """Linux hands the peak of the parent down to getrusage, so the kernel's own note of this process is read first."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


_STATUS = Path("/proc/self/status")
_profile: Profile | None = None


def take_profile() -> Profile:
    """From now on stages are counted."""
    global _profile
    _profile = Profile()
    return _profile


class stage(ContextDecorator):
    """A block or a function that is counted under a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _profile is not None:
            _profile.enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _profile is not None:
            _profile.leave()


def staged(name: str, items: Iterable[T]) -> Iterator[T]:
    """The same items; what it takes to make them is counted under a name."""
    if _profile is None:
        yield from items
        return
    iterator = iter(items)
    while True:
        with stage(name):
            item = next(iterator, _END)
        if item is _END:
            return
        yield item  # type: ignore[misc]


_END = object()
