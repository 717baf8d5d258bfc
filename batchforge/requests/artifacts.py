"""Compiled jobs -> target/manifest.json and target/compiled/<job>.jsonl: the same bytes for the same project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from batchforge.claude_models import find_model
from batchforge.errors import ProblemList
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.context_window import ContextCheck
from batchforge.requests.fingerprint import custom_id
from batchforge.requests.manifest import manifest_of
from batchforge.requests.request import BlockedRow, MessageRequest
from batchforge.spec import JobSpec
from batchforge.target import Target
from batchforge.token_estimate import estimate_params_tokens
from batchforge.whole_file import replace_file, whole_file


def write_artifacts(
    project: Project,
    jobs: Mapping[str, JobSpec],
    target: Target,
    compiled: Sequence[CompiledJob],
    problems: ProblemList,
) -> dict[str, Any]:
    """Write every request as it would be sent, files named, and the manifest over all jobs; returns the manifest.

    What comes near to the model's context window goes into `problems`, as warnings.
    """
    entries = {job.spec.name: _write_requests(job, project.compiled_path(job.spec.name), problems) for job in compiled}
    return write_manifest(project, jobs, target, entries)


def write_manifest(
    project: Project,
    jobs: Mapping[str, JobSpec],
    target: Target,
    compiled: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """The manifest over all jobs, with what is known of the requests of some."""
    manifest = manifest_of(project, jobs, compiled, target.name)
    replace_file(project.manifest_path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return manifest


def request_lines(job: CompiledJob) -> Iterator[tuple[MessageRequest | BlockedRow, bytes]]:
    """Each row and its request as a line of JSON, {"custom_id": ..., "params": ...}; a blocked row has none. Files are
    named by their content, not contained."""
    write_params = job.template.body_writer({}, list)
    for row in job.requests():
        if isinstance(row, BlockedRow):
            yield row, b""
        else:
            name = custom_id(row.request_id).encode()
            yield row, b'{"custom_id":"%b","params":%b}\n' % (name, write_params(row.pieces))


def _write_requests(job: CompiledJob, path: Path, problems: ProblemList) -> Mapping[str, Any]:
    digest = hashlib.sha256()
    requests = size = 0
    blocked: list[BlockedRow] = []
    check, largest = ContextCheck(job.spec), _Largest()
    with whole_file(path) as partial, partial.open("wb") as file:
        for row, line in request_lines(job):
            if isinstance(row, BlockedRow):
                blocked.append(row)
                continue
            file.write(line)
            digest.update(line)
            requests += 1
            size += len(line)
            check.take(row.key, row.place, len(line))
            largest.take(row, len(line))
    problems.items += check.warnings(largest.tokens(job))
    return _entry(job, requests, size, digest.hexdigest(), blocked)


@dataclass(slots=True)
class _Largest:
    """The request with the longest body."""

    row: MessageRequest | None = None
    size_bytes: int = 0

    def take(self, row: MessageRequest, size_bytes: int) -> None:
        if size_bytes > self.size_bytes:
            self.row, self.size_bytes = row, size_bytes

    def tokens(self, job: CompiledJob) -> float:
        return estimate_params_tokens(job.params_of(self.row), find_model(job.spec.model)) if self.row else 0.0


def _entry(job: CompiledJob, requests: int, size: int, digest: str, blocked: Sequence[BlockedRow]) -> Mapping[str, Any]:
    return {
        "parts": asdict(job.parts),
        "rows": requests + len(blocked),
        "requests": requests,
        "request_bytes": size,
        "requests_sha256": digest,
        "blocked_rows": [
            {"key": row.key, "place": row.place, "code": row.code, "reason": row.reason} for row in blocked
        ],
    }
