"""All that is remembered of one request -> what is to be done about it, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from batchforge.planning.plan_rows import Action
from batchforge.results import CUT, TRANSIENT_ERRORS, ResultKind
from batchforge.state.records import RequestRecord, StoredAnswer


class Resend(StrEnum):
    """Which rows that have been asked before are asked again."""

    NOTHING_PAID = "nothing_paid"
    """A plain run: only unbilled, transient failures."""
    FAILED = "failed"
    """`retry`: also billed failures and invalid requests."""
    ALL = "all"
    """`--full-refresh`: everything, under the next ordinal."""


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    ordinal: int
    reason: str


_NEW = Decision(Action.SUBMIT, 0, "new")


def decide(
    record: RequestRecord | None,
    max_tokens: int,
    resend: Resend = Resend.NOTHING_PAID,
    asked_after: int | None = None,
    invalid: Collection[int] = (),
    used: int | None = None,
    retries: int = 0,
) -> Decision:
    """What to do about one request, given all that is remembered of it.

    Answers of attempts after `asked_after` are what `resend` asked for: they are not asked for once more. `invalid`
    holds the ordinals of answers that break the job's schema: paid for, and asked again only where `resend` says so,
    or while there were no more than `retries` answers before the next. Of several answers the one that the row has
    `used` so far stays, else the newest serves; one that fits comes before those that do not.
    """
    if record is None:
        return _NEW
    if record.claims:
        claim = record.claims[0]
        return Decision(Action.WAIT, claim.ordinal, claim.batch_id or claim.attempt_state.value)
    counting = _counting_answers(record.answers)
    if _is_asked_since(counting, asked_after):
        resend = Resend.NOTHING_PAID
    if resend is Resend.ALL:
        last = counting.get(max(counting, default=-1))
        ordinal = last.ordinal if last is not None and _is_transient(last) else _next_ordinal(counting)
        return Decision(Action.SUBMIT, ordinal, "full refresh")
    usable = [
        ordinal
        for ordinal in sorted(counting, key=lambda each: (each == used, each), reverse=True)
        if counting[ordinal].kind is ResultKind.ANSWERED and counting[ordinal].output_tokens <= max_tokens
    ]
    valid = [ordinal for ordinal in usable if ordinal not in invalid]
    is_asked_again = resend is Resend.FAILED or (bool(invalid) and _next_ordinal(counting) <= retries)
    if valid or (usable and not is_asked_again):
        return Decision(Action.REUSE, (valid or usable)[0], "answered before")
    return _decide_failed(counting, max_tokens, resend)


def decide_answer(
    record: RequestRecord | None,
    answer: tuple[int, int],
    max_tokens: int,
    resend: Resend = Resend.NOTHING_PAID,
    asked_after: int | None = None,
    invalid: Collection[int] = (),
    used: int | None = None,
    retries: int = 0,
) -> Decision:
    """The same for one of several answers to a request: `answer` is its number, from 0, and how many there are to be.

    The newest usable answers serve first, then those in flight, then failures that are not to be paid again; what is
    missing is asked under the next free ordinals.
    """
    number, answers = answer
    if answers == 1:
        return decide(record, max_tokens, resend, asked_after, invalid, used, retries)
    if record is None:
        return Decision(Action.SUBMIT, number, "new")
    counting = _counting_answers(record.answers)
    if _is_asked_since(counting, asked_after):
        resend = Resend.NOTHING_PAID
    held = [] if resend is Resend.ALL else _held_answers(counting, max_tokens, resend, invalid)[-answers:]
    held += [
        Decision(Action.WAIT, claim.ordinal, claim.batch_id or claim.attempt_state.value) for claim in record.claims
    ]
    if resend is not Resend.ALL:
        held += [each for each in _held_failures(counting, max_tokens, resend) if each.action is Action.FAILED]
    if number < len(held):
        return held[number]
    taken = [*counting, *(claim.ordinal for claim in record.claims)]
    reason = "full refresh" if resend is Resend.ALL else "new"
    return Decision(Action.SUBMIT, max(taken, default=-1) + 1 + number - len(held), reason)


def decide_variant(
    record: RequestRecord | None, variant: tuple[int, int], is_own_way: Callable[[StoredAnswer], bool]
) -> Decision:
    """For comparing: `variant` holds the number of one of several variants that ask the same, among those of its own
    way of delivery and among all of them.

    Whatever was paid for counts, failures too, if it was asked in the variant's own way. Nothing is asked twice.
    """
    number, number_of_all = variant
    if record is None:
        return Decision(Action.SUBMIT, number_of_all, "new")
    counting = _counting_answers(record.answers)
    paid = [ordinal for ordinal, each in sorted(counting.items()) if each.kind.is_billed and is_own_way(each)]
    held = [Decision(Action.REUSE, ordinal, "answered before") for ordinal in paid]
    held += [Decision(Action.WAIT, each.ordinal, each.batch_id or each.attempt_state.value) for each in record.claims]
    if number < len(held):
        return held[number]
    taken = [*counting, *(claim.ordinal for claim in record.claims)]
    return Decision(Action.SUBMIT, max(taken, default=-1) + 1 + number_of_all, "new")


def _held_answers(
    counting: Mapping[int, StoredAnswer], max_tokens: int, resend: Resend, invalid: Collection[int]
) -> list[Decision]:
    return [
        Decision(Action.REUSE, ordinal, "answered before")
        for ordinal, answer in sorted(counting.items())
        if answer.kind is ResultKind.ANSWERED
        and answer.output_tokens <= max_tokens
        and not (resend is Resend.FAILED and ordinal in invalid)
    ]


def _held_failures(counting: Mapping[int, StoredAnswer], max_tokens: int, resend: Resend) -> list[Decision]:
    """What a failure by itself would be: one that may be paid again is asked as if it were not there."""
    failed = {ordinal: each for ordinal, each in sorted(counting.items()) if each.kind is not ResultKind.ANSWERED}
    return [_decide_failed({ordinal: each}, max_tokens, resend) for ordinal, each in failed.items()]


def _decide_failed(counting: Mapping[int, StoredAnswer], max_tokens: int, resend: Resend) -> Decision:
    last = counting[max(counting)]
    if last.kind is ResultKind.ANSWERED:
        is_long = last.output_tokens > max_tokens
        reason = f"its answer has {last.output_tokens} tokens, over max_tokens" if is_long else "invalid before"
        return Decision(Action.SUBMIT, _next_ordinal(counting), reason)
    if last.kind in CUT and last.max_tokens < max_tokens:
        return Decision(Action.SUBMIT, _next_ordinal(counting), f"cut at {last.max_tokens} tokens before")
    reason = f"{_words(last)} before"
    if not last.kind.is_billed:
        action = Action.SUBMIT if _is_transient(last) or resend is Resend.FAILED else Action.FAILED
        return Decision(action, last.ordinal, reason)
    if resend is Resend.FAILED:
        return Decision(Action.SUBMIT, _next_ordinal(counting), reason)
    return Decision(Action.FAILED, last.ordinal, reason)


def _is_asked_since(counting: Mapping[int, StoredAnswer], asked_after: int | None) -> bool:
    """Whether what `resend` asks for has been given already; a transient failure gives nothing."""
    if asked_after is None:
        return False
    return any(each.attempt_id > asked_after and not _is_transient(each) for each in counting.values())


def _is_transient(answer: StoredAnswer) -> bool:
    """Nothing was paid, and the same bytes may well succeed."""
    if answer.kind.is_billed:
        return False
    return answer.kind is not ResultKind.ERRORED or answer.error_type in TRANSIENT_ERRORS


def _counting_answers(answers: Sequence[StoredAnswer]) -> dict[int, StoredAnswer]:
    """For each ordinal the answer that counts: the billed one, else the last."""
    counting: dict[int, StoredAnswer] = {}
    for answer in answers:
        held = counting.get(answer.ordinal)
        if held is None or not held.kind.is_billed:
            counting[answer.ordinal] = answer
    return counting


def _next_ordinal(counting: Mapping[int, StoredAnswer]) -> int:
    return max(counting, default=-1) + 1


def _words(answer: StoredAnswer) -> str:
    return answer.error_type or answer.kind.value if answer.kind is ResultKind.ERRORED else answer.kind.value
