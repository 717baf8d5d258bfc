"""The files and models endpoints, by plain HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.multipart import boundary_of, read_parts
from tests.document_files import encrypted_pdf, huge_png, image, pdf
from tests.emulator.conftest import Connect, StartEmulator
from tests.emulator.wire import HEADERS, Wire, params, row

FILES = "/v1/files"
DAY_S = 24 * 3600


def upload(wire: Wire, content: bytes = b"hello", name: str = "a.txt", **fields: str) -> httpx2.Response:
    return wire.send("POST", FILES, files={"file": (name, content)}, data=fields)


def message_about(file_id: str) -> dict[str, Any]:
    source = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    return {"role": "user", "content": [source, {"type": "text", "text": "Sum it up"}]}


def test_an_uploaded_file_is_listed_newest_first(wire: Wire) -> None:
    ids = [upload(wire, name=f"{number}.txt").json()["id"] for number in range(5)]
    page = wire.get(FILES, params={"limit": 2}).json()
    assert [file["id"] for file in page["data"]] == ids[:2:-1]
    assert page["next_page"].startswith("page_")
    page = wire.get(FILES, params={"limit": 2, "page": page["next_page"]}).json()
    assert [file["id"] for file in page["data"]] == [ids[2], ids[1]]
    page = wire.get(FILES, params={"limit": 2, "page": page["next_page"]}).json()
    assert ([file["id"] for file in page["data"]], page["next_page"]) == ([ids[0]], None)
    found = wire.get(FILES, params={"ids[]": [ids[3], "file_none", ids[0]]}).json()
    assert ([file["id"] for file in found["data"]], found["next_page"]) == ([ids[3], ids[0]], None)


def test_a_file_has_its_name_type_and_size(wire: Wire) -> None:
    file = upload(wire, content=b"%PDF-1.7 ...", name="folder/report.pdf", expires_in_seconds="3600").json()
    assert (file["filename"], file["mime_type"], file["size_bytes"]) == ("report.pdf", "application/pdf", 12)
    assert file["downloadable"] is False
    assert file["expires_at"] > file["created_at"]
    assert wire.get(f"{FILES}/{file['id']}").json() == file


def test_an_uploaded_file_cannot_be_downloaded(wire: Wire) -> None:
    file_id = upload(wire).json()["id"]
    response = wire.get(f"{FILES}/{file_id}/content")
    assert response.status_code == 400
    assert response.json()["error"]["details"] == {"error_code": "file_not_downloadable"}


def test_an_expired_file_loses_its_content_and_later_its_metadata(start: StartEmulator, connect: Connect) -> None:
    server = start()
    wire = connect(server)
    file_id = upload(wire, expires_in_seconds="3600").json()["id"]
    server.clock.advance(3600)
    response = wire.get(f"{FILES}/{file_id}/content")
    assert response.status_code == 404
    assert response.json()["error"]["details"] == {"error_code": "file_expired"}
    assert wire.get(f"{FILES}/{file_id}").status_code == 200
    server.clock.advance(30 * DAY_S)
    assert wire.get(f"{FILES}/{file_id}").status_code == 404
    assert wire.get(FILES).json()["data"] == []


@pytest.mark.parametrize("seconds", ["3599", "7776001", "soon"])
def test_a_life_out_of_range_is_refused(wire: Wire, seconds: str) -> None:
    response = upload(wire, expires_in_seconds=seconds)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("expires_in_seconds: Input should be")


def test_what_is_no_upload_is_refused(wire: Wire) -> None:
    assert wire.post(FILES, {"file": "x"}).status_code == 400
    missing = wire.send("POST", FILES, files={"other": ("a", b"x")})
    assert missing.json()["error"]["message"] == "file: Field required"
    cut = wire.send("POST", FILES, content=b"--x\r\n", headers={"content-type": "multipart/form-data; boundary=x"})
    assert cut.status_code == 400


def test_a_request_may_refer_to_a_file_that_is_there(wire: Wire) -> None:
    file_id = upload(wire, content=b"%PDF-1.7", name="a.pdf").json()["id"]
    known, unknown = message_about(file_id), message_about("file_011CNone")
    assert wire.post("/v1/messages", params(messages=[known])).status_code == 200
    refused = wire.post("/v1/messages", params(messages=[unknown]))
    assert (refused.status_code, refused.json()["error"]["message"]) == (404, "File not found: file_011CNone")
    results = wire.run([row("a", messages=[known]), row("b", messages=[unknown])])
    assert (results["a"]["type"], results["b"]["type"]) == ("succeeded", "errored")
    assert wire.send("DELETE", f"{FILES}/{file_id}").json() == {"id": file_id, "type": "file_deleted"}
    assert wire.post("/v1/messages", params(messages=[known])).status_code == 404


def test_a_large_file_is_taken(wire: Wire) -> None:
    assert upload(wire, content=bytes(40_000_000)).json()["size_bytes"] == 40_000_000


def test_files_belong_to_their_workspace(emulator: EmulatorServer, wire: Wire, connect: Connect) -> None:
    file_id = upload(wire).json()["id"]
    other = connect(emulator, {**HEADERS, "anthropic-workspace-id": "wrkspc_other"})
    assert other.get(f"{FILES}/{file_id}").status_code == 404


@given(st.binary(), st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1))
def test_any_content_and_name_come_through_an_upload(content: bytes, name: str) -> None:
    request = httpx2.Request("POST", "http://x/", files={"file": (name, content)}, data={"more": "1"})
    boundary = boundary_of(request.headers["content-type"])
    assert boundary is not None
    parts = {part.name: part for part in read_parts(request.read(), boundary)}
    assert parts["file"].content == content
    assert parts["more"].content == b"1"


def test_models_are_listed_newest_first_in_pages(wire: Wire) -> None:
    every = wire.get("/v1/models", params={"limit": 1000}).json()
    ids = [model["id"] for model in every["data"]]
    assert (every["has_more"], every["first_id"], every["last_id"]) == (False, ids[0], ids[-1])
    created = [model["created_at"] for model in every["data"]]
    assert created == sorted(created, reverse=True)
    page = wire.get("/v1/models", params={"limit": 4, "after_id": ids[3]}).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == (ids[4:8], True)
    page = wire.get("/v1/models", params={"limit": 2, "before_id": ids[3]}).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == (ids[1:3], True)
    page = wire.get("/v1/models", params={"limit": 9, "before_id": ids[1]}).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == (ids[:1], False)


def test_retired_models_are_shown_only_on_request(wire: Wire) -> None:
    retired = wire.get("/v1/models", params={"lifecycle": "retired"}).json()["data"]
    assert {model["lifecycle"] for model in retired} == {"retired"}
    assert wire.get(f"/v1/models/{retired[0]['id']}").json()["lifecycle"] == "retired"
    assert wire.get("/v1/models", params={"lifecycle": "young"}).status_code == 400
    assert wire.get("/v1/models/claude-9").json()["error"]["message"] == "model: claude-9"
    assert wire.get("/v1/models", params={"after_id": "claude-9"}).status_code == 404


def test_a_synchronous_answer_can_take_its_time(start: StartEmulator, connect: Connect) -> None:
    wire = connect(start(Scenario(message_time_s=0.1)))
    response = wire.post("/v1/messages", params())
    assert response.elapsed.total_seconds() >= 0.1


def refusal_of(wire: Wire, content: bytes, name: str, block: str = "document") -> str:
    """What is said to a request that names a file; empty where nothing is wrong."""
    file_id = upload(wire, content=content, name=name).json()["id"]
    message = message_about(file_id)
    message["content"][0]["type"] = block
    response = wire.post("/v1/messages", params(messages=[message]))
    return "" if response.status_code == 200 else str(response.json()["error"]["message"])


def test_an_uploaded_file_must_be_of_the_blocks_kind_and_sound(wire: Wire) -> None:
    assert refusal_of(wire, pdf(2), "a.pdf") == ""
    assert refusal_of(wire, b"plain", "a.txt") == ""
    assert refusal_of(wire, image("PNG"), "a.png", "image") == ""
    assert "cannot be used in a block of type image" in refusal_of(wire, pdf(2), "a.pdf", "image")
    assert "cannot be used in a block of type document" in refusal_of(wire, image("PNG"), "a.png")
    assert refusal_of(wire, b"no pdf", "a.pdf") == "The PDF specified was not valid."
    assert refusal_of(wire, encrypted_pdf(), "a.pdf") == "The PDF specified is password protected."
    assert refusal_of(wire, b"no image", "a.png", "image") == "Could not process image"
    assert "exceed max allowed size: 8000 pixels" in refusal_of(wire, huge_png(9000, 9), "a.png", "image")
    assert "Too much media: 601 document pages" in refusal_of(wire, pdf(601), "a.pdf")
