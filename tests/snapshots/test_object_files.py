"""Files of an S3 server: globs, Hive partitions, packed files; unchanged objects are not fetched again."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest
from obstore.store import S3Store

from batchforge.errors import BatchForgeError
from batchforge.snapshots.object_files import matches
from tests.s3_server import BUCKET, S3Server
from tests.snapshots.shop import fetched, fetched_rows, write_shop


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
