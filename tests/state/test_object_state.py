"""A state that is a log: its index can be made anew, nothing is written twice or by who was outrun, it stays short."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from batchforge.clock import SystemClock
from batchforge.errors import StateError, StateLocked
from batchforge.state.objects.folder import ObjectFolder, open_folder
from batchforge.state.objects.index import Limits, ObjectDatabase
from batchforge.state.objects.log import Head, SegmentLog, new_token
from batchforge.state.objects.state import STEPS, ObjectState, open_objects
from batchforge.state.records import Manifest, ManifestRow, RunRecord, StateStore
from batchforge.state.schema import MIGRATIONS
from batchforge.state.sql_state import SqlState
from tests.end_to_end.proxy import Cut, CuttingProxy, Way
from tests.s3_server import S3Server, s3_url

Machine = Callable[..., ObjectState]
SMALL = Limits(snapshot_after=10, snapshot_after_at_most=10, replayed_at_most=10)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def machine(url: str, tmp_path: Path) -> Iterator[Machine]:
    """Opens the state on a machine of that name, which has an index of its own."""
    opened: list[ObjectState] = []

    def open_there(
        name: str = "here", log: SegmentLog | None = None, limits: Limits | None = None, timeout_s: float = 5
    ) -> ObjectState:
        log = log or SegmentLog(open_folder(url))
        log.set_up()
        database = ObjectDatabase(log, tmp_path / name / "index.db", lock_timeout_s=timeout_s, limits=limits)
        opened.append(ObjectState(database, timeout_s, SystemClock()))
        return opened[-1]

    yield open_there
    for state in opened:
        state.close()


def run(number: int, **changes: str) -> RunRecord:
    values = {"started_at": f"2026-11-24T09:00:{number % 60:02d}Z", "command": "run", "target": "api", **changes}
    return RunRecord(f"run-{number:06d}", jobs=("about",), **values)  # type: ignore[arg-type]


def run_ids(state: StateStore) -> list[str]:
    return sorted(each.run_id for each in state.runs(10_000))


def content(path: Path) -> list[str]:
    """All of an index but how far it has come and what it knows of snapshots."""
    with closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if "log_position" not in line]


# ---- the index


def test_an_index_can_be_made_anew_at_any_time(machine: Machine, tmp_path: Path) -> None:
    state = machine()
    for number in range(30):
        state.begin_run(run(number))
    state.end_run("run-000003", "ok", {"rows": 3})
    machine("elsewhere").close()
    assert content(tmp_path / "elsewhere" / "index.db") == content(tmp_path / "here" / "index.db")


def test_a_damaged_index_is_made_anew(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    open_objects(url, folder).begin_run(run(1))
    (index,) = folder.glob("index-*.db")
    index.write_bytes(b"no database at all" * 1000)
    with closing(open_objects(url, folder)) as state:
        assert run_ids(state) == ["run-000001"]


def test_without_a_folder_the_index_goes_when_the_state_is_closed(url: str) -> None:
    state = open_objects(url, None)
    index = state.index_path
    assert index.exists()
    state.close()
    assert not index.parent.exists()


def test_an_index_of_a_log_that_was_put_back_in_time_is_made_anew(machine: Machine, url: str) -> None:
    state = machine()
    for number in range(5):
        state.begin_run(run(number))
    state.close()
    folder = open_folder(url)
    folder.delete(each.name for each in folder.objects("log") if each.name > "log/000000000004")
    again = machine()
    assert run_ids(again) == [f"run-{number:06d}" for number in range(3)]
    again.begin_run(run(77))
    assert run_ids(machine("elsewhere")) == run_ids(again)


def test_two_states_at_one_address_one_after_the_other_have_indexes_of_their_own(url: str, tmp_path: Path) -> None:
    with closing(open_objects(url, tmp_path / "cache")) as state:
        state.begin_run(run(1))
    folder = open_folder(url)
    folder.delete([each.name for each in folder.objects("")])
    with closing(open_objects(url, tmp_path / "cache")) as state:
        assert run_ids(state) == []


# ---- writing


class Interrupted(Exception):
    """Stands for whatever ends a process between two steps."""


class DyingLog(SegmentLog):
    """Writes the number, and dies before it can tell."""

    dies = False

    def append(self, head: Head, segment: BinaryIO) -> bool:
        is_ours = super().append(head, segment)
        if self.dies:
            raise Interrupted
        return is_ours


def test_what_was_written_before_a_crash_is_there_once(machine: Machine, url: str) -> None:
    log = DyingLog(open_folder(url))
    state = machine(log=log)
    state.begin_run(run(1))
    log.dies = True
    with pytest.raises(Interrupted):
        state.begin_run(run(2))
    log.dies = False
    assert run_ids(state) == run_ids(machine("elsewhere")) == ["run-000001", "run-000002"]
    state.begin_run(run(3))
    assert len(run_ids(machine("elsewhere"))) == 3


def test_who_was_outrun_writes_on_what_is_there_by_now(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    for number in range(20):
        (here if number % 2 else there).begin_run(run(number))
    assert run_ids(here) == run_ids(there) == [f"run-{number:06d}" for number in range(20)]


def test_rows_of_a_manifest_are_kept_for_the_next_try(machine: Machine) -> None:
    here, there = machine("here"), machine("there")

    def rows() -> Iterator[ManifestRow]:
        for number in range(3):
            yield ManifestRow(number, str(number), b"r" * 32, 0, b"", b"{}", None, None, "rows.jsonl:1")
        there.begin_run(run(1))  # at the last moment

    manifest = Manifest(0, "about", "api", "", "run-000001", "2026-11-24T09:00:00Z", "d", 3, {}, ())
    manifest_id = here.save_manifest(manifest, rows())
    assert [row.key for row in there.manifest_rows(manifest_id)] == ["0", "1", "2"]


def test_every_step_that_writes_is_run_again_by_whoever_was_outrun() -> None:
    assert {"begin_run", "intend", "move", "store_results", "change"} <= STEPS
    own = vars(ObjectState)
    assert {name for name in STEPS if own[name] is getattr(SqlState, name)} == set()


def test_one_who_keeps_being_outrun_is_let_write_next(machine: Machine) -> None:
    patient = machine("patient")
    others = [machine(f"other-{number}") for number in range(2)]
    has_ended = threading.Event()

    def write(first: int, state: ObjectState) -> None:
        number = first
        while not has_ended.is_set():
            state.begin_run(run(number))
            number += 1

    threads = [threading.Thread(target=write, args=(10_000 * (place + 1), state)) for place, state in enumerate(others)]
    for thread in threads:
        thread.start()
    try:
        tries = Counter[str]()

        def slow_step() -> None:
            tries["slow"] += 1
            with patient._transaction():
                patient._db.execute("INSERT INTO meta (name, value) VALUES ('slow', 'done')")
                time.sleep(0.2)

        patient._until_done(slow_step)
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()
    assert patient._db.one("SELECT value FROM meta WHERE name = 'slow'") == ("done",)
    assert 1 < tries["slow"] < 6


def ask_for_the_turn(log: SegmentLog, turn_s: float) -> None:
    """As somebody who dies after that."""
    number = next(number for number in range(1, 99) if log.segment(number) is None)
    last = log.segment(number - 1)
    assert last is not None
    asked = msgspec.structs.replace(last.head, number=number, token=new_token(), previous=last.head.token)
    asked = msgspec.structs.replace(asked, size_bytes=0, turn_of="somebody", turn_s=turn_s)
    assert log.append(asked, BytesIO())


def test_who_has_asked_to_write_next_and_died_is_waited_for_no_longer_than_it_asked(machine: Machine, url: str) -> None:
    machine().begin_run(run(1))
    ask_for_the_turn(SegmentLog(open_folder(url)), 0.5)
    started = time.monotonic()
    machine("elsewhere").begin_run(run(2))
    assert 0.4 < time.monotonic() - started < 3
    ask_for_the_turn(SegmentLog(open_folder(url)), 60)
    with pytest.raises(StateLocked, match="BF502"):
        machine("elsewhere", timeout_s=0.2).begin_run(run(3))


# ---- short


class CountingFolder(ObjectFolder):
    """Knows how many objects were read."""

    reads = 0

    def read(self, name: str) -> bytes | None:
        self.reads += 1
        return super().read(name)


def test_a_long_log_is_opened_from_its_snapshot(machine: Machine, url: str, tmp_path: Path) -> None:
    state = machine(limits=SMALL)
    for number in range(100):
        state.begin_run(run(number))
    counting = CountingFolder(open_folder(url)._store, url, tmp_path / "store")
    other = machine("elsewhere", SegmentLog(counting))
    assert run_ids(other) == run_ids(state)
    assert counting.reads < 40
    other.close()
    assert content(tmp_path / "elsewhere" / "index.db") == content(tmp_path / "here" / "index.db")


def pruned(url: str) -> SegmentLog:
    """As if all that is covered were old."""
    log = SegmentLog(open_folder(url))
    log.prune(-timedelta(seconds=5))
    return log


def test_what_a_snapshot_covers_can_go(machine: Machine, url: str) -> None:
    state, behind = machine(limits=SMALL), machine("behind", limits=SMALL)
    for number in range(45):
        state.begin_run(run(number))
    pruned(url)
    assert len(list(open_folder(url).objects("log"))) < 25
    assert run_ids(machine("elsewhere")) == run_ids(state)
    behind.close()
    assert run_ids(machine("behind")) == run_ids(state)


def test_who_slept_while_the_log_was_pruned_does_not_write_into_its_past(machine: Machine, url: str) -> None:
    """Its next number is free again, and nobody will ever read what is written there."""
    sleeper = machine("sleeper", limits=Limits(sure_for_s=0.0))
    sleeper.begin_run(run(0))
    state = machine(limits=SMALL)
    for number in range(1, 45):
        state.begin_run(run(number))
    pruned(url)
    sleeper.begin_run(run(99))
    assert run_ids(machine("elsewhere")) == [*(f"run-{number:06d}" for number in range(45)), "run-000099"]


class SleepyLog(SegmentLog):
    """Sleeps before it writes, once."""

    meanwhile: Callable[[], None] | None = None

    def append(self, head: Head, segment: BinaryIO) -> bool:
        if work := self.meanwhile:
            self.meanwhile = None
            work()
        return super().append(head, segment)


def test_who_slept_in_the_middle_of_writing_writes_again(machine: Machine, url: str) -> None:
    state = machine(limits=SMALL)

    def go_on() -> None:
        for number in range(1, 45):
            state.begin_run(run(number))
        pruned(url)

    log = SleepyLog(open_folder(url))
    sleeper = machine("sleeper", log, limits=Limits(late_after_s=0.0))
    log.meanwhile = go_on
    sleeper.begin_run(run(99))
    assert run_ids(machine("elsewhere")) == [*(f"run-{number:06d}" for number in range(1, 45)), "run-000099"]


def test_after_compaction_nothing_of_what_was_deleted_is_in_the_store(machine: Machine, url: str) -> None:
    state, other = machine(), machine("other")
    state.begin_run(run(1, command="a very secret command"))
    assert run_ids(other) == ["run-000001"]
    state.change(("DELETE FROM runs", ()))
    state.begin_run(run(2))
    assert state.compact()
    folder = open_folder(url)
    state.close()
    kept = Path(url.removeprefix("file://"))
    everything = b"".join(path.read_bytes() for path in kept.rglob("*") if path.is_file())
    assert b"secret" not in everything
    assert run_ids(other) == run_ids(machine("elsewhere")) == ["run-000002"]
    assert len(SegmentLog(folder).snapshots()) == 1
    other.begin_run(run(3))
    assert run_ids(machine("elsewhere")) == ["run-000002", "run-000003"]


# ---- versions and damage


def test_a_log_of_a_newer_version_is_refused(machine: Machine, url: str) -> None:
    machine().begin_run(run(1))
    log = SegmentLog(open_folder(url))
    number = next(n for n in range(1, 9) if log.segment(n) is None)
    last = log.segment(number - 1)
    assert last is not None
    log.append(Head(number=number, token="t", previous=last.head.token, schema=len(MIGRATIONS) + 1), BytesIO())
    for name in ("here", "elsewhere"):
        with pytest.raises(StateError, match="BF501"):
            machine(name)


def older_log(url: str) -> SegmentLog:
    """As the first version would have begun it."""
    log = SegmentLog(open_folder(url))
    log.set_up()
    log.append(Head(number=1, token="first", previous="", schema=1), BytesIO())
    return log


def test_a_log_of_an_older_version_is_brought_up_to_date_by_who_writes(machine: Machine, url: str) -> None:
    older_log(url)
    state = machine()
    state.begin_run(run(1))
    last = SegmentLog(open_folder(url)).segment(2)
    assert last is not None
    assert last.head.schema == len(MIGRATIONS)
    assert run_ids(machine("elsewhere")) == ["run-000001"]


def test_a_log_of_an_older_version_is_read_as_it_is(url: str, tmp_path: Path) -> None:
    log = older_log(url)
    with closing(open_objects(url, tmp_path / "cache", read_only=True)) as state:
        assert run_ids(state) == []
        assert state.schema_version() == len(MIGRATIONS)
        with pytest.raises(StateError, match="BF505"):
            state.begin_run(run(1))
    assert log.segment(2) is None


def test_a_missing_state_is_not_made_by_a_reader(url: str) -> None:
    with pytest.raises(StateError, match="BF521 there is no state"):
        open_objects(url, None, read_only=True)


@pytest.mark.parametrize("number", [1, 3], ids=["moved", "of another log"])
def test_a_number_that_does_not_follow_is_named(machine: Machine, url: str, number: int) -> None:
    machine().begin_run(run(1))
    head = Head(number=number, token="t", previous="of-another-log", schema=1)
    open_folder(url).replace("log/000000000003", msgspec.json.encode(head) + b"\n")
    with pytest.raises(StateError, match="BF524"):
        machine("elsewhere")


def test_a_number_that_was_cut_short_is_passed_over(machine: Machine, url: str) -> None:
    state = machine()
    state.begin_run(run(1))
    number = next(number for number in range(1, 9) if SegmentLog(open_folder(url)).segment(number) is None)
    assert open_folder(url).create(f"log/{number:012d}", b'{"number":')
    state.begin_run(run(2))
    assert run_ids(state) == run_ids(machine("elsewhere")) == ["run-000001", "run-000002"]
    state.close()
    assert run_ids(machine()) == ["run-000001", "run-000002"]


def test_a_reader_sees_what_others_write_and_does_not_wait(machine: Machine, url: str, tmp_path: Path) -> None:
    state = machine()
    state.begin_run(run(1))
    with closing(open_objects(url, tmp_path / "cache", read_only=True)) as reader:
        state.begin_run(run(2))
        assert run_ids(reader) == ["run-000001", "run-000002"]
        with state._transaction():
            state._db.execute("INSERT INTO meta (name, value) VALUES ('a', 'b')")
            started = time.monotonic()
            assert len(run_ids(reader)) == 2
            assert time.monotonic() - started < 1


def test_readers_of_one_index_do_not_wait_for_its_writer(machine: Machine) -> None:
    state, reader = machine("shared"), machine("shared")
    state.begin_run(run(1))
    with state._transaction():
        state._db.execute("INSERT INTO meta (name, value) VALUES ('a', 'b')")
        read = threading.Thread(target=partial(run_ids, reader))
        started = time.monotonic()
        read.start()
        read.join()
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_that_is_cut_anywhere_neither_loses_nor_doubles_a_step(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    """Also where the server has written and its answer is lost."""
    url = s3_url(s3, monkeypatch)
    proxy = CuttingProxy(int(s3.address.rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.base_url)
    try:
        with closing(open_objects(url, tmp_path / "here")) as state:
            proxy.arm(None)
            state.begin_run(run(0))
            size = proxy.passed[way]
            cuts = [Cut(way, at_byte, bool(place % 2)) for place, at_byte in enumerate(range(1, size, size // 9))]
            for number, cut in enumerate(cuts, 1):
                proxy.arm(cut)
                state.begin_run(run(number))
            proxy.arm(None)
            assert proxy.cuts >= len(cuts) - 1
            with closing(open_objects(url, tmp_path / "elsewhere")) as other:
                assert run_ids(state) == run_ids(other) == [f"run-{number:06d}" for number in range(len(cuts) + 1)]
    finally:
        proxy.close()
