"""Packed CSV and JSONL files: read like others, whole or not at all, and never more than they can be."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import BatchForgeError
from batchforge.tables.compressed import open_unpacked
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}
FORMATS = pytest.mark.parametrize("ending", PACK)


def read(path: Path) -> list[tuple[int, dict[str, object]]]:
    return list(read_rows(path, path.name, TableOptions(format_of(path.name))))


@FORMATS
def test_a_packed_file_is_read_with_its_lines(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.2026.csv.{ending}"
    path.write_bytes(PACK[ending]("\ufeffid,text\n1,ä\n2,b\n".encode()))
    assert read(path) == [(2, {"id": "1", "text": "ä"}), (3, {"id": "2", "text": "b"})]


@FORMATS
def test_files_that_were_put_together_are_read_as_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl.{ending}"
    path.write_bytes(PACK[ending](b'{"a": 1}\n') + PACK[ending](b'{"a": 2}\n'))
    assert [row for _, row in read(path)] == [{"a": 1}, {"a": 2}]


@FORMATS
@given(cut=st.integers(1, 60))
def test_half_a_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, ending: str, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"half.csv.{ending}"
    whole = PACK[ending](b"id,text\n" + bytes(range(48, 122)) * 3 + b",x\n")
    path.write_bytes(whole[:-cut])
    with pytest.raises(BatchForgeError, match="BF216"):
        read(path)


@FORMATS
def test_a_bad_byte_is_named_by_its_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.csv.{ending}"
    path.write_bytes(PACK[ending](b"id\nok\n\xe9\n"))
    with pytest.raises(BatchForgeError, match=rf"BF203 a.csv.{ending}:3"):
        read(path)


def test_what_is_no_table_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchforge.tables import compressed

    monkeypatch.setattr(compressed, "TRUSTED_BYTES", 1 << 20)
    path = tmp_path / "a.csv.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b"0\n" * 20_000_000))
    with open_unpacked(path, "a.csv.zst") as file, pytest.raises(BatchForgeError, match=r"BF216 .* 200 times its size"):
        file.read()


def test_a_packed_parquet_file_is_told_to_be_unpacked() -> None:
    with pytest.raises(BatchForgeError, match="BF202"):
        format_of("a.parquet.gz")
