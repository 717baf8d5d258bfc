"""Jobs -> how far the API's own count of their first requests is from what was estimated. Costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import msgspec

from batchforge.claude_models import find_model
from batchforge.documents.file_delivery import REQUEST_INLINE_BYTES, with_contents
from batchforge.documents.file_piece import inline_bytes, read_piece
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import MessageRequest
from batchforge.target import Target
from batchforge.targets import open_target
from batchforge.token_estimate import estimate_params_tokens

_COUNTED_REQUESTS = 5


def count_tokens(project: Project, jobs: Sequence[CompiledJob], target: Target) -> dict[str, float]:
    """Job -> tokens of its first requests as the API counts them, over estimated ones."""
    ratios = {}
    with open_target(project, target) as opened:
        for job in jobs:
            write = job.template.body_writer({}, partial(with_contents, project.tree))
            rows = list(islice(_countable(job), _COUNTED_REQUESTS))
            model = find_model(job.spec.model)
            estimated = sum(estimate_params_tokens(job.params_of(row), model) for row in rows)
            if estimated:
                counted = sum(opened.backend.count_tokens(msgspec.json.decode(write(row.pieces))) for row in rows)
                ratios[job.spec.name] = counted / estimated
    return ratios


def _countable(job: CompiledJob) -> Iterator[MessageRequest]:
    """Requests that may be sent to be counted, with their files in them: the API counts no uploaded ones."""
    for row in job.requests():
        if isinstance(row, MessageRequest):
            sizes = (inline_bytes(read_piece(piece).file) for piece in job.template.file_pieces(row.pieces))
            if sum(sizes) <= REQUEST_INLINE_BYTES:
                yield row
