"""Files behind https:// (here http:// of this machine): fetched once a version, and whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchforge.clock import SystemClock
from batchforge.errors import BatchForgeError
from batchforge.snapshots.file_fetching import fetch_files
from batchforge.snapshots.remote_file import Patience
from batchforge.snapshots.snapshot_records import Snapshot, SnapshotFolder
from batchforge.spec import InputSpec
from tests.snapshots.http_server import FileServer, file_server
from tests.snapshots.shop import fetched, fetched_rows, loaded, rows, write_shop

LARGE = "id,text\n" + "".join(f"{number},{'x' * 90}\n" for number in range(30_000))
IMPATIENT = Patience(wait_s=0.4, tries=4, pause_s=0.01)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as served:
        yield served


def fetch_one(root: Path, url: str, before: Snapshot | None = None) -> tuple[Snapshot, bytes]:
    """Without the pauses of a person's patience."""
    root = write_shop(root, "{rows: [{id: 1}]}")
    project, _ = loaded(root)
    folder = SnapshotFolder(project, project.target())
    folder.path.mkdir(parents=True, exist_ok=True)
    snapshot = fetch_files(InputSpec(files=url), folder, before, SystemClock().now(), IMPATIENT)
    return snapshot, (folder.path / snapshot.parts[0].file).read_bytes()


def left_behind(root: Path) -> list[Path]:
    return [path for path in (root / "target/local/snapshots").iterdir() if path.suffix != ".json"]


def test_rows_of_a_url_are_shown_with_it(tmp_path: Path, server: FileServer) -> None:
    server.files["/a%20b.csv?token=geheim"] = b"id,text\n1,a\n2\n"
    root = write_shop(tmp_path, f'{{file: "{server.address}/a b.csv?token=geheim", key: id}}')
    fetched(root)
    with pytest.raises(BatchForgeError, match=r"BF205 http://127.0.0.1:\d+/a b.csv:3: the row has 1 cell") as caught:
        rows(root)
    assert "geheim" not in str(caught.value)


def test_what_has_not_changed_is_not_fetched_again(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = b"id,text\n1,a\n"
    root = write_shop(tmp_path, f'{{file: "{server.address}/a.csv", key: id}}')
    first, second = fetched(root), fetched(root)
    assert (first.is_changed, second.is_changed) == (True, False)
    assert [status for _, status, _ in server.requests] == [200, 304]
    server.files["/a.csv"] = b"id,text\n1,b\n"
    assert fetched_rows(root) == [{"id": "1", "text": "b"}]


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_connection_that_breaks_is_gone_on_with(tmp_path: Path, server: FileServer, has_ranges: bool) -> None:
    server.files["/a.csv"] = LARGE.encode()
    server.has_ranges = has_ranges
    server.cut_after = [1_000_000, 500_000]
    _, content = fetch_one(tmp_path, f"{server.address}/a.csv")
    assert content == LARGE.encode()
    statuses = [status for _, status, _ in server.requests]
    assert statuses == ([200, 206, 206] if has_ranges else [200, 200, 200])


def test_a_server_that_falls_silent_is_asked_again(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = LARGE.encode()
    server.silent_after = 100_000
    assert fetch_one(tmp_path, f"{server.address}/a.csv")[1] == LARGE.encode()


def test_a_file_that_changes_while_it_is_read_is_read_anew(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = LARGE.encode()
    server.silent_after = 100_000
    import threading

    threading.Timer(0.2, lambda: server.files.update({"/a.csv": b"id,text\n9,z\n"})).start()
    assert fetch_one(tmp_path, f"{server.address}/a.csv")[1] == b"id,text\n9,z\n"


def test_half_a_file_is_never_kept(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = LARGE.encode()
    server.cut_after = [1_000] * 10
    with pytest.raises(BatchForgeError, match=r"BF240 .*closed in the middle"):
        fetch_one(tmp_path, f"{server.address}/a.csv")
    assert left_behind(tmp_path) == []


def test_a_file_of_unknown_length_is_not_trusted(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = LARGE.encode()
    server.has_length = False
    with pytest.raises(BatchForgeError, match="does not tell its length"):
        fetch_one(tmp_path, f"{server.address}/a.csv")


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = b"id\n1\n"
    server.statuses = [503, 429]
    assert fetch_one(tmp_path, f"{server.address}/a.csv")[1] == b"id\n1\n"
    server.requests.clear()
    with pytest.raises(BatchForgeError, match=r"BF240 .* the server answers 404"):
        fetch_one(tmp_path, f"{server.address}/b.csv")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url", ["http://data.example/a.csv", "https://me:geheim@data.example/a.csv", "ftp://data.example/a.csv", "https://"]
)
def test_ways_that_are_not_safe_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BatchForgeError, match="BF241"):
        fetch_one(tmp_path, url)


def test_a_redirect_leads_to_no_unsafe_place(tmp_path: Path, server: FileServer) -> None:
    server.files["/b.csv"] = b"id\n1\n"
    server.redirects = {"/a.csv": f"{server.address}/b.csv", "/c.csv": "http://data.example/b.csv"}
    assert fetch_one(tmp_path, f"{server.address}/a.csv")[1] == b"id\n1\n"
    with pytest.raises(BatchForgeError, match="BF241"):
        fetch_one(tmp_path, f"{server.address}/c.csv")


def test_a_packed_file_is_read_as_it_is(tmp_path: Path, server: FileServer) -> None:
    import gzip

    server.files["/a.jsonl.gz"] = gzip.compress(b'{"id": 1}\n{"id": 2}\n')
    assert fetched_rows(write_shop(tmp_path, f'{{file: "{server.address}/a.jsonl.gz"}}')) == [{"id": 1}, {"id": 2}]


def test_a_query_reads_a_source_that_lies_elsewhere(tmp_path: Path, server: FileServer) -> None:
    server.files["/a.csv"] = b"id,n\n1,2\n2,3\n"
    root = write_shop(tmp_path, "{sql: select sum(n) as n from far, key: n}")
    text = (root / "batchforge.yml").read_text()
    (root / "batchforge.yml").write_text(text.replace("vars:", f'  far: {{file: "{server.address}/a.csv"}}\nvars:'))
    project, job = loaded(root)
    from batchforge import pipeline

    pipeline.fetch(project, [job], project.target())
    assert rows(root) == [{"n": 5}]
