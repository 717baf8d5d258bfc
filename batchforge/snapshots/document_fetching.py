"""The rows of a job whose prompt shows documents -> copies of those that lie elsewhere, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchforge.clock import Clock, iso
from batchforge.documents.file_template import ROWS_OWN_FILE
from batchforge.errors import BatchForgeError
from batchforge.requests.templating import PromptTemplate, make_environment
from batchforge.row_shapes import InputRow
from batchforge.snapshots.document_copies import file_sources
from batchforge.snapshots.file_fetching import fetch_files
from batchforge.snapshots.remote_file import NotThere
from batchforge.snapshots.snapshot_inputs import files_identity, without_query
from batchforge.snapshots.snapshot_records import FORM, Snapshot, SnapshotFolder
from batchforge.spec import InputSpec, JobSpec, is_url
from batchforge.spill import SpillCounter
from batchforge.streams import in_chunks

if TYPE_CHECKING:
    from obstore.store import ObjectStore

AT_ONCE = 8
"""How many documents are read at the same time."""
_AHEAD = 64
_ROWS_OWN_ERRORS = {"BF126", "BF241"}
"""Of an address that is not allowed, or is none: only the row that names it is not asked."""


@dataclass(slots=True)
class FetchedDocuments:
    """What the documents of a job's rows came to."""

    job: str
    asked: int = 0
    changed: int = 0
    missing: int = 0
    size_bytes: int = 0
    """Of those that were asked for."""

    @property
    def what(self) -> str:
        return f"the documents of {self.job}"

    @property
    def is_changed(self) -> bool:
        return bool(self.changed)

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "files": self.asked,
            "size_bytes": self.size_bytes,
            "changed": self.is_changed,
            "missing": self.missing,
            "asked": True,
        }

    def words(self) -> str:
        """For people."""
        missing = f", {self.missing:,} not there" if self.missing else ""
        return f"{self.what}: {self.asked:,} asked for, {self.changed:,} of them new or changed{missing}"


@dataclass(slots=True)
class DocumentFetcher:
    """One for all jobs of a `fetch`."""

    folder: SnapshotFolder
    clock: Clock
    spare_young: bool
    _seen: SpillCounter = field(default_factory=SpillCounter)
    _stores: dict[str, ObjectStore] = field(default_factory=dict)

    def fetch(self, spec: JobSpec, rows: Iterable[InputRow]) -> FetchedDocuments:
        """Those that do not lie in the project, and have not been fetched with the input.

        Raises:
            BatchForgeError: BF240 a store or server cannot be reached, or breaks off. Those that came are kept.
        """
        found = FetchedDocuments(spec.name)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for some in in_chunks(self._new_addresses(spec, rows), _AHEAD):
                self.folder.path.mkdir(parents=True, exist_ok=True)
                for before, after in pool.map(lambda address: self._fetched(spec.input, address), some):
                    found.asked += 1
                    found.changed += before is None or before.sha256 != after.sha256
                    found.missing += bool(after.problem)
                    found.size_bytes += after.size_bytes
        return found

    def _new_addresses(self, spec: JobSpec, rows: Iterable[InputRow]) -> Iterator[str]:
        for address in _addresses(spec, self.folder, rows):
            if is_url(address) and not self._is_young(spec.input, address) and not self._seen.add(address.encode()):
                yield address

    def _is_young(self, spec: InputSpec, address: str) -> bool:
        if not self.spare_young or spec.max_age_s is None:
            return False
        identity = files_identity(address)
        before = self.folder.find(identity)
        # What was not there is asked for again: somebody may have put it there.
        is_young = before is not None and not before.problem and before.age_s(self.clock.now()) <= spec.max_age_s
        if is_young:
            self.folder.still_wanted(identity)
        return is_young

    def _fetched(self, spec: InputSpec, address: str) -> tuple[Snapshot | None, Snapshot]:
        identity = files_identity(address)
        before = self.folder.find(identity)
        one = InputSpec(files=address, location=spec.location)
        try:
            after = fetch_files(one, self.folder, before, self.clock.now(), stores=self._stores, is_literal=True)
        except BatchForgeError as exc:
            if not (isinstance(exc, NotThere) or exc.problems[0].code in _ROWS_OWN_ERRORS):
                raise
            shown, now = without_query(address), iso(self.clock.now())
            after = Snapshot(FORM, shown, None, now, "", [], problem=exc.problems[0].message)
        self.folder.save(identity, after)
        return before, after


def _addresses(spec: JobSpec, folder: SnapshotFolder, rows: Iterable[InputRow]) -> Iterator[str]:
    """As the rows name them; those of a row that cannot be rendered are told when it is compiled."""
    tree = folder.project.tree
    environment = make_environment(tree)
    variables: dict[str, Any] = {"vars": dict(spec.vars), "lists": {}}
    templates = [
        PromptTemplate(source.path, environment, tree)
        for source in file_sources(spec)
        if not (spec.input.rows_are_files and source.path.text in (ROWS_OWN_FILE, "{{ row.file }}"))
    ]
    shared = [template for template in templates if not template.is_per_row]
    yield from _rendered(shared, variables, "")
    of_rows = [template for template in templates if template.is_per_row]
    for row in rows if of_rows else ():
        yield from _rendered(of_rows, {**variables, "row": row.values, "rows": row.rows}, row.place)


def _rendered(templates: Sequence[PromptTemplate], variables: Mapping[str, Any], place: str) -> Iterator[str]:
    for template in templates:
        try:
            yield template.render(variables, place)
        except BatchForgeError:
            continue
