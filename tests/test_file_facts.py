"""What a file is, is told by its content; what is wrong with it is a problem with a code and its name in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.documents.file_facts import FileFacts, FileProblem, FileReader
from batchforge.documents.file_kind import sniff
from batchforge.source_tree import SourceTree
from tests.document_files import encrypted_pdf, huge_png, image, pdf, text_pdf

NAMES = ["a b.pdf", "Straße № 5 – ünïcode.pdf", "two\nlines.pdf", "quote\"and'.pdf", "%41.pdf", "ﬁ𝔘.pdf"]


def read(root: Path, name: str, content: bytes) -> FileFacts:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return FileReader(SourceTree(root)).read(name)


def problem(root: Path, name: str, content: bytes | None = None) -> str:
    if content is not None:
        (root / name).write_bytes(content)
    with pytest.raises(FileProblem) as caught:
        FileReader(SourceTree(root)).read(name)
    return f"{caught.value.code} {caught.value.reason}"


def test_a_pdf_has_pages(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.pdf", pdf(3))
    assert (facts.kind, facts.media_type, facts.pages) == ("pdf", "application/pdf", 3)
    assert read(tmp_path, "b.pdf", text_pdf([["one"], ["two"]])).pages == 2


def test_five_hundred_pages_are_counted(tmp_path: Path) -> None:
    assert read(tmp_path, "a.pdf", pdf(500)).pages == 500


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_an_image_has_a_size(tmp_path: Path, kind: str) -> None:
    facts = read(tmp_path, "a.bin", image(kind, 70, 30))
    assert (facts.kind, facts.media_type) == ("image", f"image/{kind.lower()}")
    assert (facts.width, facts.height) == (70, 30)


def test_the_images_own_kind_is_told_by_its_content(tmp_path: Path) -> None:
    assert read(tmp_path, "a.png", image("JPEG")).media_type == "image/jpeg"


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a", "a.unheard-of"])
def test_utf_8_is_text(tmp_path: Path, name: str) -> None:
    facts = read(tmp_path, name, b"\xef\xbb\xbf# Stra\xc3\x9fe\n")
    assert (facts.kind, facts.media_type) == ("text", "text/plain")


def test_a_text_that_speaks_of_pdfs_is_text(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", b"A PDF begins with %PDF-1.7.\n").kind == "text"


def test_a_pdf_may_begin_a_little_later(tmp_path: Path) -> None:
    assert read(tmp_path, "a.pdf", b"\xfe\xff junk\n" + pdf()).kind == "pdf"


@pytest.mark.parametrize("name", NAMES)
def test_names_may_be_anything(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name, pdf()).path == name


def test_equal_contents_have_one_hash(tmp_path: Path) -> None:
    assert read(tmp_path, "a.pdf", pdf()).sha256 == read(tmp_path, "deep/b.pdf", pdf()).sha256


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", b"", "BF451"),
        ("a.txt", b" \n\t\xc2\xa0\n", "BF451"),
        ("a.pdf", encrypted_pdf(), "BF452"),
        ("a.pdf", pdf(5)[:400], "BF453"),
        ("a.pdf", pdf(5)[:-40], "BF453"),
        ("a.pdf", b"%PDF-1.7\n" + b"\xff\x00" * 400, "BF453"),
        ("a.pdf", text_pdf([]), "BF453"),
        ("a.png", image("PNG")[:-12], "BF453"),
        ("a.png", image("PNG")[:20], "BF453"),
        ("a.jpg", image("JPEG")[:-60], "BF453"),
        ("a.gif", image("GIF", 200, 200)[:-40], "BF453"),
        ("a.webp", image("WEBP")[:-20], "BF453"),
        ("a.png", huge_png(0, 10), "BF453"),
        ("a.pdf", b"<html><h1>404 Not Found</h1></html>", "BF454"),
        ("a.pdf", image("JPEG"), "BF454"),
        ("a.png", pdf(), "BF454"),
        ("a.txt", pdf(), "BF454"),
        ("a.txt", "Grüße".encode("utf-16"), "BF454"),
        ("a.docx", b"PK\x03\x04" + b"\0" * 40, "BF455"),
        ("a.tif", b"II*\x00" + b"\0" * 40, "BF455"),
        ("a", b"\x00\x01\x02", "BF455"),
        ("a.txt", b"caf\xe9", "BF455"),
        ("a.txt", b"fine so far " * 2000 + b"\0", "BF455"),
    ],
)
def test_what_cannot_be_sent_says_why(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    said = problem(tmp_path, name, content)
    assert said.startswith(code)
    assert f"'{name}'" in said


def test_a_half_of_a_character_at_the_end_is_found(tmp_path: Path) -> None:
    assert problem(tmp_path, "a.md", b"a" * (1 << 20) + b"\xc3").startswith("BF455")


@pytest.mark.parametrize("path", ["", "  ", "nowhere.pdf", "../a.pdf", "/etc/passwd", "folder", "a\0b", "C:/a.pdf"])
def test_a_path_that_leads_to_no_file_of_the_project(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    assert problem(tmp_path, path).startswith("BF450")


def test_a_link_out_of_the_project_is_not_followed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "secret.pdf").write_bytes(pdf())
    (project / "a.pdf").symlink_to(tmp_path / "secret.pdf")
    (project / "up").symlink_to(tmp_path)
    for path in ("a.pdf", "up/secret.pdf"):
        assert "out of the project" in problem(project, path)


def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf())
    (tmp_path / "b.pdf").symlink_to(tmp_path / "a.pdf")
    assert FileReader(SourceTree(tmp_path)).read("b.pdf").pages == 1


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    reader, path = FileReader(SourceTree(tmp_path)), tmp_path / "a.pdf"
    path.write_bytes(pdf(1))
    first = reader.read("a.pdf")
    path.write_bytes(pdf(2))
    assert (first.pages, reader.read("a.pdf").pages) == (1, 2)


@given(st.binary(max_size=2000), st.sampled_from([b"", b"%PDF-1.4\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP"]))
def test_any_bytes_are_either_something_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any").write_bytes(head + data)
    try:
        outcome: str | None = FileReader(SourceTree(folder)).read("any").kind
    except FileProblem as exc:
        outcome = exc.code
    assert outcome in {sniff(head + data).kind, "BF451", "BF452", "BF453", "BF455"}
