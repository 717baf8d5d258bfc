"""The log in a directory and on an S3 server: a number is taken once, whoever asks; what is covered may go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from batchforge.errors import StateError
from batchforge.state.objects.folder import ObjectFolder, open_folder
from batchforge.state.objects.log import INLINE_BYTES, Head, SegmentLog, new_token
from tests.builders import TREE
from tests.s3_server import BUCKET, SECRET, S3Server, s3_url

LARGE = os.urandom(2 * INLINE_BYTES)


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place."""
    if request.param == "file":
        return f"file://{tmp_path}/a folder/state"
    return s3_url(request.getfixturevalue("s3"), monkeypatch)


@pytest.fixture
def log(url: str) -> SegmentLog:
    log = SegmentLog(open_folder(url))
    log.set_up()
    return log


def head_of(number: int, content: bytes) -> Head:
    return Head(number=number, token=new_token(), previous="", schema=1, size_bytes=len(content))


def write(log: SegmentLog, number: int, content: bytes = b"changes") -> bool:
    return log.append(head_of(number, content), BytesIO(content))


def read(log: SegmentLog, number: int) -> bytes | None:
    segment = log.segment(number)
    return b"".join(log.content(segment)) if segment else None


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_segment_comes_back_as_it_was_written(log: SegmentLog, content: bytes) -> None:
    assert read(log, 1) is None
    assert write(log, 1, content)
    assert read(log, 1) == content


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_a_number_is_taken_once(log: SegmentLog, url: str, content: bytes) -> None:
    assert write(log, 1, b"first")
    assert not write(log, 1, content)
    assert read(log, 1) == b"first"
    assert list(open_folder(url).objects("bodies")) == []


def test_who_asks_again_after_a_lost_answer_finds_its_own_writing(log: SegmentLog) -> None:
    head = head_of(1, b"mine")
    assert log.append(head, BytesIO(b"mine"))
    assert log.append(head, BytesIO(b"mine"))


def test_two_processes_share_the_numbers_and_leave_no_gap(log: SegmentLog, url: str) -> None:
    command = [sys.executable, "-m", "tests.state.racing_appender", url, "25"]
    racers = [
        subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, text=True, env=os.environ | {"NAME": name})
        for name in ("left", "right", "centre")
    ]
    won = [set(map(int, racer.communicate(timeout=60)[0].split())) for racer in racers]
    assert [len(numbers) for numbers in won] == [25, 25, 25]
    assert set.union(*won) == set(range(1, 76))
    names = {number: read(log, number) for number in range(1, 76)}
    assert names == {
        number: name for name, some in zip((b"left", b"right", b"centre"), won, strict=True) for number in some
    }
    assert read(log, 76) is None


def test_an_object_that_was_cut_short_is_nobodys_and_its_number_is_passed_over(log: SegmentLog, url: str) -> None:
    head = head_of(1, b"changes")
    log.append(head, BytesIO(b"changes"))
    folder = open_folder(url)
    whole = folder.read("log/000000000001") or b""
    for length in (0, 1, whole.index(b"\n"), whole.index(b"\n") + 1, len(whole) - 1):
        folder.replace("log/000000000001", whole[:length])
        assert not log.append(head, BytesIO(b"changes"))
        segment = log.segment(1)
        assert segment is not None
        assert segment.head.is_void


def test_it_is_known_whether_numbers_are_there_without_a_gap(log: SegmentLog) -> None:
    for number in (1, 2, 3, 5):
        write(log, number)
    assert log.has_all(1, 3)
    assert log.has_all(2, 3)
    assert not log.has_all(2, 5)
    assert not log.has_all(4, 4)


def test_the_newest_snapshot_comes_first(log: SegmentLog) -> None:
    assert log.snapshots() == []
    for number in (3, 20, 100):
        log.save_snapshot(number, BytesIO(b"state as of %d" % number))
    assert [snapshot.number for snapshot in log.snapshots()] == [100, 20, 3]
    assert b"".join(log.snapshot_content(log.snapshots()[0])) == b"state as of 100"


