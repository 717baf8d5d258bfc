"""Leases, on every store: one holder at a time; the dead and the silent lose them, and are refused from then on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from batchforge.clock import SystemClock
from batchforge.errors import StateLocked
from batchforge.execution.leases import SUBMIT, LeaseKeeper
from batchforge.state.holders import Holder, ci_job_url, this_holder, this_holder_in_words
from batchforge.state.records import Lease, LeaseHeld, RunRecord
from batchforge.state.sql_state import SqlState
from batchforge.state.stores import open_state
from tests.builders import child_environment

Open = Callable[[], SqlState]
ELSEWHERE = Holder("runner-7:4711:99", "ci@runner-7", "https://ci.example/jobs/7")


@pytest.fixture
def reopen(state_url: str) -> Iterator[Open]:
    opened: list[SqlState] = []

    def open_once_more() -> SqlState:
        opened.append(open_state(state_url))
        return opened[-1]

    yield open_once_more
    for state in opened:
        state.close()


def take(state: SqlState, holder: Holder = ELSEWHERE, term_s: float = 60, name: str = SUBMIT) -> Lease:
    return state.take_lease(name, "submitting about to prod", holder, term_s)


def write(state: SqlState, run_id: str = "r1") -> None:
    state.begin_run(RunRecord(run_id, "2026-11-24T00:00:00Z", "run", "prod", ("about",)))


def test_one_process_holds_a_lease(reopen: Open) -> None:
    held = take(reopen())
    with pytest.raises(LeaseHeld) as refused:
        take(reopen(), this_holder_in_words())
    assert refused.value.lease == held
    assert reopen().leases() == [held]


def test_leases_of_different_names_are_held_by_different_processes(reopen: Open) -> None:
    take(reopen())
    take(reopen(), this_holder_in_words(), name="store 1")
    assert [lease.name for lease in reopen().leases()] == ["store 1", SUBMIT]


def test_what_was_given_back_is_free(reopen: Open) -> None:
    state = reopen()
    first = take(state)
    state.give_back(first)
    second = take(reopen(), this_holder_in_words())
    assert second.fence > first.fence


def test_a_holder_that_gives_no_sign_of_life_loses_it_at_the_end_of_its_term(reopen: Open) -> None:
    take(reopen(), term_s=0.2)
    began, state = time.monotonic(), reopen()
    keeper = LeaseKeeper(state, SystemClock(), lock_timeout_s=5)
    with keeper.held(SUBMIT, "submitting"):
        assert time.monotonic() - began < 2


def test_a_dead_process_of_this_machine_loses_it_at_once(reopen: Open) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        host = this_holder().rsplit(":", 2)[0]
        holder = Holder(f"{host}:{process.pid}:1", "me@here", "")
        process.kill()
    take(reopen(), holder, term_s=3600)
    assert take(reopen()).fence == 2


def test_a_fenced_off_writer_is_refused_by_the_store(reopen: Open) -> None:
    slow, quick = reopen(), reopen()
    slow.fenced_by([take(slow, term_s=0)])
    write(slow, "before")
    take(quick, this_holder_in_words())
    with pytest.raises(StateLocked, match=r"BF512 this process held `submit` of the state for too long") as refused:
        write(slow, "after")
    assert refused.value.exit_code == 4
    assert [run.run_id for run in quick.runs(9)] == ["before"]


def test_a_broken_lease_fences_its_holder_off(reopen: Open) -> None:
    state = reopen()
    held = take(state)
    state.fenced_by([held])
    assert reopen().break_lease(SUBMIT) == held
    with pytest.raises(StateLocked, match=r"BF512 .* and it was taken away"):
        write(state)
    assert reopen().break_lease(SUBMIT) is None


def test_a_renewal_never_shortens_a_lease_and_comes_too_late_for_a_lost_one(reopen: Open) -> None:
    state = reopen()
    lease = take(state, term_s=1000)
    state.renew_lease(lease, 10)
    (now,) = state.leases()
    assert now.expires_at == lease.expires_at
    assert now.renewed_at > lease.renewed_at
    state.break_lease(SUBMIT)
    with pytest.raises(StateLocked, match="BF512"):
        state.renew_lease(lease, 10)


def test_a_sender_has_more_lease_than_its_post_may_take(reopen: Open) -> None:
    state = reopen()
    keeper = LeaseKeeper(state, SystemClock())
    with keeper.held(SUBMIT, "submitting"):
        keeper.cover(600)
        (lease,) = state.leases()
        assert datetime.fromisoformat(lease.expires_at) > datetime.now(UTC) + timedelta(seconds=630)
    assert state.leases() == []


def test_who_waits_in_vain_is_told_who_is_at_work(reopen: Open) -> None:
    take(reopen())
    keeper = LeaseKeeper(reopen(), SystemClock(), lock_timeout_s=0.3)
    with pytest.raises(StateLocked) as refused, keeper.held(SUBMIT, "submitting"):
        pytest.fail("it is not ours")
    (problem,) = refused.value.problems
    assert (problem.code, refused.value.exit_code) == ("BF513", 4)
    assert "ci@runner-7 (process 4711), https://ci.example/jobs/7" in problem.message
    assert "submitting about to prod" in problem.message
    assert "batchforge state unlock submit" in problem.hint


def test_others_go_on_while_a_holder_waits(reopen: Open) -> None:
    mine, other = reopen(), reopen()
    keeper = LeaseKeeper(mine, SystemClock())
    with keeper.held(SUBMIT, "submitting"):
        with keeper.given_back():
            other.give_back(take(other))
            write(mine)
        with pytest.raises(LeaseHeld):
            take(other)
        write(mine, "r2")
    assert mine.leases() == []


def test_readers_read_while_somebody_writes(reopen: Open) -> None:
    writer, reader = reopen(), reopen()
    write(writer)
    with writer._db.transaction():
        writer._db.execute("DELETE FROM runs")
        assert [run.run_id for run in reader.runs(9)] == ["r1"]


def test_of_many_that_take_it_at_once_one_gets_it(state_url: str) -> None:
    open_state(state_url).close()
    taken: list[int] = []

    def try_it() -> None:
        state = open_state(state_url)
        try:
            taken.append(take(state).fence)
        except LeaseHeld:
            pass
        finally:
            state.close()

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [1]


HOLD = """
import sys
from batchforge.clock import SystemClock
from batchforge.execution.leases import SUBMIT, LeaseKeeper
from batchforge.state.stores import open_state
with LeaseKeeper(open_state(sys.argv[1]), SystemClock()).held(SUBMIT, "submitting"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_process_that_is_killed_gives_way_to_another(state_url: str, reopen: Open) -> None:
    command = [sys.executable, "-c", HOLD, state_url]
    process = subprocess.Popen(command, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        state = reopen()
        with pytest.raises(LeaseHeld):
            take(state, this_holder_in_words())
        process.kill()
        process.wait()
        assert take(state, this_holder_in_words()).fence == 2


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        (
            {"GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "5"},
            "https://git.example/a/b/actions/runs/5",
        ),
        ({"CI_JOB_URL": "https://ci.example/jobs/7"}, "https://ci.example/jobs/7"),
    ],
)
def test_a_holder_names_its_ci_job(environment: dict[str, str], url: str) -> None:
    assert ci_job_url(environment) == url
