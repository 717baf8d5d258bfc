"""The address of a document in an object store or behind a URL -> its local copy, which alone is read offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchforge.documents.file_facts import FileProblem
from batchforge.errors import BatchForgeError
from batchforge.snapshots.snapshot_inputs import check_age, files_identity, find_snapshot, without_query
from batchforge.snapshots.snapshot_records import SnapshotFolder, SnapshotPart
from batchforge.spec import ContentTree, FileSource, InputSpec, JobSpec


@dataclass(slots=True)
class DocumentCopies:
    """Of one job: those that its input's glob has found, and those that its rows name one by one."""

    input: InputSpec
    folder: SnapshotFolder
    variables: Mapping[str, Any]
    now: datetime
    _of_input: dict[str, SnapshotPart] | None = field(default=None, init=False)

    def __call__(self, address: str) -> str:
        """The copy's project-relative path.

        Raises:
            FileProblem: BF450 there is no such document. BatchForgeError: BF230 never fetched, BF234 too old.
        """
        found = self._found_by_input().get(address)
        if found is None:
            found = self._named(address)
        return f"{self.folder.relative_path}/{found.file}"

    def _found_by_input(self) -> dict[str, SnapshotPart]:
        if self._of_input is None:
            is_glob = self.input.is_remote and self.input.rows_are_files
            snapshot = find_snapshot(self.input, self.folder, self.variables) if is_glob else None
            self._of_input = {part.shown_as: part for part in snapshot.parts} if snapshot else {}
        return self._of_input

    def _named(self, address: str) -> SnapshotPart:
        snapshot = self.folder.find(files_identity(address))
        if snapshot is None:
            hint = "`batchforge fetch` takes a copy of it; everything offline reads that."
            message = f"the document '{without_query(address)}' was never fetched for this target"
            raise BatchForgeError("BF230", message, location=self.input.location, hint=hint)
        check_age(self.input, snapshot, self.now)
        if snapshot.problem:
            raise FileProblem("BF450", snapshot.problem)
        return snapshot.parts[0]


def file_sources(spec: JobSpec) -> list[FileSource]:
    """Every block of the job's prompt that is a file."""
    trees: list[ContentTree] = [*spec.system, *(block for message in spec.messages for block in message.content)]
    return [source for tree in trees for source in _sources_in(tree)]


def _sources_in(tree: ContentTree) -> Iterator[FileSource]:
    if isinstance(tree, FileSource):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _sources_in(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _sources_in(value)