def test_only_what_a_snapshot_covers_and_what_is_old_is_pruned(log: SegmentLog, url: str) -> None:
    for number in range(1, 6):
        write(log, number, LARGE if number == 2 else b"changes")
    log.prune(timedelta(0))
    assert [read(log, number) is None for number in range(1, 6)] == [False] * 5
    log.save_snapshot(2, BytesIO(b"first"))
    log.save_snapshot(3, BytesIO(b"second"))
    log.prune(timedelta(hours=1))
    assert names_in(open_folder(url), "log") == list(range(1, 6))
    log.prune(-timedelta(seconds=5))
    assert names_in(open_folder(url), "log") == [4, 5]
    assert names_in(open_folder(url), "bodies") == []
    assert [snapshot.number for snapshot in log.snapshots()] == [3]


def names_in(folder: ObjectFolder, under: str) -> list[int]:
    names: Iterable[str] = (each.name for each in folder.objects(under))
    return sorted(int(name.rpartition("/")[2].partition("-")[0]) for name in names)


def test_what_is_erased_is_gone_and_its_number_stays_taken(log: SegmentLog, url: str) -> None:
    for number in (1, 2, 3):
        write(log, number, LARGE if number == 2 else b"secret")
    log.save_snapshot(1, BytesIO(b"secret"))
    log.save_snapshot(2, BytesIO(b"without it"))
    log.erase(2)
    folder = open_folder(url)
    held = [b"".join(folder.parts(each.name, each.size_bytes)) for each in folder.objects("")]
    assert sum(b"secret" in content for content in held) == 1  # the third segment, which is later
    assert not write(log, 2)
    segment = log.segment(2)
    assert segment is not None
    assert segment.head.is_erased


def test_setting_up_again_changes_nothing(log: SegmentLog) -> None:
    first = log.state_id()
    assert log.set_up() == first == log.state_id()


def test_an_empty_place_has_no_state(url: str) -> None:
    assert SegmentLog(open_folder(url)).state_id() is None


class Forgetful(ObjectFolder):
    """A store that does not know conditional writes, and writes."""

    def create(self, name: str, content: bytes) -> bool:
        self.replace(name, content)
        return True


def test_a_store_that_writes_twice_what_is_to_be_written_once_is_refused(tmp_path: Path) -> None:
    folder = open_folder(f"file://{tmp_path}")
    forgetful = Forgetful(folder._store, folder.url, tmp_path)
    with pytest.raises(StateError, match=r"BF522 .* lets an object be written a second time"):
        SegmentLog(forgetful).set_up()
    assert list(folder.objects("")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (msgspec.json.encode({"format": 99, "state_id": "a"}), "BF501 .* was set up by a newer version"),
        (b"<html>\n", "BF524 .* is not one of ours"),
    ],
    ids=["newer", "foreign"],
)
def test_a_marker_that_is_not_ours_is_named(log: SegmentLog, url: str, content: bytes, message: str) -> None:
    open_folder(url).replace("state.json", content)
    with pytest.raises(StateError, match=message):
        log.state_id()


def test_a_head_that_is_not_ours_is_named(log: SegmentLog, url: str) -> None:
    open_folder(url).replace("log/000000000001", b"<html>\n")
    with pytest.raises(StateError, match=r"BF524 .* log/000000000001 is not one of ours"):
        log.segment(1)


def use_absent_bucket(_server: S3Server, _monkeypatch: pytest.MonkeyPatch) -> str:
    return "s3://nobody-made-this/state"


def use_dead_server(_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    return f"s3://{BUCKET}/state"


@pytest.mark.parametrize(
    ("use", "cause"), [(use_absent_bucket, "NoSuchBucket"), (use_dead_server, "cannot be reached")]
)
def test_a_store_that_cannot_be_used_is_named_without_its_keys(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, use: Callable[[S3Server, pytest.MonkeyPatch], str], cause: str
) -> None:
    s3_url(s3, monkeypatch)
    with pytest.raises(StateError, match=f"BF521 .* {cause}") as caught:
        SegmentLog(open_folder(use(s3, monkeypatch), patience_s=1)).state_id()
    told = f"{caught.value} {caught.value.problems} {caught.value.__cause__}"
    assert SECRET not in told
    assert s3.environment["AWS_ACCESS_KEY_ID"] not in told


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match="BF521"):
        open_folder(f"file://{tmp_path}/state/below")


def test_without_the_library_the_missing_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['obstore'] = None\n"
        "from batchforge.state.objects.folder import open_folder\n"
        f"open_folder('file://{tmp_path}')"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=TREE, capture_output=True, text=True, check=False)
    assert "BF520" in ended.stderr
    assert ended.returncode != 0
