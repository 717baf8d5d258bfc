"""Rows into batches: no limit is broken, nothing is lost, and what lies in the files is what is sent."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from batchforge.execution.packing import pack, remove_left_over_bodies
from batchforge.planning.plan_rows import Action, PlannedRow
from batchforge.requests.fingerprint import custom_id
from batchforge.spec import BatchLimits
from batchforge.state.records import ManifestRow
from tests.peak_memory import peak_of

Row = tuple[PlannedRow, bytes]


def row_of(position: int, params: bytes, ordinal: int = 0) -> Row:
    name = hashlib.sha256(b"%d" % position).digest()
    manifest_row = ManifestRow(position, str(position), name, ordinal, b"", b"{}", None, None, f"rows:{position}")
    return PlannedRow(manifest_row, Action.SUBMIT, "new", (b'"text"',)), params


def rows_of(sizes: Sequence[int]) -> list[Row]:
    return [row_of(position, json.dumps({"text": "x" * size}).encode()) for position, size in enumerate(sizes)]


def packed(rows: Sequence[Row], limits: BatchLimits) -> list[tuple[int, bytes, list[str]]]:
    """(size as told, body, custom_ids as told) of each batch."""
    with TemporaryDirectory() as folder:
        found = []
        for batch in pack(rows, limits, Path(folder)):
            names = [custom_id(request.request_id, request.ordinal) for request in batch.requests]
            found.append((batch.size_bytes, batch.body.read_bytes(), names))
            batch.discard()
        assert list(Path(folder).iterdir()) == []
        return found


@given(
    st.lists(st.integers(0, 400), max_size=40),
    st.builds(BatchLimits, max_requests=st.integers(1, 10), max_bytes=st.integers(600, 3000)),
)
def test_no_batch_breaks_a_limit_and_no_row_is_lost(sizes: list[int], limits: BatchLimits) -> None:
    rows = rows_of(sizes)
    batches = packed(rows, limits)
    sent = []
    for size, body, names in batches:
        requests = json.loads(body)["requests"]
        assert len(body) == size <= limits.max_bytes
        assert 1 <= len(requests) <= limits.max_requests
        assert [request["custom_id"] for request in requests] == names
        sent += [(request["custom_id"], request["params"]) for request in requests]
    assert sent == [(custom_id(planned.row.request_id or b"", 0), json.loads(params)) for planned, params in rows]


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 10))
def test_a_batch_is_closed_only_where_the_next_request_would_break_a_limit(sizes: list[int], most: int) -> None:
    rows, limits = rows_of(sizes), BatchLimits(max_requests=most, max_bytes=2000)
    first = 0
    for size, _, names in packed(rows, limits):
        first += len(names)
        if first < len(rows):
            line = f'{{"custom_id":"{names[0]}","params":}}'.encode() + rows[first][1]
            assert len(names) == most or size + len(b",") + len(line) > limits.max_bytes


def test_a_request_that_is_larger_than_a_batch_goes_alone() -> None:
    limits = BatchLimits(max_requests=10, max_bytes=600)
    assert [len(names) for _, _, names in packed(rows_of([10, 5000, 10]), limits)] == [1, 1, 1]


def test_ordinals_are_in_the_custom_ids() -> None:
    ((_, _, names),) = packed([row_of(0, b"{}", ordinal=3)], BatchLimits())
    assert names[0].endswith("-003")


def test_each_request_gives_its_rows_texts(tmp_path: Path) -> None:
    rows = [row_of(0, b"{}"), row_of(1, b"{}")]
    rows[1] = (rows[1][0]._replace(pieces=(b'"one"', b'"two"')), b"{}")
    (batch,) = pack(rows, BatchLimits(), tmp_path)
    assert [request.pieces for request in batch.requests] == [(b'"text"',), (b'"one"', b'"two"')]
    batch.discard()


LONG_TEXTS = """
from batchforge.execution.packing import pack
from batchforge.spec import BatchLimits
from pathlib import Path
from tests.test_packing import row_of
import sys
def rows():
    for position in range(200):
        planned, params = row_of(position, b'"%s"' % (b"x" * 500_000))
        yield planned._replace(pieces=(b"%d" % position + params,)), params
for batch in pack(rows(), BatchLimits(), Path(sys.argv[1])):
    assert batch.size_bytes > 100_000_000
    assert len(batch.requests[199].pieces[0]) > 500_000
    batch.discard()
"""


def test_a_batch_of_long_texts_does_not_fill_memory(tmp_path: Path) -> None:
    nothing = peak_of("from tests.test_packing import row_of")
    assert peak_of(LONG_TEXTS, str(tmp_path)) < nothing + 20_000_000


def test_bodies_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    (batch,) = pack(rows_of([1]), BatchLimits(), tmp_path / "spool")
    assert stat.S_IMODE(batch.body.stat().st_mode) == 0o600
    batch.discard()


def test_an_unfinished_body_does_not_stay_behind(tmp_path: Path) -> None:
    batches = pack(rows_of([1, 1, 1]), BatchLimits(max_requests=1), tmp_path)
    next(batches).discard()
    batches.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_bodies_of_dead_processes_are_removed_and_others_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"{dead.pid}-abc.json", f"{os.getpid()}-abc.json", "notes.json"):
        (tmp_path / name).touch()
    remove_left_over_bodies(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{os.getpid()}-abc.json", "notes.json"])
