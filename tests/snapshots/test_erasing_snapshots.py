"""Copies of rows that we made ourselves go with the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.cli import run_command
from tests.snapshots.shop import write_shop


def test_erasing_a_row_removes_the_snapshots_that_may_hold_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_shop(tmp_path, "{sql: select * from orders, key: id}"))
    assert run_command(["run"]) == 0
    folder = tmp_path / "target/local/snapshots"
    (folder / "0123.parquet").write_bytes(b"of an older question")
    capsys.readouterr()
    assert run_command(["state", "erase", "summarise", "--key", "2", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "the whole file, `batchforge fetch` makes it again" in out
    assert "1 row of the input: take them out, or the next run asks and pays again." in out
    assert list(folder.iterdir()) == []
    assert run_command(["plan"]) == 2
    assert run_command(["run"]) == 0
