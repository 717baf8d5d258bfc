"""Files that others read and write at the same time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchforge.whole_file import alone_at, replace_file, whole_file


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
