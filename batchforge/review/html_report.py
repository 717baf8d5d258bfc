"""A `ProjectDiff` and its answers, row by row -> one HTML file that needs nothing else, and obeys nothing it shows.

The page's policy lets only its own script and style run, by their hashes, and lets nothing be loaded from anywhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from batchforge.review.answer_values import RowAnswers
from batchforge.review.diff_values import ProjectDiff
from batchforge.review.html_page import page_body
from batchforge.review.html_text import cut, shown
from batchforge.terminal.terminal_text import printable
from batchforge.whole_file import whole_file

_HERE = Path(__file__).parent
_CHUNK_BYTES = 3 * (1 << 16)


class HtmlReport:
    """Rows are taken one by one and kept compressed on disk until the page is written."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="batchforge-report-")  # noqa: SIM115 - closed at the end
        self._packed = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6, mtime=0)
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._packed.close()
        self._file.close()

    def add(self, job: str, row: RowAnswers) -> None:
        facts = (job, row.key, row.place, row.kind, row.words, row.row, row.before, row.after)
        self._packed.write(json.dumps(_visible(facts), ensure_ascii=False).encode() + b"\n")
        self._rows += 1

    def write(self, diff: ProjectDiff, path: Path) -> None:
        """The page appears whole or not at all."""
        self._packed.close()
        with whole_file(path) as partial, partial.open("wb") as out:
            for text in self._texts(diff):
                out.write(text)

    def _texts(self, diff: ProjectDiff) -> Iterator[bytes]:
        script, style = ((_HERE / name).read_text("utf-8") for name in ("report.js", "report.css"))
        yield _head(diff, script, style).encode()
        yield "\n".join(page_body(diff, self._rows)).encode()
        if self._rows:
            yield b'\n<script type="text/plain" id="data">'
            self._file.seek(0)
            while chunk := self._file.read(_CHUNK_BYTES):
                yield base64.b64encode(chunk)
            yield b"</script>\n"
        yield f"<script>{script}</script>\n</body>\n</html>\n".encode()


def _head(diff: ProjectDiff, script: str, style: str) -> str:
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(diff.project)}: what this change asks</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _visible(value: Any) -> Any:
    """The same value with texts that show what they hold, line ends kept."""
    if isinstance(value, str):
        return "\n".join(printable(line) for line in cut(value).split("\n"))
    if isinstance(value, dict):
        return {_visible(str(name)): _visible(item) for name, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value
