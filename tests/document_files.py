"""PDFs and images as tests need them, whole and in every kind of damage."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image
from pypdf import PdfWriter


def pdf(pages: int = 1, *, title: str = "") -> bytes:
    """Different titles make different contents."""
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(612, 792)
    writer.add_metadata({"/Title": title})
    return _written(writer)


def encrypted_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(612, 792)
    writer.encrypt(user_password="", owner_password="owner", algorithm="RC4-128")
    return _written(writer)


def _written(writer: PdfWriter) -> bytes:
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def text_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF whose pages hold lines of plain text."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", _FONT]
    for lines in pages:
        content = _text_content(lines)
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content))
        objects.append(_PAGE % len(objects))
    numbers = range(5, 5 + 2 * len(pages), 2)
    kids = b" ".join(b"%d 0 R" % number for number in numbers)
    objects[1] = b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, len(pages))
    return _with_table(objects)


_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
_PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
)


def _text_content(lines: Sequence[str]) -> bytes:
    shown = b" ".join(b"(%b) '" % _escaped(line) for line in lines)
    return b"BT /F1 10 Tf 13 TL 54 740 Td %b ET" % shown


def _escaped(line: str) -> bytes:
    data = line.encode("cp1252", "replace")
    return data.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _with_table(objects: Sequence[bytes]) -> bytes:
    body, places = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + end


def image(kind: str = "PNG", width: int = 64, height: int = 48, color: int = 0) -> bytes:
    """`kind` is PNG, JPEG, GIF or WEBP; different colors make different contents."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (color, 80, 120)).save(buffer, kind)
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a size that nobody has to hold in memory: its pixels are left out."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
