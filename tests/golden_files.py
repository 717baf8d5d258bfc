"""Text that is compared with a file in tests/golden/. `WRITE_GOLDEN=1 pytest ...` writes the files anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def masked(text: str) -> str:
    """Without what differs from run to run: ids and times."""
    text = re.sub(r"msgbatch_\w+", "msgbatch_ID", text)
    text = re.sub(r"\d{8}T\d{6}-[0-9a-f]{6}", "RUN", text)
    return re.sub(r"\(\d+:\d\d\)", "(M:SS)", text)
