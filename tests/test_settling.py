"""Attempts whose POST got no clear answer, settled by looking at what the API lists: with a real state, and a stand-in
for the API that lists real batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from batchforge.backends.base import Connection
from batchforge.backends.batch import BatchApi
from batchforge.emulator import EmulatorServer
from batchforge.execution.settling import Verdict, settle
from batchforge.requests.fingerprint import custom_id
from batchforge.state.attempts import AttemptState
from batchforge.state.records import IntendedRequest, Intention
from batchforge.state.sqlite import SqliteState
from tests.builders import PlayedClock
from tests.conftest import StartEmulator

S = AttemptState
SETTLE_AFTER_S, TIMEOUT_S = 900.0, 600.0


class Scene:
    """A state, an API, and a clock of our own."""

    def __init__(self, folder: Path, emulator: EmulatorServer) -> None:
        self.folder, self.emulator, self.clock = folder, emulator, PlayedClock()
        self.state = SqliteState(folder / "state.db", clock=self.clock)
        self.api = BatchApi(Connection(emulator.base_url, "any-key"))
        self.first_looks: dict[int, datetime] = {}

    def attempt(self, *numbers: int, state: AttemptState = S.UNCERTAIN, batch_id: str | None = None) -> int:
        """One that was sending just now."""
        requests = [IntendedRequest(name_of(number), 0, (b'"x"',)) for number in numbers]
        intention = Intention("r", "job", "api", "batch", "m", 100, b"s" * 16, b"{}", "here:1:1")
        attempt_id = self.state.intend(intention, requests)
        self.state.move(attempt_id, S.INTENDED, S.SENDING)
        if state is not S.SENDING:
            self.state.move(attempt_id, S.SENDING, state, batch_id=batch_id)
        return attempt_id

    def batch(self, *numbers: int) -> str:
        """One that the API has accepted."""
        requests = [{"custom_id": custom_id(name_of(number)), "params": PARAMS} for number in numbers]
        body = self.folder / "body.json"
        body.write_text(json.dumps({"requests": requests}))
        return self.api.submit(body, ()).batch_id

    def settle(self, attempt_id: int, *, may_resend: bool = True) -> Verdict:
        return settle(
            self.state.attempt(attempt_id),
            self.state,
            self.api,
            self.clock,
            settle_after_s=SETTLE_AFTER_S,
            timeout_s=TIMEOUT_S,
            may_resend=may_resend,
            first_looks=self.first_looks,
        )

    def time_passes(self, seconds: float) -> None:
        """For us and for the API."""
        self.emulator.clock.advance(seconds)
        self.clock.sleep(seconds)

    def have_ended(self, *batch_ids: str) -> None:
        self.time_passes(60)
        for batch_id in batch_ids:
            while not self.api.poll(batch_id).has_ended:
                pass


PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}


def name_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def scene(start_emulator: StartEmulator, tmp_path: Path) -> Iterator[Scene]:
    """An API whose batches take half a minute."""
    scene = Scene(tmp_path, start_emulator(processing_time_s=30))
    yield scene
    scene.api.close()
    scene.state.close()


def test_a_listed_batch_of_as_many_requests_is_adopted(scene: Scene) -> None:
    attempt, batch = scene.attempt(1, 2), scene.batch(1, 2)
    verdict = scene.settle(attempt)
    assert (verdict.to_state, verdict.batch_id) == (S.ADOPTED, batch)


def test_a_batch_that_has_ended_is_known_by_its_custom_ids(scene: Scene) -> None:
    attempt = scene.attempt(1, 2)
    others, ours = scene.batch(8, 9), scene.batch(1, 2)
    scene.have_ended(others, ours)
    assert scene.settle(attempt).batch_id == ours


def test_before_its_time_is_over_an_attempt_is_not_given_up(scene: Scene) -> None:
    attempt = scene.attempt(1, 2)
    scene.time_passes(SETTLE_AFTER_S - 1)
    verdict = scene.settle(attempt)
    assert verdict.to_state is None
    assert "taken for lost if it does not appear by" in verdict.note


@pytest.mark.parametrize(("may_resend", "state"), [(True, S.ASSUMED_LOST), (False, S.AMBIGUOUS)])
def test_after_its_time_it_is_lost_or_a_person_decides(scene: Scene, may_resend: bool, state: AttemptState) -> None:
    attempt = scene.attempt(1, 2)
    scene.time_passes(SETTLE_AFTER_S)
    assert scene.settle(attempt, may_resend=may_resend).to_state is state


@pytest.mark.parametrize("count", [1, 3])
def test_batches_of_another_count_are_not_looked_at(scene: Scene, count: int) -> None:
    attempt = scene.attempt(1, 2)
    scene.batch(*range(1, count + 1))
    assert scene.settle(attempt).batch_id is None


def test_batches_of_other_attempts_are_not_looked_at(scene: Scene) -> None:
    batch = scene.batch(7, 8)
    scene.attempt(7, 8, state=S.KNOWN, batch_id=batch)
    assert scene.settle(scene.attempt(1, 2)).batch_id is None


def test_batches_from_before_it_was_sent_are_not_looked_at(scene: Scene) -> None:
    scene.batch(1, 2)
    scene.time_passes(120)
    assert scene.settle(scene.attempt(1, 2)).batch_id is None


@pytest.mark.parametrize("set_s", [-7200, -90, 7200])
def test_a_clock_that_was_set_while_it_was_uncertain_hides_nothing(scene: Scene, set_s: float) -> None:
    attempt, batch = scene.attempt(1, 2), scene.batch(1, 2)
    scene.time_passes(3600)
    scene.clock.sleep(set_s)
    assert scene.settle(attempt).batch_id == batch


def test_a_clock_that_was_set_forward_makes_nothing_lost_before_its_time(scene: Scene) -> None:
    attempt = scene.attempt(1, 2)
    scene.clock.sleep(7200)
    scene.time_passes(SETTLE_AFTER_S - 5)
    assert scene.settle(attempt).to_state is None
    scene.time_passes(7)
    assert scene.settle(attempt).to_state is S.ASSUMED_LOST


def test_a_clock_that_is_hours_ahead_delays_nothing_for_who_keeps_looking(scene: Scene) -> None:
    scene.clock.sleep(7200)
    attempt = scene.attempt(1, 2)
    assert scene.settle(attempt).to_state is None
    scene.time_passes(SETTLE_AFTER_S + 2)
    assert scene.settle(attempt).to_state is S.ASSUMED_LOST


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_a_clock_that_is_wrong_hides_nothing(scene: Scene, skew_s: float) -> None:
    scene.clock.sleep(skew_s)
    attempt, batch = scene.attempt(1, 2), scene.batch(1, 2)
    assert scene.settle(attempt).batch_id == batch


def test_two_batches_that_could_be_it_wait_for_their_custom_ids(scene: Scene) -> None:
    attempt = scene.attempt(1, 2)
    batches = scene.batch(1, 2), scene.batch(8, 9)
    verdict = scene.settle(attempt)
    assert verdict.to_state is None
    assert all(batch in verdict.note for batch in batches)
    scene.have_ended(*batches)
    assert scene.settle(attempt).batch_id == batches[0]


def test_a_batch_of_nobodys_is_named_so_that_it_is_not_looked_at_again(scene: Scene) -> None:
    attempt, batch = scene.attempt(1, 2), scene.batch(8, 9)
    scene.have_ended(batch)
    verdict = scene.settle(attempt)
    assert (verdict.to_state, verdict.foreign_batch_ids) == (None, (batch,))


def two_attempts_of_one_count(scene: Scene) -> tuple[int, int]:
    """As a wrongly adopted batch can bring them about."""
    first = scene.attempt(1, 2, state=S.UNCERTAIN)
    scene.state.move(first, S.UNCERTAIN, S.ADOPTED, batch_id="msgbatch_wrong")
    second = scene.attempt(3, 4, state=S.SENDING)
    scene.state.move(first, S.ADOPTED, S.UNCERTAIN)
    return first, second


def test_a_batch_that_may_be_another_attempts_is_not_adopted_unread(scene: Scene) -> None:
    first, second = two_attempts_of_one_count(scene)
    batch = scene.batch(3, 4)
    assert scene.settle(first).to_state is None
    scene.have_ended(batch)
    verdict = scene.settle(first)
    assert (verdict.to_state, verdict.foreign_batch_ids) == (None, ())
    scene.state.move(second, S.SENDING, S.UNCERTAIN)
    assert scene.settle(second).batch_id == batch


def test_batches_on_later_pages_of_the_list_are_found(scene: Scene) -> None:
    attempt, batch = scene.attempt(1, 2), scene.batch(1, 2)
    for _ in range(105):
        scene.batch(5)
    assert scene.settle(attempt).batch_id == batch


def test_batches_whose_results_are_gone_are_left_to_a_person(scene: Scene) -> None:
    attempt = scene.attempt(1, 2)
    one, other = scene.batch(1, 2), scene.batch(8, 9)
    assert scene.settle(attempt).awaits_end
    scene.have_ended(one, other)
    scene.time_passes(29 * 86_400)
    verdict = scene.settle(attempt)
    assert (verdict.to_state, verdict.awaits_end) == (S.AMBIGUOUS, False)
    assert one in verdict.note
    assert other in verdict.note
