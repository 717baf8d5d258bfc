"""Documents in object stores and behind URLs: fetched once into hashed copies, read offline, sent as files of the
project are; what is not there is its row's error."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from obstore.store import S3Store

from batchforge.emulator import EmulatorServer
from tests.builders import ProjectFiles
from tests.document_files import encrypted_pdf, image, pdf
from tests.s3_server import BUCKET, S3Server
from tests.snapshots.http_server import FileServer, file_server

BY_PATH = [{"document": "row.path"}, {"text": "What is this?"}]
BY_COLUMN = [{"document": "row.scan"}, {"text": "What is this?"}]


@pytest.fixture
def inbox(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a folder of its own."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/inbox/{tmp_path.name}"


def put(folder: str, files: Mapping[str, bytes]) -> None:
    import obstore

    store = S3Store(BUCKET, client_options={"allow_http": True})
    for name, content in files.items():
        obstore.put(store, f"{folder.removeprefix(f's3://{BUCKET}/')}/{name}", content)


def sent(emulator: EmulatorServer) -> list[bytes]:
    """The contents of the documents that were sent inline, in their order."""
    bodies = [json.loads(request.body or "") for request in emulator.received("batches.create")]
    blocks = [request["params"]["messages"][0]["content"][0] for body in bodies for request in body["requests"]]
    return [base64.b64decode(block["source"]["data"]) for block in blocks]


def test_each_object_of_a_glob_is_a_row(project: ProjectFiles, emulator: EmulatorServer, inbox: str) -> None:
    put(inbox, {"b c.pdf": pdf(2), "ä.pdf": pdf(1), "broken.pdf": encrypted_pdf(), "note.txt": b"none of them"})
    project.write_job(input={"files": f"{inbox}/*.pdf"}, user=BY_PATH, min_success=0.1)
    assert project.cli("run").exit_code == 0
    rows = project.rows_of()
    assert [row["path"] for row in rows] == [f"{inbox}/b c.pdf", f"{inbox}/broken.pdf", f"{inbox}/ä.pdf"]
    assert (rows[0]["name"], rows[0]["_status"]) == ("b c", "answered")
    assert rows[1]["_status"] == "blocked"
    assert f"'{inbox}/broken.pdf' is an encrypted PDF" in rows[1]["_error"]
    assert sent(emulator) == [pdf(2), pdf(1)]
    again = project.cli("run", "--output", "json")
    assert again.json()["jobs"][0]["requests_sent"] == 0


def test_plans_are_made_offline_from_what_was_fetched(
    project: ProjectFiles, inbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox, {"a.pdf": pdf(2)})
    project.write_job(input={"files": f"{inbox}/*.pdf"}, user=BY_PATH)
    assert "BF230" in project.cli("plan").stderr
    assert project.cli("fetch").exit_code == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    planned = project.cli("plan", "--output", "json")
    assert planned.exit_code == 0, planned.stderr
    (job,) = planned.json()["jobs"].values()
    assert job["rows"]["total"] == 1
    (snapshot,) = job["snapshots"]
    assert (snapshot["what"], snapshot["files"], snapshot["size_bytes"]) == (f"{inbox}/*.pdf", 1, len(pdf(2)))
    assert len(snapshot["sha256"]) == 64
    assert snapshot["age_s"] < 60


def test_a_moved_file_with_the_same_content_is_not_asked_again(
    project: ProjectFiles, emulator: EmulatorServer, inbox: str
) -> None:
    put(inbox, {"a.pdf": pdf(2)})
    project.write_job(input={"files": f"{inbox}/*.pdf"}, user=BY_PATH)
    assert project.cli("run").exit_code == 0
    project.write("inbox/a.pdf", pdf(2))
    project.write_job(input={"files": "inbox/*.pdf"}, user=BY_PATH)
    assert project.cli("run").exit_code == 0
    assert len(sent(emulator)) == 1


def test_a_column_may_hold_addresses_and_paths(project: ProjectFiles, emulator: EmulatorServer, inbox: str) -> None:
    put(inbox, {"one.pdf": pdf(1), "star*.pdf": pdf(2)})
    project.write("scans/photo.jpg", image("JPEG"))
    scans = [f"{inbox}/one.pdf", f"{inbox}/star*.pdf", f"{inbox}/none.pdf", "scans/photo.jpg", f"{inbox}/one.pdf"]
    lines = [json.dumps({"id": n, "scan": scan}) for n, scan in enumerate(scans)]
    project.write("data/scans.jsonl", "\n".join(lines).encode())
    project.write_job(input={"file": "data/scans.jsonl", "key": "id"}, user=BY_COLUMN, min_success=0.1)
    fetched = project.cli("fetch", "--output", "json").json()["fetched"]
    assert [(each["files"], each["missing"]) for each in fetched] == [(3, 1)]
    assert project.cli("run").exit_code == 0
    rows = project.rows_of()
    assert [row["_status"] for row in rows] == ["answered", "answered", "blocked", "answered", "answered"]
    assert f"there is no object '{inbox}/none.pdf'" in rows[2]["_error"]
    assert sent(emulator) == [pdf(1), pdf(2), image("JPEG")]


def test_only_the_documents_of_rows_that_are_asked_are_fetched(
    project: ProjectFiles, emulator: EmulatorServer, inbox: str
) -> None:
    put(inbox, {f"{n}.pdf": pdf(n) for n in range(1, 6)})
    lines = [json.dumps({"id": n, "scan": f"{inbox}/{n}.pdf"}) for n in range(1, 6)]
    project.write("data/scans.jsonl", "\n".join(lines).encode())
    project.write_job(input={"file": "data/scans.jsonl", "key": "id"}, user=BY_COLUMN)
    assert project.cli("run", "--limit", "2").exit_code == 0
    copies = [path for path in project.path("target/api/snapshots").iterdir() if path.suffix == ".pdf"]
    assert len(copies) == 2


def test_a_changed_document_is_asked_again_and_an_unchanged_one_is_not_read(
    project: ProjectFiles, emulator: EmulatorServer, tmp_path: Path
) -> None:
    with file_server() as server:
        server.files |= {"/a.pdf": pdf(1), "/a.pdf?token=geheim": pdf(1), "/b.pdf": pdf(2)}
        write_scans(project, server, "a.pdf?token=geheim", "b.pdf", "c.pdf")
        assert project.cli("run").exit_code == 0
        server.files["/b.pdf"] = pdf(3)
        done = project.cli("run")
        assert done.exit_code == 0, done.stderr
        gets = [(path, status) for path, status, _ in server.requests]
    assert sent(emulator) == [pdf(1), pdf(2), pdf(3)]
    assert gets.count(("/a.pdf?token=geheim", 304)) == 1
    rows = project.rows_of()
    assert [row["_status"] for row in rows] == ["answered", "answered", "blocked"]
    assert "the server answers 404" in rows[2]["_error"]


def write_scans(project: ProjectFiles, server: FileServer, *names: str) -> None:
    rows: list[dict[str, Any]] = [{"id": n, "scan": f"{server.address}/{name}"} for n, name in enumerate(names)]
    project.write("data/scans.jsonl", "\n".join(map(json.dumps, rows)).encode())
    project.write_job(input={"file": "data/scans.jsonl", "key": "id"}, user=BY_COLUMN, min_success=0.1)


def test_a_document_that_never_came_is_an_error_and_nothing_is_sent(
    project: ProjectFiles, emulator: EmulatorServer, inbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    project.write("data/scans.jsonl", json.dumps({"id": 1, "scan": f"{inbox}/a.pdf"}).encode())
    project.write_job(input={"file": "data/scans.jsonl", "key": "id"}, user=BY_COLUMN)
    done = project.cli("run", "--no-fetch")
    assert (done.exit_code, "BF230" in done.stderr) == (2, True)
    assert emulator.counters().batches_created == 0


def test_all_rows_may_share_a_document_that_lies_elsewhere(
    project: ProjectFiles, emulator: EmulatorServer, inbox: str
) -> None:
    put(inbox, {"terms.pdf": pdf(3)})
    project.write_job(user=[{"document": f"{inbox}/terms.pdf"}, {"text": "{{ row.text }}"}])
    done = project.cli("run")
    assert done.exit_code == 0, done.stderr
    assert set(sent(emulator)) == {pdf(3)}


def test_an_address_that_is_none_is_its_rows_error(project: ProjectFiles, emulator: EmulatorServer, inbox: str) -> None:
    put(inbox, {"one.pdf": pdf(1)})
    scans = [f"{inbox}/one.pdf", "http://example.org/a.pdf"]
    lines = [json.dumps({"id": n, "scan": scan}) for n, scan in enumerate(scans)]
    project.write("data/scans.jsonl", "\n".join(lines).encode())
    project.write_job(input={"file": "data/scans.jsonl", "key": "id"}, user=BY_COLUMN, min_success=0.1)
    said = project.cli("run")
    assert said.exit_code == 0, said.stderr
    assert [row["_status"] for row in project.rows_of()] == ["answered", "blocked"]
    assert "`example.org` would be reached without encryption" in project.rows_of()[1]["_error"]
    assert sent(emulator) == [pdf(1)]


def test_a_document_that_was_not_there_is_asked_for_again_however_young_that_is(
    project: ProjectFiles, emulator: EmulatorServer, inbox: str
) -> None:
    put(inbox, {"scans.jsonl": json.dumps({"id": 1, "scan": f"{inbox}/late.pdf"}).encode()})
    reading = {"file": f"{inbox}/scans.jsonl", "key": "id", "max_age": "7d"}
    project.write_job(input=reading, user=BY_COLUMN, min_success=0)
    first = project.cli("run")
    assert first.exit_code == 0, first.stderr
    assert [row["_status"] for row in project.rows_of()] == ["blocked"]
    put(inbox, {"late.pdf": pdf(1)})
    project.cli("run")
    assert [row["_status"] for row in project.rows_of()] == ["answered"]
