"""What an earlier run has settled: the same job on the same files, every row answered. Then no row need be looked at.

A rerun of 1,000,000 unchanged rows takes the time of reading the project, instead of half a minute for rendering
them all to find that nothing has changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version

import msgspec

from batchforge.file_marks import FileMark, are_unchanged
from batchforge.inputs import input_paths
from batchforge.requests.compiler import CompiledJob
from batchforge.source_tree import SourceTree


class Settled(msgspec.Struct, frozen=True):
    """Written beside a job's manifest once all its rows have answers."""

    job: str
    """See `identity_of`."""
    files: list[FileMark]
    """The input, as it was before it was read."""
    rows: int
    distinct_requests: int
    last_attempt_id: int
    """Of the state when everything was settled: any later attempt may have brought other answers."""

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


def decode_settled(text: str) -> Settled:
    return msgspec.json.decode(text, type=Settled)


def identity_of(job: CompiledJob) -> str | None:
    """Changes when any request of the same rows could change, or what is made of its answer; None where that cannot be
    told: a prompt chooses its includes by the row, or not all rows and documents are in files of the input."""
    rows = job.spec.input
    if rows.refs or (rows.files is None and rows.text_files is None):
        return None
    if not job.is_told_by_its_input:
        return None
    texts = [template.texts for template in job.row_templates]
    # Tests are asked of the answers; where and in what words a setting stands changes none of them.
    spec = replace(job.spec, tests=(), locations={}, parent_locations={}, config={})
    parts = (version("batchforge"), spec, job.parts, job.template.skeleton.text, texts)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def is_settled(settled: Settled, job: CompiledJob, tree: SourceTree, last_attempt_id: int) -> bool:
    return (
        settled.last_attempt_id == last_attempt_id
        and settled.job == identity_of(job)
        and are_unchanged(settled.files, tree, input_paths(job.spec.input, tree))
    )
