"""Outputs in an object store: complete objects only, by the publish rule; candidates beside; noticed when deleted."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest
from obstore.store import S3Store

from batchforge import remote_output
from batchforge.allowed_stores import is_below
from batchforge.cli import run_command
from batchforge.errors import BatchForgeError
from tests.builders import child_environment
from tests.end_to_end.proxy import CuttingProxy
from tests.project_files import lines_of, load, write_files
from tests.s3_server import BUCKET, S3Server

PROJECT = """\
name: shop
version: 1
targets:
  local: {type: emulator}
defaults: {model: claude-haiku-5-5, max_tokens: 400, thinking: disabled}
"""
ROWS = "id,text\na,Fine.\nb,Bad.\n"


@pytest.fixture
def folder(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a folder of its own in the bucket."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"out/{tmp_path.name}"


def write_project(root: Path, address: str, *, job: str = "", project: str = PROJECT, rows: str = ROWS) -> None:
    write_files(
        root,
        {
            "batchforge.yml": project,
            "jobs/label.yml": f'input: {{file: data/rows.csv, key: id}}\nuser: "{{{{ row.text }}}}"\n'
            f'output: {{file: "{address}"}}\n{job}',
            "data/rows.csv": rows,
        },
    )


def store() -> S3Store:
    return S3Store(BUCKET, client_options={"allow_http": True})


def objects(folder: str) -> dict[str, bytes]:
    import obstore

    found = [meta["path"] for some in obstore.list(store(), folder) for meta in some]
    return {path.removeprefix(f"{folder}/"): bytes(obstore.get(store(), path).bytes()) for path in found}


def run(root: Path, *words: str) -> int:
    return run_command(["run", "--project-dir", str(root), "-q", *words])


def rows_in(content: bytes, ending: str, tmp_path: Path) -> list[Any]:
    file = tmp_path / f"read{ending}"
    file.write_bytes(content)
    return duckdb.execute(f"select id, text, _status, _emulated from '{file}' order by id").fetchall()


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_complete_run_is_an_object_in_each_format(tmp_path: Path, folder: str, ending: str) -> None:
    root = tmp_path / "project"
    write_project(root, f"s3://{BUCKET}/{folder}/{{target}}/labels{ending}")
    assert run(root) == 0
    (name, content), *others = objects(folder).items()
    assert (name, others) == (f"local/labels{ending}", [])
    assert content == (root / f"target/local/outputs/label{ending}").read_bytes()
    assert rows_in(content, ending, tmp_path) == [("a", "Fine.", "answered", True), ("b", "Bad.", "answered", True)]
    results = json.loads((root / "target/run_results.json").read_text())
    assert results["jobs"][0]["output"]["address"] == f"s3://{BUCKET}/{folder}/local/labels{ending}"


def test_an_object_that_was_deleted_is_written_again_and_nothing_is_asked(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import obstore

    address = f"s3://{BUCKET}/{folder}/{{target}}.csv"
    write_project(tmp_path, address)
    assert run(tmp_path) == 0
    before = objects(folder)
    obstore.delete(store(), f"{folder}/local.csv")
    assert run_command(["run", "--project-dir", str(tmp_path)]) == 0
    assert f"and s3://{BUCKET}/{folder}/local.csv" in capsys.readouterr().out
    assert objects(folder) == before


def test_what_is_held_back_lies_beside_and_the_old_object_stays(tmp_path: Path, folder: str) -> None:
    address = f"s3://{BUCKET}/{folder}/{{target}}/labels.csv"
    write_project(tmp_path, address)
    assert run(tmp_path) == 0
    before = objects(folder)
    failing = "tests: [{row_count: {min: 5}}]\n"
    write_project(tmp_path, address, job=failing, rows=ROWS + "c,New.\n")
    assert run(tmp_path) == 1
    held = objects(folder)
    assert held["local/labels.csv"] == before["local/labels.csv"]
    assert b"New." in held["local/labels.candidate.csv"]
    write_project(tmp_path, address, rows=ROWS + "c,New.\n")
    assert run(tmp_path) == 0
    assert list(objects(folder)) == ["local/labels.csv"]
    assert b"New." in objects(folder)["local/labels.csv"]


def test_rows_that_failed_lie_beside_with_their_reasons(tmp_path: Path, folder: str) -> None:
    write_project(
        tmp_path,
        f"s3://{BUCKET}/{folder}/{{target}}.jsonl",
        job="min_success: 0\nmax_tokens: 1\n",
    )
    run(tmp_path)
    held = objects(folder)
    assert sorted(held) == ["local.jsonl", "local.rejected.jsonl"]
    assert b"_reason" in held["local.rejected.jsonl"]


def test_a_part_of_the_rows_is_no_object(tmp_path: Path, folder: str) -> None:
    write_project(tmp_path, f"s3://{BUCKET}/{folder}/{{target}}.csv")
    assert run(tmp_path, "--limit", "1") == 0
    assert objects(folder) == {}


def test_emulated_answers_stay_out_of_an_address_that_real_targets_share(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path, f"s3://{BUCKET}/{folder}/labels.csv")
    assert run_command(["run", "--project-dir", str(tmp_path)]) == 0
    assert "BF713" in capsys.readouterr().err
    assert objects(folder) == {}


def test_two_targets_do_not_write_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = PROJECT.replace(
        "local: {type: emulator}",
        "a: {type: claude, outputs: a}\n  b: {type: claude, outputs: b}\ndefault_target: a",
    )
    write_project(tmp_path, "s3://bucket/labels.csv", project=project)
    assert run_command(["plan", "--project-dir", str(tmp_path)]) == 2
    assert "BF139" in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_told_before_anything_is_sent(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path, "s3://no-such-bucket/{target}.csv")
    assert run(tmp_path) == 2
    said = capsys.readouterr().err
    assert "BF712" in said
    assert run_command(["runs", "--project-dir", str(tmp_path), "--output", "json"]) == 0
    assert not (tmp_path / "target/local/outputs/label.csv").exists()


@pytest.mark.parametrize(
    "address",
    ["ftp://a/b.csv", "https://a.example/b.csv", "s3://b.csv", "s3://b/../c.csv", "s3://b/{name}.csv", "s3://b//c.csv"],
)
def test_what_is_no_address_of_an_object_is_refused(tmp_path: Path, address: str) -> None:
    write_project(tmp_path, address)
    assert any(line.startswith("BF138 ") for line in lines_of(load(tmp_path)[2]))


def test_only_places_that_the_environment_allows_are_used(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCHFORGE_ALLOWED_STORES", f"s3://{BUCKET}/elsewhere, https://data.example/in")
    write_project(tmp_path, f"s3://{BUCKET}/{folder}/{{target}}.csv")
    assert run_command(["plan", "--project-dir", str(tmp_path)]) == 2
    assert "BF126" in capsys.readouterr().err
    monkeypatch.setenv("BATCHFORGE_ALLOWED_STORES", f"s3://{BUCKET}/{folder}")
    assert run(tmp_path) == 0
    assert list(objects(folder)) == ["local.csv"]


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("s3://b/in/a.csv", True),
        ("s3://b/in/**/*.pdf", True),
        ("s3://b/in", True),
        ("s3://b/inside/a.csv", False),
        ("s3://b/in/../out/a.csv", False),
        ("https://h/x/%2e%2e/y", False),
        ("https://h/x/y", True),
        ("https://h.evil/x/y", False),
        ("s3://b", False),
    ],
)
def test_an_allowed_place_is_a_folder_and_what_is_in_it(address: str, is_allowed: bool) -> None:
    assert is_below(address, ["s3://b/in/", " https://h/x", ""]) == is_allowed


def test_a_store_that_dies_in_mid_write_keeps_the_old_object(
    tmp_path: Path, folder: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    obstore.put(store(), f"{folder}/labels.csv", b"old")
    file = tmp_path / "labels.csv"
    file.write_bytes(b"x" * (40 << 20))
    proxy = CuttingProxy(urlsplit(s3.address).port or 0)
    proxy.arm(None)

    def kill() -> None:
        while proxy.passed["up"] < 12_000_000:
            time.sleep(0.001)
        proxy.close()

    threading.Thread(target=kill, daemon=True).start()
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", proxy.base_url)
        with pytest.raises(BatchForgeError, match="BF712"):
            remote_output._upload(file, f"s3://{BUCKET}/{folder}/labels.csv", None)
    assert objects(folder) == {"labels.csv": b"old"}


SEND = """
import sys
from pathlib import Path
from batchforge import remote_output
from batchforge.profiling import peak_memory_bytes
remote_output._upload(Path(sys.argv[1]), sys.argv[2], None)
print(peak_memory_bytes())
"""


def test_a_large_output_goes_in_parts_with_flat_memory(tmp_path: Path, folder: str, s3: S3Server) -> None:
    file = tmp_path / "large.jsonl"
    with file.open("wb") as out:
        for _ in range(150):
            out.write(io.BytesIO(b"x" * (1 << 20)).getvalue())
    address = f"s3://{BUCKET}/{folder}/large.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", SEND, str(file), address],
        env=child_environment(**s3.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 110e6
    import obstore

    meta = obstore.head(store(), f"{folder}/large.jsonl")
    assert meta["size"] == 150 << 20
    assert "-" in (meta["e_tag"] or ""), "an object of several parts"
    remote_output._remove(address, None)
