"""Documents and images, from files in the project to answers: through the command line, against the emulator."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from batchforge import pipeline
from batchforge.clock import SystemClock
from batchforge.documents.file_delivery import FileDelivery
from batchforge.emulator import EmulatorServer, Fault
from batchforge.errors import ApiError, ProblemList, ProjectError
from batchforge.requests.request import BlockedRow
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
from batchforge.targets import open_target
from tests.builders import PlayedClock, ProjectFiles
from tests.document_files import encrypted_pdf, huge_png, image, pdf

USER = [{"document": "row.path"}, {"text": "Say in one sentence what this is."}]
HEADERS = {"x-api-key": "any-key", "anthropic-version": "2026-10-21"}
INBOX = {"files": "inbox/*.pdf"}


@pytest.fixture
def inbox(project: ProjectFiles) -> ProjectFiles:
    project.write_job(input=INBOX, user=USER, min_success=0.1)
    return project


def sent(emulator: EmulatorServer) -> list[dict[str, Any]]:
    """The parameters of every request of every batch, in the order in which they were sent."""
    bodies = [json.loads(request.body or "") for request in emulator.received("batches.create")]
    return [request["params"] for body in bodies for request in body["requests"]]


def blocked_reason(project: ProjectFiles) -> str | None:
    """Why the first row is not asked."""
    (compiled,) = compile_jobs(*project.load(), RunOptions(), ProblemList())
    row = next(compiled.requests())
    return f"{row.code} {row.reason}" if isinstance(row, BlockedRow) else None


def source(params: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = params["messages"][0]["content"][0]["source"]
    return found


def test_each_file_is_a_row(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/b c.pdf", pdf(2))
    inbox.write("inbox/ä\nnewline.pdf", pdf(1))
    assert inbox.cli("run").exit_code == 0
    rows = inbox.rows_of()
    assert [row["path"] for row in rows] == ["inbox/b c.pdf", "inbox/ä\nnewline.pdf"]
    assert rows[0]["name"] == "b c"
    assert rows[0]["size_bytes"] == len(pdf(2))
    assert [base64.b64decode(source(params)["data"]) for params in sent(emulator)] == [pdf(2), pdf(1)]


def test_what_is_wrong_with_a_file_is_its_rows_error(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    damaged = {"1": b"", "2": encrypted_pdf(), "3": pdf(3)[:300], "4": b"<html>404</html>", "5": pdf(601)}
    for name, content in {**damaged, "6": pdf(1)}.items():
        inbox.write(f"inbox/{name}.pdf", content)
    inbox.run()
    assert len(sent(emulator)) == 1
    rows = inbox.rows_of()
    assert [row["_status"] for row in rows] == [*["blocked"] * 5, "answered"]
    words = ["is empty", "encrypted", "damaged", "named like a PDF, and its content is text", "601 PDF pages"]
    assert all(word in row["_error"] for word, row in zip(words, rows, strict=False))


def test_images_texts_and_markdown_become_the_blocks_that_the_api_takes(
    inbox: ProjectFiles, emulator: EmulatorServer
) -> None:
    files = {"a.jpg": image("JPEG"), "b.png": image("PNG"), "c.gif": image("GIF"), "d.webp": image("WEBP")}
    files |= {"e.txt": b"\xef\xbb\xbfplain", "f.md": "# Größe".encode(), "g": pdf()}
    for name, content in files.items():
        inbox.write(f"inbox/{name}", content)
    inbox.write_job(input={"files": "inbox/*", "format": "document"}, user=[{"document": "row.file"}, {"text": "?"}])
    assert inbox.run().status == "ok"
    sources = [source(params) for params in sent(emulator)]
    assert [s["media_type"] for s in sources] == [
        *("image/jpeg", "image/png", "image/gif", "image/webp"),
        *("text/plain", "text/plain", "application/pdf"),
    ]
    assert [s["data"] for s in sources[4:6]] == ["plain", "# Größe"]


def test_a_column_may_hold_the_paths(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("scans/one.pdf", pdf(1))
    inbox.write("scans/photo.jpg", image("JPEG"))
    rows = [("a", "scans/one.pdf"), ("b", "scans/none.pdf"), ("c", "../up.pdf"), ("d", None), ("e", "scans/photo.jpg")]
    inbox.write_rows([{"id": key, "scan": path} for key, path in rows])
    inbox.write_job(user=[{"document": "row.scan"}, {"text": "What is it?"}], min_success=0.1)
    inbox.run()
    assert [row["id"] for row in inbox.rows_of() if row["_status"] == "answered"] == ["a", "e"]
    errors = {row["id"]: row["_error"] for row in inbox.rows_of()}
    assert "there is no file 'scans/none.pdf'" in errors["b"]
    assert "not a path inside the project" in errors["c"]
    assert "the row names no file" in errors["d"]


def test_a_path_may_be_a_template_and_a_file_may_be_shared(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("manual.pdf", pdf(1, title="manual"))
    inbox.write("photos/0.png", image())
    inbox.write_rows(["A red bicycle."])
    blocks = [{"document": "manual.pdf", "title": "Manual"}, {"image": "photos/{{ row.id }}.png"}, {"text": "?"}]
    inbox.write_job(user=blocks)
    assert inbox.run().status == "ok"
    content = sent(emulator)[0]["messages"][0]["content"]
    assert [block["type"] for block in content] == ["document", "image", "text"]
    assert content[0]["title"] == "Manual"


def test_a_shared_file_that_cannot_be_sent_is_the_jobs_error(inbox: ProjectFiles) -> None:
    inbox.write("manual.pdf", encrypted_pdf())
    inbox.write_job(user=[{"document": "manual.pdf"}, {"text": "{{ row.text }}"}])
    with pytest.raises(ProjectError, match="BF452"):
        inbox.run()


def test_an_image_block_takes_images_only(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", pdf())
    inbox.write_job(input=INBOX, user=[{"image": "row.path"}, {"text": "?"}])
    assert "BF455" in (blocked_reason(inbox) or "")


def test_a_file_is_asked_about_again_only_if_its_content_changes(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/a.pdf", pdf(1))
    inbox.run()
    inbox.path("inbox/a.pdf").rename(inbox.path("inbox/renamed.pdf"))
    inbox.write("inbox/copy.pdf", pdf(1))
    inbox.run()
    assert len(sent(emulator)) == 1
    inbox.write("inbox/copy.pdf", pdf(2))
    inbox.run()
    assert len(sent(emulator)) == 2


def test_too_many_pages_and_images_are_counted_together(inbox: ProjectFiles) -> None:
    inbox.write("a.pdf", pdf(600))
    inbox.write("b.png", image())
    inbox.write("c.png", huge_png(9000, 10))
    inbox.write_rows(["one"])
    inbox.write_job(user=[{"document": "a.pdf"}, {"image": "{{ 'b' if row.id else '' }}.png"}, {"text": "?"}])
    assert "600 PDF pages and 1 images; this model takes 600" in (blocked_reason(inbox) or "")
    inbox.write_job(user=[{"image": "{{ 'c' if row.id else '' }}.png"}, {"text": "?"}])
    assert "9,000 × 10 pixels" in (blocked_reason(inbox) or "")


def test_many_images_must_be_smaller(inbox: ProjectFiles) -> None:
    inbox.write("b.png", image("PNG", 2100, 10))
    inbox.write_rows(["one"])
    block = {"image": "{{ 'b' if row.id else '' }}.png"}
    inbox.write_job(user=[block] * 20 + [{"text": "?"}])
    assert blocked_reason(inbox) is None
    inbox.write_job(user=[block] * 21 + [{"text": "?"}])
    assert "2,000 a side where a request has more than 20 images" in (blocked_reason(inbox) or "")


def test_sync_sends_them_too(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/a.pdf", pdf(1))
    assert inbox.run(mode="sync").status == "ok"
    body = json.loads(emulator.received("messages")[0].body or "")
    assert base64.b64decode(source(body)["data"]) == pdf(1)


def test_render_names_a_file_instead_of_showing_it(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", pdf(2))
    said = inbox.cli("render", "about")
    assert '"path": "inbox/a.pdf"' in said.stdout
    assert "base64" not in said.stdout


# ---- uploads


@pytest.fixture
def contracts(inbox: ProjectFiles) -> ProjectFiles:
    """Five questions about each of two contracts that are too large to be sent five times."""
    inbox.write("contracts/a.pdf", large(1))
    inbox.write("contracts/b.pdf", large(2))
    rows = [
        {"id": f"{name}{n}", "contract": f"contracts/{name}.pdf", "question": f"Question {n}?"}
        for n in range(5)
        for name in "ab"
    ]
    inbox.write_rows(rows)
    inbox.write_job(user=[{"document": "row.contract"}, {"text": "{{ row.question }}"}])
    return inbox


def large(pages: int, size_bytes: int = 1_000_000) -> bytes:
    """A PDF with a comment in it that makes it large."""
    small = pdf(pages)
    return small + b"%" + b"x" * size_bytes + b"\n" + small[small.rindex(b"startxref") :]


def uploads(emulator: EmulatorServer) -> int:
    return len(emulator.received("files.upload"))


def file_ids(emulator: EmulatorServer) -> list[str]:
    return [source(params)["file_id"] for params in sent(emulator)]


def test_a_file_that_many_requests_share_is_uploaded_once(contracts: ProjectFiles, emulator: EmulatorServer) -> None:
    assert contracts.run().status == "ok"
    assert uploads(emulator) == 2
    assert len(file_ids(emulator)) == 10
    assert len(set(file_ids(emulator))) == 2


def test_a_large_file_is_uploaded_and_a_small_one_is_not(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/large.pdf", large(1, 100_000_000))
    inbox.write("inbox/small.pdf", pdf())
    assert inbox.run().status == "ok"
    assert [source(params)["type"] for params in sent(emulator)] == ["file", "base64"]
    assert {row["_status"] for row in inbox.rows_of()} == {"answered"}


def test_files_go_to_the_api_some_at_a_time_and_each_once(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    for number in range(12):
        inbox.write(f"inbox/{number:02}.pdf", large(1 + number % 6, 3_300_000 + number % 6))
    assert inbox.run().status == "ok"
    assert uploads(emulator) == 6
    assert len(set(file_ids(emulator))) == 6
    assert {row["_status"] for row in inbox.rows_of()} == {"answered"}


def test_where_uploads_are_forbidden_files_stand_in_their_requests(
    contracts: ProjectFiles, emulator: EmulatorServer
) -> None:
    contracts.write_project(uploads="never")
    contracts.write("contracts/b.pdf", large(2, 20_000_000))
    contracts.write_job(user=[{"document": "row.contract"}, {"text": "{{ row.question }}"}], min_success=0.1)
    contracts.run()
    assert uploads(emulator) == 0
    assert [row["_status"] for row in contracts.rows_of()].count("answered") == 5
    errors = {row["_error"] for row in contracts.rows_of() if row["_status"] == "blocked"}
    assert errors == {
        "the request's files have 20 MB; without uploads, which the target forbids, a request holds 19 MB"
    }


def test_a_later_run_uses_what_was_uploaded(contracts: ProjectFiles, emulator: EmulatorServer) -> None:
    contracts.run()
    contracts.write_prompt("Answer in one word.\n")
    contracts.run()
    assert uploads(emulator) == 2
    assert len(set(file_ids(emulator))) == 2
    assert len(file_ids(emulator)) == 20


def test_a_file_that_is_gone_is_uploaded_again_and_asks_nothing_anew(
    contracts: ProjectFiles, emulator: EmulatorServer
) -> None:
    contracts.run()
    with httpx2.Client(base_url=emulator.base_url, headers=HEADERS) as client:
        client.delete(f"/v1/files/{file_ids(emulator)[0]}").raise_for_status()
    assert contracts.run().jobs[0].actions == {"reuse": 10}
    contracts.write_prompt("Answer in one word.\n")
    assert contracts.run().status == "ok"
    assert uploads(emulator) == 3
    with contracts.state() as state:
        assert {file.file_id for file in state.uploaded_files()} == set(file_ids(emulator)[10:])


def test_what_is_remembered_of_an_upload(contracts: ProjectFiles) -> None:
    contracts.run()
    with contracts.state() as state:
        files = state.uploaded_files()
    assert [file.size_bytes for file in files] == [len(large(1)), len(large(2))]
    assert all(file.expires_at > file.uploaded_at and file.workspace for file in files)


def test_a_file_that_changes_after_the_plan_stops_the_run(contracts: ProjectFiles, emulator: EmulatorServer) -> None:
    project, jobs, target = contracts.load()
    with pipeline.plan(project, jobs, target) as planned, open_target(project, target) as opened:
        contracts.write("contracts/a.pdf", large(3))
        delivery = FileDelivery(opened.state, opened.files, SystemClock())
        bodies = planned.plans[0].bodies("rest", delivery.for_plan(planned.plans[0]))
        with pytest.raises(ProjectError, match="BF457"):
            next(bodies)
    assert uploads(emulator) == 0


def test_an_upload_that_fails_is_tried_again_and_then_stops_the_run(
    contracts: ProjectFiles, emulator: EmulatorServer
) -> None:
    emulator.faults.add(Fault(kind="status", on="files.upload", status=529, times=2))
    contracts.run(clock=PlayedClock())
    assert {row["_status"] for row in contracts.rows_of()} == {"answered"}
    contracts.write("contracts/a.pdf", large(4))
    emulator.faults.add(Fault(kind="status", on="files.upload", status=529, times=9))
    with pytest.raises(ApiError, match="BF608"):
        contracts.run(clock=PlayedClock())
    emulator.faults.clear()
    assert contracts.run().status == "ok"


def test_prune_deletes_files_that_were_not_used_for_long(contracts: ProjectFiles, emulator: EmulatorServer) -> None:
    contracts.run()
    assert "2 uploaded files" in contracts.cli("state", "prune", "--older-than", "0h").stdout
    kept = contracts.cli("state", "prune", "--older-than", "1h", "--yes").stdout
    assert "0 uploaded files" in kept
    removed = contracts.cli("state", "prune", "--older-than", "0h", "--yes").stdout
    assert "2 uploaded files" in removed
    assert len(emulator.received("files.delete")) == 2
    with contracts.state() as state:
        assert state.uploaded_files() == []


def test_questions_about_one_contract_share_its_place_in_the_cache(
    contracts: ProjectFiles, emulator: EmulatorServer
) -> None:
    blocks = [{"document": "row.contract"}, {"text": "{{ row.question }}"}]
    contracts.write("contracts/a.pdf", large(30))
    contracts.write("contracts/b.pdf", large(31))
    contracts.write_job(user=blocks, cache={"per": "contract"})
    assert contracts.run().status == "ok"
    marked = [p["messages"][0]["content"][0].get("cache_control") for p in sent(emulator)]
    assert all(marked)
    assert sum(row["_cache_read_tokens"] > 0 for row in contracts.rows_of()) == 8


# ---- citations


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_citations_become_a_column(inbox: ProjectFiles, ending: str) -> None:
    inbox.write("inbox/a.pdf", pdf(3))
    block = {"document": "row.file", "title": "{{ row.name }}", "context": "A scan.", "citations": True}
    inbox.write_job(input=INBOX, user=[block, {"text": "?"}], output={"file": f"outputs/a.{ending}"})
    assert inbox.run().status == "ok"
    (row,) = list(read_rows(inbox.path(f"outputs/a.{ending}"), "a", TableOptions(ending)))  # type: ignore[arg-type]
    found = row[1]["_citations"]
    (citation,) = json.loads(found) if isinstance(found, str) else found
    assert citation["answer"] == row[1]["answer"]
    assert (citation["document_title"], citation["start_page_number"]) == ("a", 1)


def test_citations_do_not_go_with_fields(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", pdf(3))
    block = {"document": "row.file", "citations": True}
    inbox.write_job(input=INBOX, user=[block], output={"fields": {"what": "text"}})
    with pytest.raises(ProjectError, match="BF408"):
        inbox.run()


def test_an_answer_about_images_has_no_column_of_citations(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", pdf(3))
    inbox.run()
    assert "_citations" not in inbox.rows_of()[0]


def test_erasing_a_row_deletes_its_uploaded_file_and_no_other(
    contracts: ProjectFiles, emulator: EmulatorServer
) -> None:
    contracts.run()
    keys = [word for n in range(5) for word in ("--key", f"a{n}")]
    some = contracts.cli("state", "erase", "about", *keys[:4], "--delete-remote", "--yes").stdout
    assert "uploaded file" not in some  # the other rows still have it
    said = contracts.cli("state", "erase", "about", *keys, "--delete-remote", "--yes").stdout
    assert "1 uploaded file" in said
    with contracts.state() as state:
        (left,) = state.uploaded_files()
    assert left.size_bytes == len(large(2))


def test_a_run_over_unchanged_files_looks_at_no_row(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/a.pdf", pdf(1))
    inbox.run()
    inbox.run()
    inbox.events.clear()
    inbox.run()
    assert any("unchanged" in event.message for event in inbox.events)
    inbox.write("inbox/a.pdf", pdf(2))
    inbox.run()
    assert len(sent(emulator)) == 2


def test_a_run_over_a_column_of_paths_notices_a_changed_file(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("a.pdf", pdf(1))
    inbox.write_rows([{"id": "1", "scan": "a.pdf"}])
    inbox.write_job(user=[{"document": "row.scan"}, {"text": "?"}])
    inbox.run()
    inbox.write("a.pdf", pdf(2))
    inbox.run()
    assert len(sent(emulator)) == 2


def test_an_exact_count_sends_the_files_to_be_counted(inbox: ProjectFiles, emulator: EmulatorServer) -> None:
    inbox.write("inbox/a.pdf", pdf(3))
    inbox.write("inbox/b.pdf", large(1, 30_000_000))
    project, jobs, target = inbox.load()
    with pipeline.plan(project, jobs, target, RunOptions(count_exactly=True)) as planned:
        assert planned.plans[0].learnt.input_ratio != 1
    counted = [json.loads(request.body or "") for request in emulator.received("count_tokens")]
    assert [source(params)["type"] for params in counted] == ["base64"]
    assert uploads(emulator) == 0


def test_a_plan_estimates_pages_and_images_by_the_published_numbers(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", pdf(10))
    inbox.write_job(input=INBOX, user=USER, system=None)
    with pipeline.plan(*inbox.load()) as planned:
        (plan,) = planned.plans
    assert plan.estimate.input_tokens == pytest.approx(10 * 2_350, rel=0.01)
    assert plan.estimate.ceiling_pico_usd is not None
    inbox.write("photo.png", image("PNG", 1000, 500))
    inbox.write_rows(["a"])
    inbox.write_job(user=[{"image": "photo.png"}, {"text": "{{ row.text }}"}], system=None)
    with pipeline.plan(*inbox.load()) as planned:
        (plan,) = planned.plans
    assert plan.estimate.input_tokens == pytest.approx(36 * 18, rel=0.03)


def test_compiled_requests_name_files_by_their_content(inbox: ProjectFiles) -> None:
    inbox.write("inbox/a.pdf", large(2, 5_000_000))
    assert inbox.cli("compile").exit_code == 0
    text = inbox.path("target/compiled/about.jsonl").read_text()
    assert hashlib.sha256(large(2, 5_000_000)).hexdigest() in text
    assert len(text) < 2_000
