"""The life of an attempt (one POST of requests): its states, drawn in one place, and the moves that are legal.

    intended ──► sending ──► known ──► ended ──► stored ──► closed
        │           │  │       └──────► gone ◄─────┘ (ended)
        ▼           │  └──► rejected
    withdrawn       ▼
                uncertain ──► adopted ──► ended          (or back to uncertain: the custom_ids disagree)
                    │  └────► assumed_lost
                    ▼
                ambiguous ──► adopted | assumed_lost     (a person decides)

`sending` is durable before the first byte leaves. After a crash, `intended` was surely not sent; `sending` is
uncertain.

A sync attempt is many small POSTs under one intention, each answer stored as it arrives:

    intended ──► sending ──► closed                      (every request has a result)
        │         ▲   │ └──► interrupted                 (the others are free to be asked again)
        ▼         └───┘ its holder is still at it, and says so
    withdrawn

After a crash a sync attempt in `sending` is interrupted: what was answered is stored, so at most the requests that
were under way are asked again.
"""

from __future__ import annotations

from enum import StrEnum


class AttemptState(StrEnum):
    INTENDED = "intended"
    SENDING = "sending"
    KNOWN = "known"
    """Accepted: the batch's id is known."""
    ENDED = "ended"
    STORED = "stored"
    CLOSED = "closed"
    REJECTED = "rejected"
    """Surely not accepted."""
    WITHDRAWN = "withdrawn"
    """Given up before anything was sent."""
    UNCERTAIN = "uncertain"
    """May have been accepted: settled by looking, never by sending first."""
    ADOPTED = "adopted"
    """A listed batch was found that must be this attempt's; confirmed by its custom_ids once they can be read."""
    AMBIGUOUS = "ambiguous"
    ASSUMED_LOST = "assumed_lost"
    GONE = "gone"
    """The batch was deleted or archived before its results were stored."""
    INTERRUPTED = "interrupted"
    """Sync only: stopped before all its requests were answered. The answers that came are stored."""

    @property
    def is_final(self) -> bool:
        """True where nothing is in flight any more: the attempt's claims are released."""
        return self not in LEGAL_MOVES


LEGAL_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.INTENDED: frozenset({AttemptState.SENDING, AttemptState.WITHDRAWN}),
    AttemptState.SENDING: frozenset(
        {
            *(AttemptState.KNOWN, AttemptState.REJECTED, AttemptState.UNCERTAIN),
            *(AttemptState.SENDING, AttemptState.CLOSED, AttemptState.INTERRUPTED),  # sync
        }
    ),
    AttemptState.KNOWN: frozenset({AttemptState.ENDED, AttemptState.GONE}),
    AttemptState.ENDED: frozenset({AttemptState.STORED, AttemptState.GONE, AttemptState.UNCERTAIN}),
    AttemptState.STORED: frozenset({AttemptState.CLOSED}),
    AttemptState.UNCERTAIN: frozenset({AttemptState.ADOPTED, AttemptState.AMBIGUOUS, AttemptState.ASSUMED_LOST}),
    AttemptState.AMBIGUOUS: frozenset({AttemptState.ADOPTED, AttemptState.ASSUMED_LOST}),
    AttemptState.ADOPTED: frozenset({AttemptState.ENDED, AttemptState.UNCERTAIN, AttemptState.GONE}),
}


UNSETTLED = frozenset({AttemptState.SENDING, AttemptState.UNCERTAIN, AttemptState.AMBIGUOUS})
"""A batch that the API lists may be that of any of these."""


class IllegalMove(Exception):
    """Our own bug: a state was to be reached that cannot follow the present one."""

    def __init__(self, attempt_id: int, from_state: AttemptState, to_state: AttemptState) -> None:
        super().__init__(f"attempt {attempt_id} cannot go from {from_state} to {to_state}")


def check_move(attempt_id: int, from_state: AttemptState, to_state: AttemptState) -> None:
    if to_state not in LEGAL_MOVES.get(from_state, frozenset()):
        raise IllegalMove(attempt_id, from_state, to_state)
