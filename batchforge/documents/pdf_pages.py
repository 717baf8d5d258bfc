"""A PDF -> how many pages it has, or what is wrong with it."""

from __future__ import annotations

import logging
from typing import BinaryIO, Literal


def count_pages(file: BinaryIO) -> int | Literal["encrypted", "damaged"]:
    """Walks the tree of pages without reading what is on them; a hundred megabytes take no memory."""
    from pypdf import PdfReader

    _silence()
    try:
        reader = PdfReader(file)
        if reader.is_encrypted:
            return "encrypted"
        return len(reader.pages) or "damaged"
    except Exception:  # a damaged file makes the reader fail in any way
        return "damaged"


def _silence() -> None:
    """What the library thinks of a file goes nowhere: the row says it."""
    logger = logging.getLogger("pypdf")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
