"""Files that others read and write at the same time."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from batchforge.whole_file import alone_at, remove_leftovers, replace_file, whole_file


def test_writers_at_once_never_touch_what_another_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    texts = [bytes([65 + n]) * 20_000 for n in range(8)]

    def write_often(text: bytes) -> None:
        for _ in range(50):
            replace_file(path, text)
            assert path.read_bytes() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write_often, texts))
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # and nothing was written
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_what_is_done_alone_is_done_by_one_after_the_other(tmp_path: Path) -> None:
    inside: list[int] = []
    together: list[int] = []

    def work(number: int) -> None:
        with alone_at(tmp_path / "locks" / "out.csv"):
            inside.append(number)
            time.sleep(0.01)
            together.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert together == [1] * 6


def test_whoever_waits_at_a_lock_that_is_removed_meets_the_others_at_the_new_one(tmp_path: Path) -> None:
    lock, ended = tmp_path / "locks" / "out.csv", Event()

    def work() -> None:
        with alone_at(lock):
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        with alone_at(lock):
            waiting = pool.submit(work)
            time.sleep(0.05)
            lock.unlink()
            with alone_at(lock):
                time.sleep(0.05)
                is_early = waiting.running() and ended.is_set()
        waiting.result()
    assert not is_early


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    with alone_at(tmp_path / "lock"), pytest.raises(TimeoutError), alone_at(tmp_path / "lock", timeout_s=0.03):
        pass


def test_a_killed_writer_that_had_our_number_is_not_us(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    (tmp_path / f".out.csv.{os.getpid()}.1.partial").touch()
    with whole_file(path) as partial:
        partial.write_text("new")
        remove_leftovers(path)
        assert list(tmp_path.iterdir()) == [partial]
