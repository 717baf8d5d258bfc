"""Rows of a job -> gone from state, outputs and left-over files; and in words, what cannot be reached from here."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from batchforge.clock import Clock, parse_iso
from batchforge.errors import BatchForgeError, StateLocked, UsageError
from batchforge.execution.packing import remove_left_over_bodies
from batchforge.inputs import read_input
from batchforge.lookup.emulated import emulated_memory, forget_emulated, may_be_forgotten
from batchforge.lookup.erased_files import Cells, ErasedRows, cells_of, count_rows, remove_rows, spellings
from batchforge.lookup.row_condition import NoSuchColumn, keys_where
from batchforge.outputs import alone_with_outputs, output_files, output_path
from batchforge.project import Project
from batchforge.snapshots.document_copies import file_sources
from batchforge.snapshots.snapshot_inputs import readable_input
from batchforge.snapshots.snapshot_records import SnapshotFolder
from batchforge.spec import JobSpec
from batchforge.state import erasure
from batchforge.state.erasure import Erasable, HeldBatch
from batchforge.state.records import Manifest
from batchforge.state.sql_state import SqlState
from batchforge.state.stores import shown_url
from batchforge.target import Target
from batchforge.targets import has_state, state_url
from batchforge.testing.output_tests import failure_files, failures_folder, step_files
from batchforge.whole_file import remove_leftovers, replace_file

RESULTS_KEPT = timedelta(days=29)
"""From a batch's creation on; then the API has removed requests and results by itself."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FileRows:
    path: str
    """Project-relative."""
    rows: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure removes, or would remove, and what it leaves."""

    job: str
    keys: tuple[str, ...]
    state: Erasable
    files: tuple[FileRows, ...]
    """Outputs with rows to remove."""
    removed_files: tuple[str, ...]
    """Artifacts that go as a whole: they can be made again."""
    held_batches: tuple[HeldBatch, ...]
    """Those that the API has not removed by now."""
    rows_in_input: int
    """Rows that still stand in the input: the next run would ask them again."""
    rows_without_values: int
    """Keys of earlier runs whose values are not known any more, so that a condition cannot tell about them."""
    emulator_files: tuple[str, ...]
    """The memory of the target's embedded emulator, which keeps what it was sent."""
    keeps_emulator: bool
    """Whether that has to stay for now: other requests are in flight."""
    other_states: tuple[str, ...]
    """Targets with a state of their own."""
    table: str
    """A database table that holds the output too; empty where there is none."""
    address: str
    """An object that holds the output too; empty where there is none."""
    unknown_targets: tuple[str, ...]
    """Targets of rows in state that the project does not have any more, so that their outputs are not known."""

    @property
    def has_anything(self) -> bool:
        return bool(self.state.rows or self.state.requests or self.files or self.removed_files)


