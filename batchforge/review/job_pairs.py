"""Jobs of two sides -> which of them are one job, also where its name was changed."""

from __future__ import annotations

from collections.abc import Mapping

from batchforge.requests.compiler import PartHashes
from batchforge.spec import JobSpec

_ALIKE = 4
"""So many points make it one job: what hardly two jobs have in common counts two, what many have counts one."""


def renamed(
    gone: Mapping[str, tuple[JobSpec, PartHashes]], added: Mapping[str, tuple[JobSpec, PartHashes]]
) -> dict[str, str]:
    """Name now -> name before, of jobs that are much the same under another name; the most alike first."""
    scores = sorted(
        (
            (-_likeness(old, new), new_name, old_name)
            for old_name, old in gone.items()
            for new_name, new in added.items()
        ),
    )
    found: dict[str, str] = {}
    for score, new_name, old_name in scores:
        if -score >= _ALIKE and new_name not in found and old_name not in found.values():
            found[new_name] = old_name
    return found


def _likeness(old: tuple[JobSpec, PartHashes], new: tuple[JobSpec, PartHashes]) -> int:
    (one, old_parts), (other, new_parts) = old, new
    has_same = {
        2: (
            one.system and old_parts.system == new_parts.system,
            one.output.schema and old_parts.schema == new_parts.schema,
            one.description and one.description == other.description,
            one.output.file and one.output.file == other.output.file,
        ),
        1: (
            old_parts.messages == new_parts.messages,
            (one.input.files or one.input.text_files) == (other.input.files or other.input.text_files),
        ),
    }
    return sum(points for points, signs in has_same.items() for sign in signs if sign)
