"""Leases as a run holds them: waited for, kept alive by a heartbeat, longer than a POST may take, given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from batchforge.clock import Clock, SystemClock
from batchforge.errors import BatchForgeError, StateError, StateLocked
from batchforge.events import Event, EventName, Listener, ignore
from batchforge.state.holders import this_holder_in_words
from batchforge.state.records import Lease, LeaseHeld, StateStore
from batchforge.state.sql_leases import holder_words

SUBMIT = "submit"
"""Held from a plan's making until its batches are accepted."""
TERM_S = 60.0
"""How long a holder on another machine is believed to live without a sign of life."""
SLACK_S = 60.0
"""How much more lease than the POST's timeout a sender has when it sends."""
LOCK_TIMEOUT_S = 300.0
_BEATS_PER_TERM = 4
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class _Kept:
    lease: Lease
    heartbeat: Heartbeat


@dataclass(slots=True)
class LeaseKeeper:
    """The leases of one process on one state. While it holds some, its writes are refused should one be lost."""

    state: StateStore
    clock: Clock
    lock_timeout_s: float = LOCK_TIMEOUT_S
    listen: Listener = ignore
    _kept: dict[str, _Kept] = field(default_factory=dict, init=False)

    @contextmanager
    def held(self, name: str, purpose: str) -> Iterator[None]:
        """For as long as the block runs.

        Raises:
            StateLocked: BF513 somebody else has it for longer than the lock's timeout.
        """
        self._keep(self._wait_for(name, purpose))
        try:
            yield
        finally:
            self._drop(name)

    @contextmanager
    def held_if_free(self, name: str, purpose: str) -> Iterator[bool]:
        """Whether it was free; a block that is told False does nothing."""
        try:
            lease = self.state.take_lease(name, purpose, this_holder_in_words(), TERM_S)
        except LeaseHeld:
            yield False
            return
        self._keep(lease)
        try:
            yield True
        finally:
            self._drop(name)

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """For a wait within a block that holds some: the others go on meanwhile. Then they are taken anew."""
        leases = [kept.lease for kept in self._kept.values()]
        for lease in leases:
            self._drop(lease.name)
        yield
        for lease in leases:
            self._keep(self._wait_for(lease.name, lease.purpose))

    def cover(self, seconds: float) -> None:
        """Before something is sent: enough lease is left for as long as that may take, and some more."""
        for kept in self._kept.values():
            self.state.renew_lease(kept.lease, seconds + SLACK_S)

    def _keep(self, lease: Lease) -> None:
        self._kept[lease.name] = _Kept(lease, Heartbeat(self.state, lease))
        self._fence()

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        kept.heartbeat.stop()
        self._fence()
        with suppress(BatchForgeError):  # then it ends by itself
            self.state.give_back(kept.lease)

    def _fence(self) -> None:
        self.state.fenced_by([kept.lease for kept in self._kept.values()])

    def _wait_for(self, name: str, purpose: str) -> Lease:
        until, told = self.clock.now().timestamp() + self.lock_timeout_s, 0
        while True:
            try:
                return self.state.take_lease(name, purpose, this_holder_in_words(), TERM_S)
            except LeaseHeld as exc:
                if self.clock.now().timestamp() >= until:
                    raise _locked(exc.lease) from exc
                if told != exc.lease.fence:
                    told = exc.lease.fence
                    self.listen(Event(EventName.WAITING, message=f"waiting for {_words(exc.lease)}"))
                self.clock.sleep(_LOOK_S)


class Heartbeat:
    """In real time, whatever clock the run has: a process that stands still gives no sign of life."""

    def __init__(self, state: StateStore, lease: Lease) -> None:
        self._state, self._lease, self._has_ended = state, lease, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="batchforge-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._has_ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._has_ended.wait(TERM_S / _BEATS_PER_TERM):
            with suppress(BatchForgeError):  # a lost lease is noticed by the next write
                self._state.renew_lease(self._lease, TERM_S)


def _words(lease: Lease) -> str:
    return f"{holder_words(lease)} since {lease.acquired_at}: {lease.purpose}"


def _locked(lease: Lease) -> StateLocked:
    return StateLocked(
        "BF513",
        f"the state is held by {_words(lease)}",
        hint=f"Run again when it has finished, or give --lock-timeout. Without a sign of life its lease ends at "
        f"{lease.expires_at}; `batchforge state unlock {lease.name}` ends it now.",
    )


@contextmanager
def alone_with(state: StateStore, purpose: str) -> Iterator[None]:
    """Nobody submits meanwhile.

    Raises:
        StateLocked: BF513 somebody is at work.
    """
    with LeaseKeeper(state, SystemClock(), lock_timeout_s=0).held(SUBMIT, purpose):
        yield


def probe(state: StateStore, other: StateStore) -> None:
    """Two that open one state do not both get the same lease, and each sees what the other wrote.

    Raises:
        StateError: BF516 they do.
    """
    name, holder = "probe", this_holder_in_words()
    lease = state.take_lease(name, "trying the store", holder, TERM_S)
    try:
        other.take_lease(name, "trying the store", holder, TERM_S)
    except LeaseHeld:
        state.give_back(lease)
        return
    raise StateError(
        "BF516",
        f"the store of {state.url} lets two processes hold one lock",
        hint="Keep the state in another place: two runs at once could pay the same rows twice here.",
    )
