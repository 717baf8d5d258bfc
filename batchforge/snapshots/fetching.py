"""Jobs -> the snapshots of what they read elsewhere, fetched where they are not fresh. Nobody else goes there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from batchforge.clock import Clock, SystemClock
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.events import Event, EventName, Listener, ignore
from batchforge.project import Project
from batchforge.row_shapes import InputRow
from batchforge.snapshots.document_copies import file_sources
from batchforge.snapshots.document_fetching import DocumentFetcher, FetchedDocuments
from batchforge.snapshots.query_fetching import fetch_query
from batchforge.snapshots.snapshot_inputs import (
    AskedQuery,
    asked_query,
    files_identity,
    inputs_to_fetch,
    snapshot_words,
    with_snapshots,
)
from batchforge.snapshots.snapshot_records import Snapshot, SnapshotFolder
from batchforge.spec import InputSpec, JobSpec, SourceSpec
from batchforge.target import Target

RowsOf = Callable[[JobSpec], Iterable[InputRow]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one question came to."""

    what: str
    snapshot: Snapshot
    is_changed: bool
    """Whether the rows are others than before."""
    is_asked: bool = True
    """False where a snapshot was young enough."""

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "sha256": self.snapshot.sha256,
            "rows": self.snapshot.rows,
            "files": len(self.snapshot.parts),
            "size_bytes": self.snapshot.size_bytes,
            "fetched_at": self.snapshot.fetched_at,
            "changed": self.is_changed,
            "asked": self.is_asked,
        }


def fetch(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    *,
    spare_young: bool = False,
    rows_of: RowsOf | None = None,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> list[Fetched | FetchedDocuments]:
    """Take snapshots of all that the jobs read from databases and object stores, each question once.

    `spare_young`: a snapshot that `max_age` allows is not taken again. `rows_of`: the rows whose documents are wanted.

    Raises:
        ProjectError: with all that went wrong; what could be fetched is there, and old snapshots stay as they were.
    """
    fetcher = _Fetcher(SnapshotFolder(project, target), clock or SystemClock(), listen, spare_young)
    documents = DocumentFetcher(fetcher.folder, fetcher.clock, spare_young)
    problems = ProblemList()
    for job in jobs:
        for spec in inputs_to_fetch(job.input):
            try:
                fetcher.fetch(spec, job.vars)
            except BatchForgeError as exc:
                problems.extend(exc)
    problems.raise_if_any()
    of_rows = [] if rows_of is None else [documents.fetch(job, rows_of(job)) for job in jobs if needs_documents(job)]
    came = [found for found in of_rows if found.asked]
    for found in came:
        listen(Event(EventName.FETCHED, found.job, found.words(), found.to_json()))
    if fetcher.done or came:
        fetcher.folder.prune()
    return [*fetcher.done.values(), *came]


def needs_documents(job: JobSpec) -> bool:
    """Whether its rows may name documents that lie elsewhere. Those of other jobs' answers are not known before."""
    return bool(file_sources(job)) and not job.input.refs


@dataclass(slots=True)
class _Fetcher:
    folder: SnapshotFolder
    clock: Clock
    listen: Listener
    spare_young: bool
    done: dict[str, Fetched] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    """Identities of questions that wait for others."""

    def fetch(self, spec: InputSpec, variables: Mapping[str, Any]) -> None:
        if spec.sql is not None:
            asked = asked_query(spec, self.folder.project, self.folder.target, variables)
            self._fetch_once(asked.identity, asked.query.shown_as, spec, asked, variables)
        elif spec.files is not None:
            self._fetch_once(files_identity(spec.files), spec.files, spec, None, variables)

    def _fetch_once(
        self, identity: str, what: str, spec: InputSpec, asked: AskedQuery | None, variables: Mapping[str, Any]
    ) -> None:
        if identity in self.done and self.done[identity].is_asked:
            return
        before = self.folder.find(identity)
        if before is not None and self._is_young(before, spec):  # for this input; another may want a younger one
            self.folder.still_wanted(identity)
            self.done[identity] = Fetched(what, before, is_changed=False, is_asked=False)
            return
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with self._guarded(identity, what, spec):
            snapshot = self._taken(spec, asked, before, variables)
        self.folder.save(identity, snapshot)
        is_changed = before is None or before.sha256 != snapshot.sha256
        self.done[identity] = Fetched(what, snapshot, is_changed)
        message = f"{snapshot_words(snapshot, self.clock.now())}{'' if is_changed else ', unchanged'}"
        self.listen(Event(EventName.FETCHED, message=message, data=self.done[identity].to_json()))

    def _taken(
        self, spec: InputSpec, asked: AskedQuery | None, before: Snapshot | None, variables: Mapping[str, Any]
    ) -> Snapshot:
        now = self.clock.now()
        if asked is not None:
            return fetch_query(asked, self.folder, lambda source: self._resolved(source, variables), now)
        from batchforge.snapshots.file_fetching import fetch_files

        return fetch_files(spec, self.folder, before, now)

    def _resolved(self, source: SourceSpec, variables: Mapping[str, Any]) -> InputSpec:
        """A source that lives elsewhere is fetched before the query that reads it."""
        spec = source.input
        if spec.rows is not None or spec.text_files is not None:
            hint = "A query reads sources that are files, URLs or queries."
            message = f"the source `{source.name}` cannot be read by a query"
            raise BatchForgeError("BF239", message, location=source.location, hint=hint)
        for part in inputs_to_fetch(spec):
            self.fetch(part, variables)
        project, target = self.folder.project, self.folder.target
        return with_snapshots(replace(spec, max_age_s=None), project, target, variables, self.clock.now())

    def _is_young(self, snapshot: Snapshot, spec: InputSpec) -> bool:
        age_s = snapshot.age_s(self.clock.now())
        return self.spare_young and spec.max_age_s is not None and age_s <= spec.max_age_s

    @contextmanager
    def _guarded(self, identity: str, what: str, spec: InputSpec) -> Iterator[None]:
        if identity in self.under_way:
            hint = "A source's query cannot read the source itself."
            raise BatchForgeError("BF239", f"{what} reads what reads it", location=spec.location, hint=hint)
        self.under_way.append(identity)
        try:
            yield
        finally:
            self.under_way.pop()
