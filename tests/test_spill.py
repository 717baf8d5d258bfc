from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.spill import SHORT_KEY_BYTES, SpillCounter
from tests.peak_memory import peak_of


def test_it_tells_how_often_a_key_was_there_before() -> None:
    with SpillCounter() as counter:
        assert [counter.add(key) for key in (b"a", b"b", b"a", b"a", b"")] == [0, 0, 1, 2, 0]
        assert counter.distinct() == 3


@given(
    st.lists(st.binary(max_size=2) | st.binary(min_size=SHORT_KEY_BYTES, max_size=SHORT_KEY_BYTES + 2)),
    st.integers(0, 5),
)
def test_counts_are_the_same_in_memory_and_on_disk(keys: list[bytes], memory_keys: int) -> None:
    seen: Counter[bytes] = Counter()
    with SpillCounter(memory_keys) as counter:
        for key in keys:
            assert counter.add(key) == seen[key]
            seen[key] += 1
        assert counter.distinct() == len(seen)


def test_counts_go_on_after_the_keys_have_moved_to_disk() -> None:
    keys = [b"%d" % (n * n % 3_001) for n in range(9_000)]
    seen: Counter[bytes] = Counter()
    with SpillCounter(memory_keys=100) as counter:
        for key in keys:
            assert counter.add(key) == seen[key]
            seen[key] += 1


def test_nothing_is_left_in_the_temporary_folder_even_while_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    with SpillCounter(memory_keys=10) as counter:
        for number in range(50_000):
            counter.add(b"%040d" % number)
        assert counter.distinct() == 50_000
        assert list(tmp_path.iterdir()) == []


def test_long_keys_take_no_more_memory_than_short_ones() -> None:
    program = """
from batchforge.spill import SpillCounter
with SpillCounter() as counter:
    for number in range(3_000):
        counter.add(b"%d" % number * 10_000)
"""
    assert peak_of(program) < 60_000_000
