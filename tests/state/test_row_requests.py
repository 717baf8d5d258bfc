"""State remembers every request that a row had, though manifests are replaced; and forgets what is erased or pruned."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from batchforge.requests.fingerprint import custom_id
from batchforge.results import RequestResult, ResultKind
from batchforge.state import erasure, maintenance
from batchforge.state.attempts import AttemptState
from batchforge.state.records import IntendedRequest, Intention, Manifest, ManifestRow, RunRecord
from batchforge.state.sqlite import SqliteState

LATER = "9999-01-01T00:00:00Z"


def name_of(number: int) -> bytes:
    return number.to_bytes(32)


def row(position: int, key: str, request: int | None, ordinal: int = 0) -> ManifestRow:
    name = None if request is None else name_of(request)
    return ManifestRow(position, key, name, ordinal, b"", b'{"text":"%d"}' % position, None, None, f"x:{position}")


def save(state: SqliteState, run_id: str, rows: Iterable[ManifestRow], job: str = "about", scope: str = "") -> int:
    rows = list(rows)
    manifest = Manifest(0, job, "api", scope, run_id, f"2026-11-24T{run_id}", "digest", len(rows), {}, ("text",))
    state.begin_run(RunRecord(run_id, f"2026-11-24T{run_id}", "run", "api", (job,)))
    return state.save_manifest(manifest, rows)


def answer(state: SqliteState, numbers: Iterable[int], run_id: str = "1", batch_id: str = "msgbatch_1") -> int:
    """Ask requests and store an answer to each."""
    intention = Intention(run_id, "about", "api", "batch", "m", 100, b"s" * 16, b'{"x":\x000\x00}', "here:1:1")
    asked = [IntendedRequest(name_of(number), 0, (b'"piece %d"' % number,)) for number in numbers]
    attempt = state.intend(intention, asked)
    path = (AttemptState.INTENDED, AttemptState.SENDING, AttemptState.KNOWN, AttemptState.ENDED, AttemptState.STORED)
    for before, after in zip(path, (*path[1:], AttemptState.CLOSED), strict=True):
        if after is AttemptState.STORED:
            message = b'{"content":[{"type":"text","text":"the answer"}]}'
            state.store_results(
                attempt,
                [RequestResult(custom_id(a.request_id), ResultKind.ANSWERED, message=message) for a in asked],
            )
        state.move(attempt, before, after, batch_id=batch_id if after is AttemptState.KNOWN else None)
    return attempt


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteState]:
    opened = SqliteState(tmp_path / "state.db")
    yield opened
    opened.close()


def requests_of(state: SqliteState, key: str, job: str = "about") -> list[tuple[int, int, str]]:
    found = state.row_requests("api", job, key)
    return [(int.from_bytes(r.request_id), r.ordinal, r.first_run_id) for r in found]


def test_a_row_keeps_the_requests_of_manifests_that_were_replaced(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10), row(1, "b", 20)])
    save(state, "2", [row(0, "a", 11), row(1, "b", 20)])
    save(state, "3", [row(0, "b", 20, 1)])
    assert requests_of(state, "a") == [(10, 0, "1"), (11, 0, "2")]
    assert requests_of(state, "b") == [(20, 0, "1"), (20, 1, "3")]


def test_a_blocked_row_has_no_request(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", None)])
    assert requests_of(state, "a") == []


def test_partial_runs_are_remembered_as_well(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10)], scope="limit=1")
    assert requests_of(state, "a") == [(10, 0, "1")]


def test_all_rows_of_a_request_are_found(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10), row(1, "b", 10), row(2, "c", 30)])
    save(state, "2", [row(0, "x", 10)], job="copy")
    assert {(r.job, r.key) for r in state.rows_of_request(name_of(10), 0)} == {
        ("about", "a"),
        ("about", "b"),
        ("copy", "x"),
    }


def test_all_rows_of_an_attempt_are_found(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10), row(1, "b", 20), row(2, "c", 30)])
    attempt_id = answer(state, [10, 20])
    assert [r.key for r in state.rows_of_attempt(attempt_id)] == ["a", "b"]


def test_a_request_is_given_as_it_was_asked(state: SqliteState) -> None:
    answer(state, [10])
    asked = state.asked(name_of(10))
    assert asked is not None
    assert asked.body == b'{"x":"piece 10"}'
    assert state.asked(name_of(11)) is None


def test_pruning_forgets_what_rows_had_with_the_answers(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10), row(1, "b", 20)])
    answer(state, [10, 20])
    save(state, "2", [row(0, "a", 11), row(1, "b", 20)])
    maintenance.prune(state, LATER)
    assert requests_of(state, "a") == [(11, 0, "2")]
    assert requests_of(state, "b") == [(20, 0, "1")]


def test_remembering_rows_takes_seconds_for_a_million(state: SqliteState) -> None:
    rows = 50_000
    began = time.process_time()
    save(state, "1", (row(n, f"key-{n}", n) for n in range(rows)))
    seconds = time.process_time() - began
    assert seconds * 1_000_000 / rows < 60
    assert state.query("SELECT count(*) FROM row_requests").__next__()[0] == rows


# ---- erasure


def file_bytes(state: SqliteState) -> bytes:
    return b"".join(path.read_bytes() for path in state.path.parent.glob("state.db*"))


def test_what_is_erased_is_in_no_byte_of_the_files(state: SqliteState) -> None:
    save(state, "1", [row(0, "key-of-ann", 10), row(1, "b", 20)])
    answer(state, [10, 20])
    assert b"piece 10" in file_bytes(state)
    erasure.erase(state, "about", {"key-of-ann"})
    assert state.compact()
    left = file_bytes(state)
    assert b"piece 10" not in left
    assert b"key-of-ann" not in left
    assert b"piece 20" in left
    assert state.counts()["results"] == 1


def test_erasure_is_counted_as_it_is_done(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10), row(1, "b", 20), row(2, "c", 20)])
    answer(state, [10, 20])
    found = erasure.find_erasable(state, "about", {"a", "b", "never was"})
    assert (found.rows, found.requests, found.answers, found.billed_answers) == (2, 1, 1, 1)
    assert (found.shared_requests, [r.key for r in found.shared_with]) == (1, ["c"])
    assert found.custom_ids == {custom_id(name_of(10))}
    before = state.counts()
    erasure.erase(state, "about", {"a", "b"})
    assert {name: before[name] - count for name, count in state.counts().items() if before[name] != count} == {
        "requests": 1,
        "results": 1,
    }


def test_the_manifest_counts_only_the_rows_that_stay_and_is_written_anew_by_the_next_run(state: SqliteState) -> None:
    manifest_id = save(state, "1", [row(0, "a", 10), row(1, "b", 20)])
    erasure.erase(state, "about", {"a"})
    manifest = state.manifest("api", "about")
    assert manifest is not None
    assert (manifest.row_count, manifest.digest) == (1, "")
    assert [r.key for r in state.manifest_rows(manifest_id)] == ["b"]


def test_rows_of_equal_keys_in_other_jobs_stay(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10)])
    save(state, "2", [row(0, "a", 30)], job="copy")
    erasure.erase(state, "about", {"a"})
    assert requests_of(state, "a", "copy") == [(30, 0, "2")]


def test_claims_are_counted_as_in_flight(state: SqliteState) -> None:
    save(state, "1", [row(0, "a", 10)])
    intention = Intention("1", "about", "api", "batch", "m", 100, b"s" * 16, b"{}", "here:1:1")
    state.intend(intention, [IntendedRequest(name_of(10), 0, ())])
    assert erasure.find_erasable(state, "about", {"a"}).in_flight == 1
