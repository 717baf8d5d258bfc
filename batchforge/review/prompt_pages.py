"""A compiled job and a few rows -> samples/<job>.md, its prompt as it is sent, for the eyes of who reviews a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import MessageRequest
from batchforge.review.neutral import code, fenced
from batchforge.review.rendered import STAND_IN, own_lines, shared_lines
from batchforge.review.samples import SAMPLES_FOLDER

_MOST_ROWS = 50


def page_path(job: str) -> str:
    return f"{SAMPLES_FOLDER}/{job}.md"


def prompt_page(compiled: CompiledJob, rows: Sequence[MessageRequest]) -> str:
    """The same text for the same requests, whatever the files look like that make them."""
    return "\n".join(_lines(compiled, rows)) + "\n"


def _lines(compiled: CompiledJob, rows: Sequence[MessageRequest]) -> Iterator[str]:
    job = compiled.spec.name
    yield f"# {job}"
    yield ""
    yield "<!-- Written by `batchforge prompts write`, which also settles a merge conflict. Edits are lost. -->"
    yield ""
    if compiled.row_templates:
        yield f"What all rows share; {code(STAND_IN)} stands for each text of a row's own:"
    else:
        yield "The request of every row:"
    yield ""
    yield fenced(shared_lines(compiled), "text")
    for row in rows[:_MOST_ROWS] if compiled.row_templates else ():
        yield ""
        yield f"## Row {code(row.key)}"
        yield ""
        yield fenced(own_lines(compiled, row.pieces), "text")
    if len(rows) > _MOST_ROWS:
        yield ""
        yield f"_{len(rows) - _MOST_ROWS:,} more rows in {code(f'{SAMPLES_FOLDER}/{job}.jsonl')}._"
