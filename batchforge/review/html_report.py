"""A `ProjectDiff` and its answers, row by row -> one HTML file that needs nothing else, and obeys nothing it shows.

The page's policy lets only its own script and style run, by their hashes, and lets nothing be loaded from anywhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from batchforge.review.answer_values import RowAnswers
from batchforge.review.answer_words import answer_lines
from batchforge.review.diff_values import JobDiff, ProjectDiff, Status
from batchforge.review.diff_words import (
    all_rows_words,
    basis_words,
    effect_words,
    expected_words,
    headline,
    part_words,
    row_words,
    status_words,
)
from batchforge.review.text_diff import DiffLine
from batchforge.terminal.terminal_text import printable

_HERE = Path(__file__).parent
_SIGNS = {"same": " ", "old": "-", "new": "+", "gap": "…"}
_MOST_CHARACTERS = 20_000
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
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as out:
            for text in self._texts(diff):
                out.write(text)
        unfinished.replace(path)

    def _texts(self, diff: ProjectDiff) -> Iterator[bytes]:
        script, style = ((_HERE / name).read_text("utf-8") for name in ("report.js", "report.css"))
        yield _head(diff, script, style).encode()
        yield "\n".join(_body(diff, self._rows)).encode()
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
        f"<title>{_text(diff.project)}: what this change asks</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _body(diff: ProjectDiff, rows: int) -> Iterator[str]:
    yield f"<header><h1>{_text(diff.project)}: what this change asks</h1>"
    yield f'<p class="answer">{_text(headline(diff))}</p>'
    yield f'<p class="dim">{_text(str(diff.base))} → {_text(str(diff.head))} · target {_text(diff.target)} · '
    yield f"prices as of {_text(diff.prices_as_of)}</p></header>\n<main>"
    yield from _table(diff)
    yield from _notes(diff)
    for job in diff.changed_jobs:
        yield from _job(job)
    if rows:
        yield from _rows_frame(rows)
    yield "</main>"


def _table(diff: ProjectDiff) -> Iterator[str]:
    yield "<table><caption hidden>Jobs</caption><thead><tr>"
    yield "".join(f'<th scope="col">{name}</th>' for name in ("job", "change", "effect", "all rows once"))
    yield "</tr></thead><tbody>"
    for job in diff.jobs:
        link = f'<a href="#job-{_text(job.job)}">{_text(job.job)}</a>' if job.status is not Status.UNCHANGED else ""
        before_after = job.changes_requests and job.before is not None and job.after is not None
        once = f"{expected_words(job.before)} → {expected_words(job.after)}" if before_after else ""  # type: ignore[arg-type]
        cells = [link or _text(job.job), _text(status_words(job)), _text(effect_words(job)), _text(once)]
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table>"


def _notes(diff: ProjectDiff) -> Iterator[str]:
    lines = [*diff.notes, *(f"target changed: {words}" for words in diff.target_changes)]
    lines += [f"{problem.code}: {problem.message}" for problem in diff.problems]
    if not diff.has_state:
        lines.append("There is no state here: what was answered before is not known.")
    yield from _list(lines)


def _job(job: JobDiff) -> Iterator[str]:
    yield f'<section class="job" id="job-{_text(job.job)}"><h2>{_text(job.job)}</h2>'
    yield f'<p class="answer">{_text(status_words(job))}: {_text(effect_words(job))}</p>'
    facts = [f"{job.model}, {job.mode}, {job.path}", *(part_words(part) for part in job.parts)]
    facts += [f"rows: {', '.join(row_words(job.rows)) or 'none'}"] if job.rows else []
    facts += [*all_rows_words(job)]
    facts += [f"caching: {job.caching.words}"] if job.caching and job.changes_requests else []
    yield from _list([*facts, *filter(None, [basis_words(job)]), *job.notes])
    if job.answers is not None:
        yield "<h3>Answers</h3>"
        yield from _list(list(answer_lines(job.answers)))
    if job.prompt.shared:
        yield f"<h3>What all rows share</h3>{_diff(job.prompt.shared)}"
    for row in job.prompt.rows:
        yield f"<h3>Row {_text(row.key)} ({_text(row.place)}; {_text(row.stratum)})</h3>{_diff(row.lines)}"
    yield "</section>"


def _list(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _diff(lines: Sequence[DiffLine]) -> str:
    return "<pre>" + "".join(_line(line) for line in lines) + "</pre>"


def _line(line: DiffLine) -> str:
    tag = "del" if line.kind == "old" else "ins"
    words = (f"<{tag}>{_text(span.text)}</{tag}>" if span.is_changed else _text(span.text) for span in line.spans)
    return f'<span class="{line.kind}" data-sign="{_SIGNS[line.kind]}">{"".join(words)}</span>'


def _rows_frame(rows: int) -> Iterator[str]:
    yield f'<h2 id="answers">Answers, row by row <span class="dim">({rows:,})</span></h2>'
    yield '<p class="dim">Keys: / search, j and k to move, Enter to open, n and p for pages, Esc to close.</p>'
    yield '<form id="filters" role="search">'
    yield '<label>Job <select id="job"></select></label><label>What became of it <select id="kind"></select></label>'
    yield '<label>Change <select id="move"></select></label>'
    yield '<label>Search <input id="q" type="search" autocomplete="off"></label>'
    yield '<button type="button" id="before">Previous</button><button type="button" id="after">Next</button></form>'
    yield '<p id="status" role="status" aria-live="polite">loading</p>'
    yield '<table><caption hidden>Rows with their answers</caption><thead><tr><th scope="col">key</th>'
    yield '<th scope="col">job</th><th scope="col">kind</th><th scope="col">what changed</th></tr></thead>'
    yield '<tbody id="rows"></tbody></table>'


def _text(text: str) -> str:
    return escape(printable(_cut(text)))


def _visible(value: Any) -> Any:
    """The same value with texts that show what they hold, line ends kept."""
    if isinstance(value, str):
        return "\n".join(printable(line) for line in _cut(value).split("\n"))
    if isinstance(value, dict):
        return {_visible(str(name)): _visible(item) for name, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


def _cut(text: str) -> str:
    more = len(text) - _MOST_CHARACTERS
    return text if more <= 0 else f"{text[:_MOST_CHARACTERS]}… ({more:,} more characters)"
