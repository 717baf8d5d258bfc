"""What every `StateStore` does: claims are unique, moves legal, results kept once, manifests replaced as a whole."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.errors import StateError, StateLocked
from batchforge.requests.fingerprint import custom_id
from batchforge.results import RequestResult, ResultKind, Usage
from batchforge.state.attempts import LEGAL_MOVES, UNSETTLED, AttemptState, IllegalMove
from batchforge.state.records import (
    AttemptMoved,
    BatchRecord,
    ClaimTaken,
    CountTaken,
    IntendedRequest,
    Intention,
    Manifest,
    ManifestRow,
    RunRecord,
    StateStore,
    UploadedFile,
)
from batchforge.state.schema import APPLICATION_ID, MIGRATIONS
from batchforge.state.sqlite import SqliteState
from batchforge.state.stores import open_state
from batchforge.target import Origin

Open = Callable[[], StateStore]
S = AttemptState
PATH_TO: dict[AttemptState, Sequence[AttemptState]] = {
    S.INTENDED: (),
    S.SENDING: (S.SENDING,),
    S.KNOWN: (S.SENDING, S.KNOWN),
    S.ENDED: (S.SENDING, S.KNOWN, S.ENDED),
    S.STORED: (S.SENDING, S.KNOWN, S.ENDED, S.STORED),
    S.CLOSED: (S.SENDING, S.KNOWN, S.ENDED, S.STORED, S.CLOSED),
    S.REJECTED: (S.SENDING, S.REJECTED),
    S.WITHDRAWN: (S.WITHDRAWN,),
    S.UNCERTAIN: (S.SENDING, S.UNCERTAIN),
    S.ADOPTED: (S.SENDING, S.UNCERTAIN, S.ADOPTED),
    S.AMBIGUOUS: (S.SENDING, S.UNCERTAIN, S.AMBIGUOUS),
    S.ASSUMED_LOST: (S.SENDING, S.UNCERTAIN, S.ASSUMED_LOST),
    S.GONE: (S.SENDING, S.KNOWN, S.GONE),
    S.INTERRUPTED: (S.SENDING, S.INTERRUPTED),
}


@pytest.fixture
def reopen(state_url: str) -> Iterator[Open]:
    """Opens the same store once more, as another process would."""
    opened: list[StateStore] = []

    def open_once_more() -> StateStore:
        opened.append(open_state(state_url))
        return opened[-1]

    yield open_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> StateStore:
    return reopen()


def name_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def asked(*numbers: int, ordinal: int = 0) -> list[IntendedRequest]:
    return [IntendedRequest(name_of(number), ordinal, (b'"piece"',)) for number in numbers]


def intention(job: str = "about", mode: str = "batch", **changes: object) -> Intention:
    values = {"run_id": "r1", "job": job, "target": "api", "mode": mode, "model": "m", "max_tokens": 100}
    rest = {"skeleton_id": b"s" * 16, "skeleton": b'{"x":\x000\x00}', "holder": "here:1:1"}
    return Intention(**{**values, **rest, **changes})  # type: ignore[arg-type]


def brought_to(store: StateStore, state: AttemptState, numbers: Sequence[int] = (1,), job: str = "about") -> int:
    """An attempt that has come as far as `state`."""
    attempt_id = store.intend(intention(job), asked(*numbers))
    before = S.INTENDED
    for step in PATH_TO[state]:
        batch_id = f"msgbatch_{attempt_id}" if step in {S.KNOWN, S.ADOPTED} else None
        store.move(attempt_id, before, step, batch_id=batch_id)
        before = step
    return attempt_id


def result(number: int, kind: ResultKind = ResultKind.ANSWERED, ordinal: int = 0) -> RequestResult:
    message = b'{"id":"msg_%d"}' % number if kind.is_billed else None
    return RequestResult(custom_id(name_of(number), ordinal), kind, Usage(10, 5), message, f"msg_{number}", "m")


# ---- the life of an attempt


@pytest.mark.parametrize("state", AttemptState)
def test_every_state_can_be_reached_and_knows_whether_it_is_final(store: StateStore, state: AttemptState) -> None:
    attempt_id = brought_to(store, state)
    assert store.attempt(attempt_id).state is state
    assert bool(store.open_attempts()) == (state in LEGAL_MOVES) == (not state.is_final)


@pytest.mark.parametrize("state", AttemptState)
def test_only_legal_moves_are_made(reopen: Open, state: AttemptState) -> None:
    store = reopen()
    attempt_id = brought_to(store, state)
    for other in set(AttemptState) - LEGAL_MOVES.get(state, frozenset()):
        with pytest.raises(IllegalMove):
            store.move(attempt_id, state, other)
    assert reopen().attempt(attempt_id).state is state


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(AttemptState), max_size=8))
def test_any_walk_stays_within_the_drawing(tmp_path_factory: pytest.TempPathFactory, steps: list[AttemptState]) -> None:
    store = SqliteState(tmp_path_factory.mktemp("walk") / "state.db")
    attempt_id, state = store.intend(intention(), asked(1)), S.INTENDED
    for step in steps:
        try:
            store.move(attempt_id, state, step)
        except IllegalMove:
            assert step not in LEGAL_MOVES.get(state, frozenset())
        else:
            assert step in LEGAL_MOVES[state]
            state = step
    assert store.attempt(attempt_id).state is state
    assert bool(list(store.claimed(attempt_id))) == (not state.is_final)
    store.close()


def test_a_move_from_a_state_that_another_process_has_left_is_refused(reopen: Open) -> None:
    one, other = reopen(), reopen()
    attempt_id = brought_to(one, S.KNOWN)
    other.move(attempt_id, S.KNOWN, S.ENDED)
    with pytest.raises(AttemptMoved):
        one.move(attempt_id, S.KNOWN, S.ENDED)
    assert one.attempt(attempt_id).state is S.ENDED


def test_a_batch_belongs_to_one_attempt(store: StateStore) -> None:
    first = brought_to(store, S.UNCERTAIN, [1])
    second = brought_to(store, S.UNCERTAIN, [2, 3])
    store.move(first, S.UNCERTAIN, S.ADOPTED, batch_id="msgbatch_x")
    with pytest.raises(AttemptMoved):
        store.move(second, S.UNCERTAIN, S.ADOPTED, batch_id="msgbatch_x")
    assert store.attempt(second).state is S.UNCERTAIN


def test_an_attempt_that_is_uncertain_again_has_no_batch(store: StateStore) -> None:
    attempt_id = brought_to(store, S.ADOPTED)
    store.move(attempt_id, S.ADOPTED, S.UNCERTAIN)
    assert store.attempt(attempt_id).batch_id is None


# ---- claims


def test_a_request_is_asked_by_one_attempt_at_a_time(reopen: Open) -> None:
    one, other = reopen(), reopen()
    one.intend(intention(), asked(1, 2))
    with pytest.raises(ClaimTaken):
        other.intend(intention(), asked(3, 4, 2))
    assert one.counts()["attempts"] == 1
    assert one.lookup([name_of(3)]) == {}


def test_what_was_answered_since_it_was_planned_is_not_claimed_again(reopen: Open) -> None:
    one, other = reopen(), reopen()
    brought_to(one, S.ENDED, (1,))
    attempt = one.open_attempts()[0]
    one.store_results(attempt.attempt_id, [result(1)])
    one.move(attempt.attempt_id, S.ENDED, S.STORED)
    one.move(attempt.attempt_id, S.STORED, S.CLOSED)
    with pytest.raises(ClaimTaken):
        other.intend(intention(), asked(2, 1))
    other.intend(intention(), asked(1, ordinal=1))


def test_further_answers_to_a_request_can_be_asked_at_the_same_time(store: StateStore) -> None:
    store.intend(intention(), asked(1))
    store.intend(intention(), [*asked(1, ordinal=1), *asked(2)])
    claims = store.lookup([name_of(1)])[name_of(1)].claims
    assert sorted(claim.ordinal for claim in claims) == [0, 1]


@pytest.mark.parametrize("state", [state for state in AttemptState if state.is_final])
def test_a_final_state_frees_the_requests(store: StateStore, state: AttemptState) -> None:
    brought_to(store, state)
    assert store.intend(intention(), asked(1)) > 0


@pytest.mark.parametrize("state", [S.INTENDED, *sorted(UNSETTLED)])
def test_no_batch_of_a_count_is_intended_while_one_of_it_may_be_lost(store: StateStore, state: AttemptState) -> None:
    brought_to(store, state, [1, 2])
    with pytest.raises(CountTaken):
        store.intend(intention("other"), asked(3, 4))
    assert store.intend(intention("other"), asked(3, 4, 5)) > 0
    assert store.intend(intention("sync", mode="sync"), asked(6, 7)) > 0


@pytest.mark.parametrize("state", [S.KNOWN, S.ADOPTED, S.ENDED, S.CLOSED, S.REJECTED])
def test_counts_of_batches_whose_fate_is_known_stand_in_nobodys_way(store: StateStore, state: AttemptState) -> None:
    brought_to(store, state, [1, 2])
    assert store.intend(intention("other"), asked(3, 4)) > 0


def test_of_many_that_claim_at_once_one_gets_it(state_url: str) -> None:
    open_state(state_url).close()
    won: list[int] = []

    def claim() -> None:
        store = open_state(state_url)
        try:
            won.append(store.intend(intention(), asked(1, 2, 3)))
        except ClaimTaken:
            pass
        finally:
            store.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


# ---- results


def test_results_are_kept_once_however_often_they_are_read(reopen: Open) -> None:
    store = reopen()
    attempt_id = brought_to(store, S.ENDED, [1, 2])
    first = store.store_results(attempt_id, [result(1), result(2, ResultKind.EXPIRED)])
    again = store.store_results(attempt_id, [result(2, ResultKind.EXPIRED), result(1)])
    assert (len(first.stored), len(again.stored), again.unasked) == (2, 0, ())
    assert reopen().counts()["results"] == 2


def test_results_that_were_not_asked_for_are_named_and_left_out(store: StateStore) -> None:
    attempt_id = brought_to(store, S.ENDED, [1])
    report = store.store_results(attempt_id, [result(1), result(9), RequestResult("row-1", ResultKind.EXPIRED)])
    assert (len(report.stored), report.unasked) == (1, (custom_id(name_of(9)), "row-1"))


def test_a_message_is_kept_byte_for_byte(store: StateStore) -> None:
    attempt_id = brought_to(store, S.ENDED, [1])
    message = b'{"id":"msg_1",  "text":"\xf0\x9f\x9a\xb2 \\u0000"}'
    store.store_results(attempt_id, [RequestResult(custom_id(name_of(1)), ResultKind.ANSWERED, message=message)])
    stored = store.stored_results([(name_of(1), 0)])[name_of(1), 0]
    assert (stored.result.message, stored.attempt_id) == (message, attempt_id)


def test_the_billed_result_of_a_request_counts_before_a_later_unbilled_one(store: StateStore) -> None:
    for kind in (ResultKind.EXPIRED, ResultKind.ANSWERED):
        attempt_id = brought_to(store, S.ENDED, [1])
        store.store_results(attempt_id, [result(1, kind)])
        store.move(attempt_id, S.ENDED, S.STORED)
        store.move(attempt_id, S.STORED, S.CLOSED)
    assert store.stored_results([(name_of(1), 0)])[name_of(1), 0].result.kind is ResultKind.ANSWERED
    assert [answer.kind for answer in store.lookup([name_of(1)])[name_of(1)].answers] == ["expired", "answered"]


# ---- manifests


def manifest(rows: int, run_id: str = "r1", scope: str = "") -> Manifest:
    return Manifest(0, "about", "api", scope, run_id, "2026-11-24T00:00:00Z", "digest", rows, {"model": "a"}, ("text",))


def rows_of(numbers: Sequence[int]) -> list[ManifestRow]:
    return [
        ManifestRow(position, f"key {number}", name_of(number), 0, b"h", b'{"text":"x"}', None, None, "here")
        for position, number in enumerate(numbers)
    ]


def test_a_manifest_replaces_the_one_before_it_and_no_other(store: StateStore) -> None:
    store.save_manifest(manifest(1, scope="limit=1"), rows_of([9]))
    store.save_manifest(manifest(2), rows_of([1, 2]))
    store.save_manifest(manifest(3, run_id="r2"), rows_of([3, 1, 2]))
    held = store.manifest("api", "about")
    assert held is not None
    assert (held.run_id, held.row_count) == ("r2", 3)
    assert [row.key for row in store.manifest_rows(held.manifest_id)] == ["key 3", "key 1", "key 2"]
    narrowed = store.manifest("api", "about", "limit=1")
    assert narrowed is not None
    assert len(list(store.manifest_rows(narrowed.manifest_id))) == 1


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([*range(700), 9_999, *range(701, 2_500)], id="one row differs"),
        pytest.param([*range(2_500), 9_998, 9_999], id="rows more at the end"),
        pytest.param([9_999, *range(2_500)], id="a row more at the start"),
        pytest.param([*range(400), *range(2_300, 2_500)], id="rows less"),
        pytest.param([], id="no rows any more"),
    ],
)
def test_a_manifest_that_replaces_another_holds_its_own_rows_alone(store: StateStore, numbers: list[int]) -> None:
    store.save_manifest(manifest(2_500), rows_of(range(2_500)))
    manifest_id = store.save_manifest(manifest(len(numbers), run_id="r2"), rows_of(numbers))
    assert list(store.manifest_rows(manifest_id)) == rows_of(numbers)
    assert [r.first_run_id for number in numbers[:1] for r in store.row_requests("api", "about", f"key {number}")] == [
        "r2" if number == 9_999 else "r1" for number in numbers[:1]
    ]
    for number in {9_998, 9_999} & set(numbers):
        assert [r.first_run_id for r in store.row_requests("api", "about", f"key {number}")] == ["r2"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [3, 1_500], id="no rows before"),
        pytest.param([0, 3, 1_500], [3], id="rows less at both ends"),
        pytest.param(
            [*range(0, 1_300, 2), *range(1_300, 1_800)], [*range(0, 1_300, 2), *range(1_400, 1_800)], id="a gap"
        ),
    ],
)
def test_a_step_that_has_only_some_rows_holds_those_alone(
    store: StateStore, before: list[int], after: list[int]
) -> None:
    every = rows_of(range(1_800))
    first, then = ([every[number] for number in numbers] for numbers in (before, after))
    store.save_manifest(manifest(len(first), scope="step=2"), first)
    manifest_id = store.save_manifest(manifest(len(then), run_id="r2", scope="step=2"), then)
    assert list(store.manifest_rows(manifest_id)) == then
    asked_in = [each.first_run_id for each in store.row_requests("api", "about", f"key {after[-1]}")]
    assert asked_in == ["r1" if after[-1] in before else "r2"]


def test_what_a_slower_run_has_written_says_nothing_of_rows_submitted_since(store: StateStore) -> None:
    store.save_manifest(manifest(2), rows_of([1, 2]))
    before = store.manifest("api", "about")
    assert before is not None
    store.save_manifest(manifest(2, run_id="r2"), rows_of([1, 3]))
    store.mark_written(before, "form")
    store.mark_settled(before, "settled")
    now = store.manifest("api", "about")
    assert now is not None
    assert (now.run_id, now.written_as, now.settled) == ("r2", None, None)


def test_outputs_have_a_row_for_each_of_the_manifest_in_its_order(store: StateStore) -> None:
    attempt_id = brought_to(store, S.ENDED, [1, 2])
    store.store_results(attempt_id, [result(1)])
    manifest_id = store.save_manifest(manifest(3), rows_of([2, 1, 1]))
    found = [(row.row.position, row.stored is not None) for row in store.output_rows(manifest_id)]
    assert found == [(0, False), (1, True), (2, True)]


def test_a_manifest_is_to_be_written_again_once_a_result_has_come(store: StateStore) -> None:
    manifest_id = store.save_manifest(manifest(1), rows_of([1]))
    held = store.manifest("api", "about")
    assert held is not None
    store.mark_written(held, "form")
    assert store.unwritten_manifests("api") == []
    brought_to(store, S.CLOSED)
    assert [each.manifest_id for each in store.unwritten_manifests("api")] == [manifest_id]


def test_what_was_written_of_other_rows_stays_written(store: StateStore) -> None:
    brought_to(store, S.CLOSED, [1, 2])
    store.save_manifest(manifest(2, run_id="r2"), rows_of([1, 2]))
    store.save_manifest(manifest(1, run_id="r2", scope="limit=1"), rows_of([3]))
    store.save_manifest(manifest(1, run_id="r2", scope="limit=2"), rows_of([4]))
    for scope in ("", "limit=1", "limit=2"):
        held = store.manifest("api", "about", scope)
        assert held is not None
        store.mark_written(held, "form")
    brought_to(store, S.CLOSED, [3])
    assert [each.scope for each in store.unwritten_manifests("api")] == ["limit=1"]


STRANGE = ("\0", "\0\x01", "\x01", "\x01\x01", "\x01\x02", "a\0b", "line\nend", "\x7f", "\u2028", "🚲", "'\"\\;--")


def test_keys_and_answers_may_hold_any_character(store: StateStore, reopen: Open) -> None:
    rows = [
        ManifestRow(place, key, name_of(place), 0, b"h\0", b"{}", key, key, key) for place, key in enumerate(STRANGE)
    ]
    manifest_id = store.save_manifest(manifest(len(rows)), rows)
    attempt_id = brought_to(store, S.ENDED, range(len(rows)))
    answers = [
        RequestResult(custom_id(name_of(place)), ResultKind.ERRORED, error_type=key, error_message=key)
        for place, key in enumerate(STRANGE)
    ]
    assert len(store.store_results(attempt_id, answers).stored) == len(STRANGE)
    store = reopen()
    assert list(store.manifest_rows(manifest_id)) == rows
    assert store.rows_by_key(manifest_id, STRANGE) == {row.key: row for row in rows}
    outputs = [(row.row.key, row.stored and row.stored.result.error_message) for row in store.output_rows(manifest_id)]
    assert outputs == [(key, key) for key in STRANGE]


def test_attempts_of_another_job_are_awaited_where_they_ask_for_our_rows(store: StateStore) -> None:
    brought_to(store, S.KNOWN, [1, 2], job="other")
    brought_to(store, S.KNOWN, [5, 6, 7], job="third")
    store.save_manifest(manifest(2), rows_of([2, 3]))
    assert [attempt.job for attempt in store.awaited_attempts(["about"])] == ["other"]


# ---- the rest


def test_of_two_processes_that_say_where_answers_come_from_the_first_counts(reopen: Open) -> None:
    one, two = reopen(), reopen()
    one.set_origin(Origin("claude", "api.anthropic.com"))
    two.set_origin(Origin("claude", "elsewhere.example"))
    assert {one.origin(), two.origin()} == {Origin("claude", "api.anthropic.com")}


def test_what_was_written_is_there_for_the_next_process(reopen: Open) -> None:
    one = reopen()
    one.set_origin(Origin("claude", "api.anthropic.com"))
    one.begin_run(RunRecord("r1", "2026-11-24T00:00:00Z", "run", "api", ("about",)))
    one.end_run("r1", "ok", {"exit_code": 0})
    one.save_batch(BatchRecord("msgbatch_1", 1, "in_progress", 1, 0, 0, 0, 0, "t", "t", None))
    one.disown_batch("msgbatch_2", "not ours")
    other = reopen()
    assert other.origin() == Origin("claude", "api.anthropic.com")
    (run,) = other.runs(5)
    assert (run.status, dict(run.summary)) == ("ok", {"exit_code": 0})
    assert other.known_batch_ids() == {"msgbatch_1", "msgbatch_2"}


# ---- files that are not as they should be (SQLite)


def uploaded(file_id: str, content: str, used_at: str = "2026-11-24T08:00:00Z") -> UploadedFile:
    times = ("2026-11-24T08:00:00Z", "2027-02-22T08:00:00Z", used_at)
    return UploadedFile(file_id, content * 64, "wrkspc_1", 9_000_000, *times)


def test_uploaded_files_are_remembered_by_their_content(store: StateStore, reopen: Open) -> None:
    for file in (uploaded("file_1", "a"), uploaded("file_2", "b"), uploaded("file_3", "a")):
        store.remember_file(file)
    store.remember_file(uploaded("file_2", "b", used_at="2026-11-25T08:00:00Z"))
    assert [file.file_id for file in reopen().uploaded_files("a" * 64)] == ["file_1", "file_3"]
    assert reopen().uploaded_files("b" * 64) == [uploaded("file_2", "b", used_at="2026-11-25T08:00:00Z")]
    store.forget_files(["file_1", "file_3", "file_none"])
    assert [file.file_id for file in reopen().uploaded_files()] == ["file_2"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    SqliteState(path).close()
    return path


@pytest.mark.parametrize("name", ["a?b", "c#d", "e%20f", "g h"])
def test_any_folder_can_hold_a_state(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "state.db"
    SqliteState(path).close()
    assert path.exists()
    SqliteState(path, read_only=True).close()


def test_nobody_else_can_read_the_file(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_newer_schema_is_refused_and_left_as_it_is(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = file.read_bytes()
    with pytest.raises(StateError, match=r"BF501 the state .*state.db was written by a newer version") as refused:
        SqliteState(file)
    assert "pip install -U batchforge" in refused.value.problems[0].hint
    assert file.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StateError, match=r"BF503 .*other.db is an SQLite file, but not a BatchForge state"):
        SqliteState(path)


@pytest.mark.parametrize("damage", [b"this is not a database, but a text" * 100, Random(7).randbytes(8192)], ids=len)
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(damage)
    with pytest.raises(StateError, match=r"BF503 .*state.db is damaged") as refused:
        SqliteState(path)
    assert "29 days" in refused.value.problems[0].hint


def test_a_file_that_was_cut_short_is_named(file: Path) -> None:
    store = SqliteState(file)
    for number in range(40):
        brought_to(store, S.CLOSED, range(number * 50, number * 50 + 50))
    store.close()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(StateError, match="BF503"):
        _read_everything(file)


def _read_everything(file: Path) -> None:
    store = SqliteState(file)
    try:
        store.lookup([name_of(number) for number in range(2000)])
        store.counts()
    finally:
        store.close()


def test_a_reader_sees_what_is_there_and_cannot_write(file: Path) -> None:
    writer, reader = SqliteState(file), SqliteState(file, read_only=True)
    attempt_id = brought_to(writer, S.KNOWN)
    assert reader.attempt(attempt_id).state is S.KNOWN
    with pytest.raises(StateError, match="BF505"):
        reader.move(attempt_id, S.KNOWN, S.ENDED)
    reader.close()
    writer.close()


def test_a_state_that_is_held_by_another_is_told_from_a_broken_one(file: Path) -> None:
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = SqliteState(file, lock_timeout_s=0.05)
    with pytest.raises(StateLocked, match="BF502") as locked:
        store.intend(intention(), asked(1))
    assert locked.value.exit_code == 4
    holder.close()
    assert store.intend(intention(), asked(1)) > 0
    store.close()


def test_an_older_state_is_read_without_being_changed(tmp_path: Path) -> None:
    for version in range(1, len(MIGRATIONS)):
        path = tmp_path / f"{version}.db"
        with sqlite3.connect(path) as db:
            for script in MIGRATIONS[:version]:
                db.executescript(script)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = path.read_bytes()
        reader = SqliteState(path, read_only=True)
        assert (reader.runs(1), reader.name_of_answer("req_1")) == ([], None)
        reader.close()
        assert path.read_bytes() == before


def test_every_version_of_the_schema_is_brought_up_to_the_present_one(tmp_path: Path) -> None:
    for version in range(len(MIGRATIONS) + 1):
        path = tmp_path / f"{version}.db"
        with sqlite3.connect(path) as db:
            for script in MIGRATIONS[:version]:
                db.executescript(script)
            if version:
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        store = SqliteState(path)
        assert brought_to(store, S.CLOSED) == 1
        store.close()
