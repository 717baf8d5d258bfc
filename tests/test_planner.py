"""What is decided about one request, given all that is remembered of it; and how a plan tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchforge.planning.decisions import Resend, decide
from batchforge.planning.plan_rows import Action
from batchforge.results import TRANSIENT_ERRORS, ResultKind
from batchforge.state.attempts import AttemptState
from batchforge.state.records import LiveClaim, RequestRecord, StoredAnswer
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator

MAX_TOKENS = 100
BILLED_FAILURES = sorted(kind for kind in ResultKind if kind.is_billed and kind is not ResultKind.ANSWERED)
CUT = [ResultKind.TRUNCATED, ResultKind.THINKING_ONLY]


def answer(
    kind: ResultKind = ResultKind.ANSWERED,
    ordinal: int = 0,
    error_type: str | None = None,
    max_tokens: int = MAX_TOKENS,
    output_tokens: int = 50,
    attempt_id: int = 1,
) -> StoredAnswer:
    return StoredAnswer(ordinal, kind, error_type, max_tokens, output_tokens, attempt_id)


def decided(
    *answers: StoredAnswer,
    max_tokens: int = MAX_TOKENS,
    resend: Resend = Resend.NOTHING_PAID,
    asked_after: int | None = None,
) -> tuple[Action, int, str]:
    decision = decide(RequestRecord(answers), max_tokens, resend, asked_after)
    return decision.action, decision.ordinal, decision.reason


# ---- a plain run


def test_a_request_that_nothing_is_known_of_is_new() -> None:
    decision = decide(None, MAX_TOKENS)
    assert (decision.action, decision.ordinal, decision.reason) == (Action.SUBMIT, 0, "new")


def test_an_answer_is_reused() -> None:
    assert decided(answer()) == (Action.REUSE, 0, "answered before")


@pytest.mark.parametrize("resend", Resend)
def test_what_is_in_flight_is_waited_for_whatever_is_asked(resend: Resend) -> None:
    claim = LiveClaim(2, 7, AttemptState.KNOWN, "msgbatch_7")
    decision = decide(RequestRecord((answer(),), (claim,)), MAX_TOKENS, resend)
    assert (decision.action, decision.ordinal, decision.reason) == (Action.WAIT, 2, "msgbatch_7")


def test_what_has_no_batch_yet_is_waited_for_too() -> None:
    claim = LiveClaim(0, 7, AttemptState.UNCERTAIN, None)
    assert decide(RequestRecord((), (claim,)), MAX_TOKENS).reason == "uncertain"


@pytest.mark.parametrize("kind", [ResultKind.EXPIRED, ResultKind.CANCELED])
def test_unbilled_ends_are_sent_again_under_the_same_ordinal(kind: ResultKind) -> None:
    assert decided(answer(kind)) == (Action.SUBMIT, 0, f"{kind.value} before")


@pytest.mark.parametrize("error_type", sorted(TRANSIENT_ERRORS))
def test_transient_errors_are_sent_again_under_the_same_ordinal(error_type: str) -> None:
    assert decided(answer(ResultKind.ERRORED, error_type=error_type)) == (Action.SUBMIT, 0, f"{error_type} before")


@pytest.mark.parametrize("error_type", ["invalid_request_error", "not_found_error", "unreadable_result"])
def test_other_errors_are_not_sent_again_with_the_same_bytes(error_type: str) -> None:
    assert decided(answer(ResultKind.ERRORED, error_type=error_type)) == (Action.FAILED, 0, f"{error_type} before")


@pytest.mark.parametrize("kind", BILLED_FAILURES)
def test_billed_failures_are_not_paid_again(kind: ResultKind) -> None:
    assert decided(answer(kind)) == (Action.FAILED, 0, f"{kind.value} before")


# ---- max_tokens only cuts


@pytest.mark.parametrize("max_tokens", [50, 100, 10_000])
def test_an_answer_that_ended_by_itself_serves_wherever_it_fits(max_tokens: int) -> None:
    assert decided(answer(output_tokens=50), max_tokens=max_tokens) == (Action.REUSE, 0, "answered before")


def test_an_answer_that_does_not_fit_is_asked_again_under_the_next_ordinal() -> None:
    assert decided(answer(output_tokens=50), max_tokens=49) == (
        Action.SUBMIT,
        1,
        "its answer has 50 tokens, over max_tokens",
    )


@pytest.mark.parametrize("kind", CUT)
def test_what_was_cut_is_asked_again_under_a_higher_max_tokens(kind: ResultKind) -> None:
    assert decided(answer(kind), max_tokens=101) == (Action.SUBMIT, 1, "cut at 100 tokens before")


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("max_tokens", [99, 100])
def test_what_was_cut_is_not_asked_again_under_the_same_or_a_lower_one(kind: ResultKind, max_tokens: int) -> None:
    assert decided(answer(kind), max_tokens=max_tokens)[0] is Action.FAILED


def test_a_full_context_window_is_no_reason_to_ask_under_a_higher_max_tokens() -> None:
    assert decided(answer(ResultKind.CONTEXT_EXCEEDED), max_tokens=10_000)[0] is Action.FAILED


def test_a_shorter_answer_of_an_earlier_ordinal_serves_where_the_later_one_does_not_fit() -> None:
    answers = (answer(output_tokens=20), answer(ordinal=1, output_tokens=80))
    assert decided(*answers, max_tokens=100)[:2] == (Action.REUSE, 1)
    assert decided(*answers, max_tokens=30)[:2] == (Action.REUSE, 0)
    assert decided(*answers, max_tokens=10)[:2] == (Action.SUBMIT, 2)


# ---- retry and full refresh


@pytest.mark.parametrize("kind", BILLED_FAILURES)
def test_retry_asks_billed_failures_under_the_next_ordinal(kind: ResultKind) -> None:
    assert decided(answer(kind), resend=Resend.FAILED) == (Action.SUBMIT, 1, f"{kind.value} before")


def test_retry_asks_invalid_requests_under_the_same_ordinal_since_they_were_not_billed() -> None:
    failed = answer(ResultKind.ERRORED, error_type="invalid_request_error")
    assert decided(failed, resend=Resend.FAILED)[:2] == (Action.SUBMIT, 0)


def test_retry_leaves_answers_alone() -> None:
    assert decided(answer(), resend=Resend.FAILED)[0] is Action.REUSE


def test_a_full_refresh_that_came_to_nothing_is_asked_again_under_the_same_ordinal() -> None:
    failed = answer(ordinal=1, kind=ResultKind.EXPIRED, attempt_id=7)
    assert decided(answer(), failed, resend=Resend.ALL, asked_after=5) == (Action.SUBMIT, 1, "full refresh")


def test_a_full_refresh_asks_answers_again_under_the_next_ordinal() -> None:
    assert decided(answer(), answer(ordinal=1), resend=Resend.ALL) == (Action.SUBMIT, 2, "full refresh")


# ---- several results


def test_an_answer_of_any_ordinal_serves() -> None:
    assert decided(answer(ResultKind.REFUSED), answer(ordinal=1))[:2] == (Action.REUSE, 1)
    assert decided(answer(), answer(ResultKind.REFUSED, ordinal=1))[:2] == (Action.REUSE, 0)


def test_a_billed_result_counts_before_a_later_unbilled_one_of_the_same_ordinal() -> None:
    answers = (answer(attempt_id=1), answer(ResultKind.EXPIRED, attempt_id=2))
    assert decided(*answers)[:2] == (Action.REUSE, 0)


def test_a_later_unbilled_result_counts_before_an_earlier_one() -> None:
    answers = (
        answer(ResultKind.EXPIRED, attempt_id=1),
        answer(ResultKind.ERRORED, error_type="invalid_request_error", attempt_id=2),
    )
    assert decided(*answers)[0] is Action.FAILED


_ANSWERS = st.builds(
    answer,
    st.sampled_from(list(ResultKind)),
    st.integers(0, 3),
    st.sampled_from([None, "api_error", "invalid_request_error"]),
    st.integers(1, 200),
    st.integers(0, 200),
    st.integers(1, 9),
)


@given(st.lists(_ANSWERS, min_size=1, max_size=6), st.integers(1, 200), st.sampled_from(list(Resend)))
def test_a_name_that_was_billed_is_never_sent_again(
    answers: list[StoredAnswer], max_tokens: int, resend: Resend
) -> None:
    decision = decide(RequestRecord(tuple(answers)), max_tokens, resend)
    if decision.action is Action.SUBMIT:
        assert decision.ordinal not in {each.ordinal for each in answers if each.kind.is_billed}


@given(st.lists(_ANSWERS, min_size=1, max_size=6), st.integers(1, 200))
def test_an_answer_that_fits_is_never_paid_again_by_a_plain_run(answers: list[StoredAnswer], max_tokens: int) -> None:
    billed = [each.ordinal for each in answers if each.kind.is_billed]
    assume(len(billed) == len(set(billed)))
    fits = any(each.kind is ResultKind.ANSWERED and each.output_tokens <= max_tokens for each in answers)
    assert (decide(RequestRecord(tuple(answers)), max_tokens).action is Action.REUSE) == fits


# ---- why a row is asked


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "claude-haiku-4-5"}, "model changed"),
        ({"system": "Say it otherwise."}, "system changed"),
        ({"user": "About: {{ row.text }}"}, "messages changed"),
        ({"stop_sequences": ["END"]}, "params changed"),
        ({"output": {"fields": {"about": "text"}, "file": "outputs/answers.jsonl"}}, "schema changed"),
        ({"tools": [{"name": "look", "input_schema": {"type": "object"}}]}, "tools changed"),
        ({"model": "claude-haiku-4-5", "system": "Other."}, "model changed and system changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_says_which_part_of_a_request_changed(project: ProjectFiles, change: dict[str, Any], reason: str) -> None:
    project.run()
    project.write_job(**change)
    (job,) = project.run().jobs
    assert dict(job.reasons) == {reason: 3}


def test_new_and_changed_rows_are_told_apart(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A red bicycle.", "A blue whale.", "A green train.", "Something new."])
    (job,) = project.run().jobs
    assert dict(job.reasons) == {"row changed": 1, "new": 1}


def test_blocked_rows_are_told_and_the_others_are_asked(start_emulator: StartEmulator, tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p", start_emulator())
    project.write_rows(["A red bicycle.", "", "A green train."])
    project.write_job(min_success=0.5)
    (job,) = project.run().jobs
    assert dict(job.actions) == {"submit": 2, "blocked": 1}
    blocked = project.rows_of()[1]
    assert (blocked["_status"], blocked["_error"]) == ("blocked", "a text block is empty")
