"""Files of an S3 server: globs, Hive partitions, packed files; unchanged objects are not fetched again."""

from __future__ import annotations

import gzip
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
import zstandard
from obstore.store import S3Store

from batchforge.errors import BatchForgeError
from batchforge.snapshots.file_fetching import fetch_files
from batchforge.snapshots.object_files import matches
from batchforge.snapshots.remote_file import Patience
from batchforge.snapshots.snapshot_records import Snapshot, SnapshotFolder
from tests.end_to_end.proxy import Cut, CuttingProxy
from tests.s3_server import BUCKET, S3Server
from tests.snapshots.shop import fetched, fetched_rows, loaded, write_shop


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a folder of its own."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


def put(folder: str, files: Mapping[str, bytes]) -> None:
    import obstore

    store = S3Store(BUCKET, client_options={"allow_http": True})
    for name, content in files.items():
        obstore.put(store, f"{folder.removeprefix(f's3://{BUCKET}/')}/{name}", content)


def parquet(path: Path, query: str) -> bytes:
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def test_a_glob_is_read_in_the_order_of_names_with_its_partitions(tmp_path: Path, bucket: str) -> None:
    put(
        bucket,
        {
            "r/lang=en/b.parquet": parquet(tmp_path / "a.parquet", "select 2 as id"),
            "r/lang=de/a b.parquet": parquet(tmp_path / "b.parquet", "select 1 as id"),
            "r/lang=de/note.txt": b"none",
            "r/lang=de/deep/c.parquet": b"too deep",
        },
    )
    root = write_shop(tmp_path, f'{{files: "{bucket}/r/*/*.parquet", hive_partitions: true}}')
    assert fetched_rows(root) == [{"id": 1, "lang": "de"}, {"id": 2, "lang": "en"}]


def test_only_what_has_changed_is_fetched_again(tmp_path: Path, bucket: str) -> None:
    put(bucket, {"a.csv": b"id\n1\n", "b.csv.gz": gzip.compress(b"id\n2\n")})
    root = write_shop(tmp_path, f'{{files: "{bucket}/*"}}')
    first = fetched(root)
    assert fetched_rows(root) == [{"id": "1"}, {"id": "2"}]
    snapshots = root / "target/local/snapshots"
    kept = snapshots / first.snapshot.parts[0].file
    written_at = kept.stat().st_mtime_ns
    put(bucket, {"b.csv.gz": gzip.compress(b"id\n3\n")})
    second = fetched(root)
    assert second.is_changed
    assert second.snapshot.parts[0] == first.snapshot.parts[0]
    assert kept.stat().st_mtime_ns == written_at
    assert fetched_rows(root) == [{"id": "1"}, {"id": "3"}]


def test_what_is_not_there_is_told(tmp_path: Path, bucket: str) -> None:
    for job, message in (
        (f'{{file: "{bucket}/none.csv"}}', "BF201 .* there is no object"),
        (f'{{files: "{bucket}/*.csv"}}', "BF201 .* no object matches"),
        ('{file: "s3://other-bucket/none.csv"}', "BF201|BF240"),
        ('{file: "s3://bucket"}', "BF241"),
    ):
        with pytest.raises(BatchForgeError, match=message):
            fetched(write_shop(tmp_path, job))


def test_keys_are_not_shown(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    from batchforge.snapshots import file_fetching
    from batchforge.snapshots.remote_file import Patience
    from batchforge.spec import InputSpec

    source = file_fetching._source(f"{bucket}/a.csv", None, Patience(wait_s=0.2, tries=1))
    with pytest.raises(BatchForgeError, match="BF240") as caught:
        source.find()
    assert "test" not in caught.value.problems[0].hint
    assert InputSpec(files=bucket).is_remote


def test_a_large_object_comes_in_ranges(tmp_path: Path, bucket: str) -> None:
    lines = io.BytesIO()
    for number in range(200_000):
        lines.write(f'{{"id": {number}, "text": "{"x" * 80}"}}\n'.encode())
    put(bucket, {"a.jsonl": lines.getvalue()})
    snapshot = fetched(write_shop(tmp_path, f'{{file: "{bucket}/a.jsonl"}}')).snapshot
    assert snapshot.size_bytes == lines.tell()


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
@pytest.mark.parametrize(("kind", "content"), [("csv", b"id,text\n1,x\n"), ("jsonl", b'{"id": "1", "text": "x"}\n')])
def test_packed_files_in_partitions_are_read(
    tmp_path: Path, bucket: str, kind: str, content: bytes, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    put(bucket, {f"day={day}/lang=de%20at/rows.{kind}.{ending}": pack(content) for day in (1, 2)})
    root = write_shop(tmp_path, f'{{files: "{bucket}/**/*.{kind}.{ending}", hive_partitions: true}}')
    row = {"id": "1", "text": "x", "lang": "de at"}
    assert fetched_rows(root) == [{**row, "day": "1"}, {**row, "day": "2"}]


CONTENT = b"id,text\n" + b"".join(b"%d,%s\n" % (number, b"x" * 90) for number in range(200_000))


@pytest.fixture
def proxy(bucket: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """Between us and the store, in which a file of 18 MB lies."""
    put(bucket, {"a.csv": CONTENT})
    proxy = CuttingProxy(urlsplit(s3.address).port or 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.base_url)
    yield proxy
    with suppress(OSError):  # a test may have ended it
        proxy.close()


def take(root: Path, bucket: str) -> Snapshot:
    project, job = loaded(write_shop(root, f'{{file: "{bucket}/a.csv"}}'))
    folder = SnapshotFolder(project, project.target())
    folder.path.mkdir(parents=True, exist_ok=True)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    return fetch_files(job.input, folder, None, now, Patience(wait_s=1.0, tries=3, pause_s=0.05))


@pytest.mark.parametrize(
    "cut", [Cut("down", 6_000_000), Cut("down", 11_000_000, is_reset=True), Cut("down", 9_000_000, silent_s=2.5)]
)
def test_a_connection_that_breaks_or_falls_silent_is_gone_on_with(
    tmp_path: Path, bucket: str, proxy: CuttingProxy, cut: Cut
) -> None:
    proxy.arm(cut)
    (part,) = take(tmp_path, bucket).parts
    assert (tmp_path / "target/local/snapshots" / part.file).read_bytes() == CONTENT
    assert proxy.cuts == 1


def test_a_store_that_is_killed_in_mid_read_leaves_no_half_file(
    tmp_path: Path, bucket: str, proxy: CuttingProxy
) -> None:
    def kill() -> None:
        while proxy.passed["down"] < 9_000_000:
            time.sleep(0.001)
        proxy.close()

    proxy.arm(None)
    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(BatchForgeError, match="BF240"):
        take(tmp_path, bucket)
    assert list((tmp_path / "target/local/snapshots").iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("a/*.csv", "a/b.csv", True),
        ("a/*.csv", "a/b/c.csv", False),
        ("a/**/*.csv", "a/c.csv", True),
        ("a/**/*.csv", "a/b/b/c.csv", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/[ab]?.csv", "a/b1.csv", True),
        ("a/[.]x", "a/.x", True),
    ],
)
def test_globs_mean_what_they_mean_for_files(pattern: str, path: str, is_match: bool) -> None:
    assert matches(path.split("/"), pattern.split("/")) == is_match
