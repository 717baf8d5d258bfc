"""Jobs that need each other -> which can be begun now. A job can when all that it needs, of those that run, is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Schedule:
    """The jobs of one run, each of them open until it is done, failed, left waiting or skipped."""

    parents: Mapping[str, tuple[str, ...]]
    """Of the jobs that run, the direct parents among them."""
    at_once: int | None = None
    """How many may be at work at the same time; None: as many as can."""
    begun: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    blocked: dict[str, str] = field(default_factory=dict)
    """Jobs that can never be begun in this run -> the job that stands in their way."""

    def take_ready(self) -> list[str]:
        """The jobs to begin now, in their order; each is given once."""
        room = None if self.at_once is None else self.at_once - len(self.begun - self.done - self.blocked.keys())
        ready = [name for name in self.parents if self._is_ready(name)][:room]
        self.begun.update(ready)
        return ready

    def finish(self, job: str) -> None:
        """What needs it may begin."""
        self.done.add(job)

    def block(self, job: str) -> list[str]:
        """It failed, or is in flight as long as this run goes: what needs it, directly or through others, never begins.

        Returns those.
        """
        self.blocked[job] = job
        stopped: list[str] = []
        for name, parents in self.parents.items():
            causes = [parent for parent in parents if self.blocked.get(parent) == job]
            if causes and name not in self.blocked and name not in self.begun:
                self.blocked[name] = job
                stopped.append(name)
        return stopped

    def block_all(self, job: str) -> list[str]:
        """The same for every job that has not begun."""
        stopped = [name for name in self.parents if name not in self.begun and name not in self.blocked]
        self.blocked.update(dict.fromkeys(stopped, job))
        return stopped

    def _is_ready(self, name: str) -> bool:
        return name not in self.begun and name not in self.blocked and self.done.issuperset(self.parents[name])


def needs_among(jobs: Iterable[str], parents: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The jobs in an order in which each comes after those it needs, and what each needs of them.

    What it needs through jobs that are not among them counts too.
    """
    chosen = list(dict.fromkeys(jobs))
    needs = {name: _chosen_above(name, parents, set(chosen)) for name in chosen}
    ordered: dict[str, tuple[str, ...]] = {}
    while len(ordered) < len(needs):
        for name, above in needs.items():
            if name not in ordered and all(each in ordered for each in above):
                ordered[name] = above
    return ordered


def _chosen_above(name: str, parents: Mapping[str, tuple[str, ...]], chosen: set[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    edge, seen = list(parents.get(name, ())), set()
    while edge:
        each = edge.pop(0)
        if each in seen:
            continue
        seen.add(each)
        if each in chosen:
            found[each] = None
        else:
            edge += parents.get(each, ())
    return tuple(found)