class Eraser:
    """Rows of one job in one state, for all targets that share it."""

    def __init__(self, project: Project, spec: JobSpec, target: Target, state: SqlState, clock: Clock) -> None:
        self.project, self.spec, self.target, self.state, self.clock = project, spec, target, state, clock
        self.manifests = state.manifests(spec.name)

    # ---- which rows

    def keys_where(self, condition: str) -> set[str]:
        """Keys of rows in state for which the condition holds; where it names columns that state does not keep, by
        the input's rows.

        Raises:
            UsageError: BF942 the condition cannot be worked out.
        """
        found: set[str] = set()
        problem: NoSuchColumn | None = None
        for manifest in self.manifests:
            try:
                found |= keys_where(manifest.columns, self._rows(manifest), condition)
            except NoSuchColumn as exc:
                problem = exc
        if problem is not None:
            found |= self._keys_by_input(condition, problem)
        return found

    def _keys_by_input(self, condition: str, problem: NoSuchColumn) -> set[str]:
        known = {key for manifest in self.manifests for key, _ in self._rows(manifest)}
        try:
            columns: dict[str, None] = {}
            for row in self._input_rows():
                columns.update(dict.fromkeys(row.values))
            rows = ((row.key, row.values) for row in self._input_rows())
            return keys_where(list(columns), rows, condition) & known
        except (BatchForgeError, NoSuchColumn) as exc:
            kept = ", ".join(dict.fromkeys(column for m in self.manifests for column in m.columns))
            raise UsageError(
                "BF942",
                f"the condition `{condition}` cannot be worked out: {problem}",
                hint=f"State keeps these columns of {self.spec.name}: {kept or 'none'}. Or name rows with --key.",
            ) from exc

    def _rows(self, manifest: Manifest) -> Iterator[tuple[str, Row]]:
        for row in self.state.manifest_rows(manifest.manifest_id):
            yield row.key, msgspec.json.decode(row.values)

    def _input_rows(self) -> Iterator[Any]:
        rows = readable_input(self.spec.input, self.project, self.target, self.spec.vars)
        return read_input(rows, self.project.tree, self.spec.vars)

    # ---- what there is

    def survey(self, keys: Collection[str], *, by_condition: bool) -> Erasure:
        keys = {*keys, *self._votes_on(keys)}
        held = erasure.find_erasable(self.state, self.spec.name, keys)
        since = self.clock.now() - RESULTS_KEPT
        erased = self._erased_rows(keys, held)
        counted = [FileRows(self._shown(path), count_rows(path, erased)) for path in self._output_files()]
        compiled = self.project.compiled_path(self.spec.name)
        return Erasure(
            job=self.spec.name,
            keys=tuple(sorted(keys)),
            state=held,
            files=tuple(file for file in counted if file.rows),
            removed_files=tuple(map(self._shown, self._removable(compiled))) if keys else (),
            held_batches=tuple(
                batch for batch in held.batches if parse_iso(batch.created_at) > since and not self._goes(batch)
            ),
            rows_in_input=self._count_in_input(keys),
            rows_without_values=self._count_without_values() if by_condition else 0,
            emulator_files=tuple(map(self._shown, emulated_memory(self.project, self.target))),
            keeps_emulator=not may_be_forgotten(self.state),
            other_states=tuple(self._other_states()),
            table=self.spec.output.table or "",
            address=self.spec.output.address or "",
            unknown_targets=tuple(sorted({m.target for m in self.manifests} - self.project.targets.keys())),
        )

    def _votes_on(self, keys: Collection[str]) -> Iterator[str]:
        """The several answers that were put to the vote for these rows, which have keys of their own in state."""
        if self.spec.ladder is None or not self.spec.ladder.has_votes:
            return
        for (key,) in self.state.query("SELECT DISTINCT key FROM row_requests WHERE job = ?", (self.spec.name,)):
            if key.rpartition("#")[0] in keys:
                yield key

    def _erased_rows(self, keys: Collection[str], held: Erasable) -> ErasedRows:
        """What the rows are known by in files. Values count only where no row that stays has the same."""
        columns = tuple(dict.fromkeys(column for manifest in self.manifests for column in manifest.columns))
        gone: set[Cells] = set()
        for manifest in self.manifests:
            gone |= {cells_of(values, columns) for key, values in self._rows(manifest) if key in keys}
        for manifest in self.manifests if gone else ():
            for key, values in self._rows(manifest):
                if key not in keys:
                    gone.discard(cells_of(values, columns))
        spelled = frozenset(spelling for cells in gone for spelling in spellings(cells))
        return ErasedRows(self.spec.input, frozenset(keys), held.custom_ids, columns, spelled)

    def _targets(self) -> list[Target]:
        """Those of the project whose rows may be in this state."""
        names = {self.target.name, *(manifest.target for manifest in self.manifests)} & self.project.targets.keys()
        return [self.project.targets[name] for name in sorted(names)]

    def _output_files(self) -> list[Path]:
        paths = (output_path(self.spec, self.project, target) for target in self._targets())
        return [file for path in paths for file in output_files(path) if file.exists()]

    def _removable(self, compiled: Path) -> list[Path]:
        """What may hold the rows and can be made again."""
        found = [compiled] if compiled.exists() else []
        for each in self._targets():
            found += failure_files(self.project, each, self.spec.name)
            found += step_files(self.project, each, self.spec)
            if self.spec.input.needs_snapshots or file_sources(self.spec):
                found += SnapshotFolder(self.project, each).files()
        return found

    def _possible_files(self) -> Iterator[Path]:
        """What a process may have been writing when it was killed."""
        yield self.project.compiled_path(self.spec.name)
        for target in self._targets():
            yield from output_files(output_path(self.spec, self.project, target))
            folder = failures_folder(self.project, target)
            yield from (folder / f"{self.spec.name}.{test.name}.jsonl" for test in self.spec.tests)

    def _count_in_input(self, keys: Collection[str]) -> int:
        try:
            return sum(row.key in keys for row in self._input_rows())
        except BatchForgeError:
            return 0  # an input that cannot be read cannot be asked either

    def _count_without_values(self) -> int:
        counted = self.state.query(
            "SELECT count(DISTINCT key) FROM row_requests WHERE job = ? AND key NOT IN "
            "(SELECT key FROM manifest_rows JOIN manifests USING (manifest_id) WHERE job = ?)",
            (self.spec.name, self.spec.name),
        )
        return int(next(counted)[0])

    def _goes(self, batch: HeldBatch) -> bool:
        """Whether it is the embedded emulator that holds it, whose memory goes too."""
        is_emulated = self.target.type == "emulator" and batch.target == self.target.name
        return is_emulated and may_be_forgotten(self.state)

    def _other_states(self) -> Iterator[str]:
        for name, target in self.project.targets.items():
            try:
                is_other = (
                    has_state(self.project, target) and shown_url(state_url(self.project, target)) != self.state.url
                )
            except BatchForgeError:
                continue  # its address is not known here, so it has no state here
            if is_other:
                yield name

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.project.root).as_posix()

    # ---- doing it

    def erase(self, found: Erasure) -> None:
        """Files first: should that fail, state still knows which rows they are.

        Raises:
            UsageError: BF943 some of the rows are in flight. Nothing is removed.
            StateLocked: BF502 they are removed, but another process still holds the file's old pages.
        """
        if found.state.in_flight:
            raise UsageError(
                "BF943",
                f"{found.state.in_flight:,} of the requests are in flight",
                hint="`batchforge collect --wait` fetches them, or `batchforge cancel` ends them; then erase.",
            )
        with alone_with_outputs(self.spec, self.project, self._targets()):
            self._erase_in_files(found)
            erasure.erase(self.state, self.spec.name, found.keys)
        if not self.state.compact():
            raise StateLocked(
                "BF502",
                f"the rows are erased, but another process still reads older pages of {self.state.url}",
                hint="Run the same command again when it has ended: it clears the file's log.",
            )

    def _erase_in_files(self, found: Erasure) -> None:
        erased = self._erased_rows(found.keys, found.state)
        for path in self._output_files():
            remove_rows(path, erased)
        for path in self._removable(self.project.compiled_path(self.spec.name)):
            path.unlink(missing_ok=True)
        for path in self._possible_files():
            remove_leftovers(path)
        self._forget_in_run_results(found.keys)
        remove_left_over_bodies(self.project.state_folder / "spool")
        forget_emulated(self.project, self.target, self.state)

    def _forget_in_run_results(self, keys: Sequence[str]) -> None:
        path = self.project.run_results_path
        if path.exists():
            summary = msgspec.json.decode(path.read_bytes())
            if erasure.forget_keys(summary, self.spec.name, keys):
                replace_file(path, json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n")
