"""Seed and index -> a schedule: what the emulator is like, what goes wrong in which run, what others do in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from batchforge.emulator.scenario import Fault, RowKind, RowRule, Scenario
from tests.end_to_end.kill_launcher import AFTER, BEFORE, HALFWAY
from tests.end_to_end.proxy import Way

HOUR_S = 3600.0
TIMEOUT_S, SETTLE_AFTER_S = 0.4, 120.0
CREATE, READING = "batches.create", ("batches.retrieve", "batches.results", "batches.list")
RUN = ("run", "--yes")
"""A user who knows that the batches of others are theirs."""
COMMANDS = (RUN,) * 5 + ((*RUN, "--no-wait"),) * 2 + (("collect",), ("resume",))


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9 at a call that changes a file or sends bytes."""

    share: float
    """How far into the calls of an undisturbed run."""
    moment: int


@dataclass(frozen=True, slots=True)
class CutAt:
    """The proxy cuts the connection at a byte, whatever it belongs to."""

    way: Way
    share: float
    """How far into the bytes of an undisturbed run."""
    is_reset: bool


@dataclass(frozen=True, slots=True)
class Between:
    """What happens while none of our processes runs."""

    what: str
    """wait: time passes. cancel, delete: somebody else cancels or deletes one of our batches."""
    hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    words: Sequence[str]
    kill: Kill | None
    faults: Sequence[Fault]
    then: Between | None
    cut: CutAt | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    name: str
    """seed and index, by which it is played again."""
    scenario: Scenario
    target: Mapping[str, Any]
    skew_s: float
    """How wrong our clock is."""
    steps: Sequence[Step]


def make_schedule(kind: str, seed: int, index: int) -> Schedule:
    """`all`: everything that can go wrong. `cuts`: only the proxy cuts connections, once in each of a few runs."""
    return _any_schedule(seed, index) if kind == "all" else _cut_schedule(seed, index)


def _cut_schedule(seed: int, index: int) -> Schedule:
    chance = Random(f"cuts {seed}:{index}")
    return Schedule(
        name=f"--only cuts --seed {seed} --index {index}",
        scenario=Scenario(processing_time_s=0.0, retry_after_s=None, list_delay_s=chance.choice((0.0, 30.0))),
        target={"timeout_s": 10, "settle_after_s": SETTLE_AFTER_S},
        skew_s=0.0,
        steps=[Step(RUN, None, (), None, _cut_at(chance)) for _ in range(chance.choice((1, 1, 2, 3)))],
    )


def _cut_at(chance: Random) -> CutAt:
    return CutAt(chance.choice(("up", "down")), chance.random(), chance.random() < 0.5)


def _any_schedule(seed: int, index: int) -> Schedule:
    chance = Random(f"{seed}:{index}")
    return Schedule(
        name=f"--seed {seed} --index {index}",
        scenario=_scenario(chance),
        target={
            "timeout_s": TIMEOUT_S,
            "settle_after_s": SETTLE_AFTER_S,
            "poll_interval_s": 600,
            "on_uncertain": chance.choice(("resend", "resend", "ask")),
            **chance.choice(({}, {}, {"max_in_flight_requests": 3})),
        },
        skew_s=chance.choice((0.0, 0.0, 7 * HOUR_S, -7 * HOUR_S)),
        steps=[_step(chance) for _ in range(chance.randint(1, 4))],
    )


def _scenario(chance: Random) -> Scenario:
    return Scenario(
        seed=chance.randrange(1000),
        processing_time_s=chance.choice((0.0, 0.0, 600.0, 2 * HOUR_S)),
        list_delay_s=chance.choice((0.0, 0.0, 0.0, 30.0, 100.0)),
        retry_after_s=chance.choice((None, 10)),
        counts=chance.choice(("stay", "move")),
        other_batches=chance.choice((0, 0, 3, 6)),
        rows=chance.choice(((), (), (), (RowRule(outcome=chance.choice(_UNPAID), share=0.4, submissions=1),))),
    )


_UNPAID: tuple[RowKind, ...] = ("errored", "expired", "canceled")


def _step(chance: Random) -> Step:
    kill, faults = None, []
    if chance.random() < 0.5:
        kill = Kill(chance.random(), chance.choice((BEFORE, HALFWAY, AFTER)))
    if kill is None or chance.random() < 0.4:
        faults = [_fault(chance) for _ in range(chance.choice((1, 1, 1, 2)))]
    then = _between(chance) if chance.random() < 0.4 else None
    cut = _cut_at(chance) if chance.random() < 0.1 else None
    return Step(chance.choice(COMMANDS), kill, faults, then, cut)


def _between(chance: Random) -> Between:
    what = chance.choice(("wait", "wait", "wait", "cancel", "delete"))
    return Between(what, chance.choice((0.05, 1.0, 25.0, 30 * 24.0)) if what == "wait" else 0.0)


def _fault(chance: Random) -> Fault:
    if chance.random() < 0.6:
        return chance.choice(_SENDING)(chance, CREATE, chance.choice((0, 0, 0, 1)))
    return chance.choice(_LOOKING)(chance, chance.choice(READING), chance.choice((0, 0, 1, 2)))


_Maker = Callable[[Random, str, int], Fault]


def _status(number: int, error_type: str, **more: Any) -> _Maker:
    return lambda chance, on, skip: Fault(
        kind="status", on=on, skip=skip, status=number, error_type=error_type, times=chance.choice((1, 2)), **more
    )


def _cut(kind: Any, bytes_most: int) -> _Maker:
    return lambda chance, on, skip: Fault(kind=kind, on=on, skip=skip, at_byte=chance.randrange(bytes_most))


def _plain(kind: Any, **more: Any) -> _Maker:
    return lambda chance, on, skip: Fault(kind=kind, on=on, skip=skip, **more)


def _rate_limit(chance: Random, on: str, skip: int) -> Fault:
    seconds = chance.choice((None, 1.0, 20.0, 800.0, 4000.0, 200_000.0))
    return Fault(
        kind="status", on=on, skip=skip, status=429, retry_after_s=seconds, times=chance.choice((1, 3)), body="json"
    )


_TIMEOUT_S = 1.5 * TIMEOUT_S
_EVERYWHERE: tuple[_Maker, ...] = (
    _cut("cut_request", 400),
    _cut("cut_answer", 900),
    _cut("cut_answer", 900),
    _plain("lose_request"),
    _plain("lose_answer"),
    _plain("lose_request", delay_s=_TIMEOUT_S),
    _plain("slow", bytes_per_s=1),
    _rate_limit,
    _status(500, "api_error"),
    _status(502, "api_error", body="html"),
    _status(504, "timeout_error"),
    _status(529, "overloaded_error"),
    _status(401, "authentication_error"),
    _status(403, "permission_error"),
)
_SENDING: tuple[_Maker, ...] = (
    *_EVERYWHERE,
    _plain("lose_answer"),
    _cut("cut_request", 6_000),
    _plain("status", status=413, body="html"),
    _status(413, "request_too_large"),
    _status(400, "invalid_request_error"),
    _status(429, "rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
)
_LOOKING: tuple[_Maker, ...] = (
    *_EVERYWHERE,
    _plain("truncate_results"),
    _plain("duplicate_results"),
    _plain("reorder_results", times=None),
)
