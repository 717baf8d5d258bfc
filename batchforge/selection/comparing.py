"""Two states of a project -> what is new, modified in which parts, and gone."""

from __future__ import annotations

from collections.abc import Iterator

from batchforge.selection.job_facts import JobFacts, ProjectFacts
from batchforge.selection.methods import Changes
from batchforge.selection.nodes import job_id


def compare(before: ProjectFacts, now: ProjectFacts) -> Changes:
    """Files of rows that only one side knows (git has no large data) are not compared."""
    parts: dict[str, frozenset[str]] = {}
    for name, job in now.jobs.items():
        if name in before.jobs and (changed := frozenset(_changed(before.jobs[name], before, job, now))):
            parts[job_id(name)] = changed
    for node, digest in now.declared.items():
        if before.declared.get(node, digest) != digest:
            parts[node] = frozenset(("declared",))
    return Changes(
        parts,
        new=frozenset((now.jobs.keys() - before.jobs.keys()) | (now.declared.keys() - before.declared.keys())),
        removed=tuple(sorted((before.jobs.keys() - now.jobs.keys()) | (before.declared.keys() - now.declared.keys()))),
    )


def _changed(old: JobFacts, before: ProjectFacts, new: JobFacts, now: ProjectFacts) -> Iterator[str]:
    yield from (part for part, digest in new.parts.items() if old.parts.get(part, digest) != digest)
    for path in {*old.data, *new.data}:
        one, other = before.files.get(path), now.files.get(path)
        if one is not None and other is not None and one != other:
            yield "input"
