"""An erasure -> lines for people: what goes, what stays, and what nobody can reach from here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from batchforge.execution.remote_deletion import Deleted
from batchforge.lookup.erasing import RESULTS_KEPT, Erasure
from batchforge.terminal.report import counted
from batchforge.terminal.terminal_text import printable

_SHOWN = 5


def erasure_lines(found: Erasure, *, is_done: bool, deleted: Deleted | None = None) -> Iterator[str]:
    held = found.state
    verb = "Erased" if is_done else "Would erase"
    yield (
        f"{verb} of {found.job}: {counted(held.rows, 'row')}, {counted(held.requests, 'request')}, "
        f"{counted(held.answers, 'answer')} ({held.billed_answers:,} of them paid)"
    )
    for file in found.files:
        yield f"  {file.path}: {counted(file.rows, 'row')}"
    for path in found.removed_files:
        again = "fetch" if "/snapshots/" in path else "compile"
        yield f"  {path}: the whole file, `batchforge {again}` makes it again"
    if found.has_anything and not found.keeps_emulator:
        for path in found.emulator_files:
            yield f"  {path}: as a whole, what the emulator keeps of what it was sent"
    if held.in_flight:
        yield f"{counted(held.in_flight, 'request')} in flight: collect or cancel them first."
    if deleted:
        yield from _deleted_lines(deleted)
    yield from _left(found, {*deleted.batch_ids, *deleted.file_ids} if deleted else set())
    if not is_done and found.has_anything:
        yield ""
        yield "Nothing was changed. --yes erases it."


def _deleted_lines(deleted: Deleted) -> Iterator[str]:
    files = f", {counted(len(deleted.file_ids), 'uploaded file')}" if deleted.file_ids else ""
    yield f"Deleted at the API: {counted(len(deleted.batch_ids), 'batch')}{files}"
    for batch_id, reason in deleted.failures.items():
        yield f"{batch_id} could not be deleted at the API: {printable(reason)}"


def _left(found: Erasure, deleted: Collection[str]) -> Iterator[str]:
    """What stays although it should not, and what to do about it."""
    lines = [*_left_here(found), *_left_elsewhere(found, deleted)]
    if lines:
        yield ""
        yield "Not reached:"
        yield from (f"- {printable(line)}" for line in lines)


def _left_here(found: Erasure) -> Iterator[str]:
    held = found.state
    if held.shared_requests:
        rows = ", ".join(f"{row.job}: {row.key}" for row in held.shared_with)
        yield (
            f"{counted(held.shared_requests, 'request')} and what was answered: rows that stay have equal ones "
            f"({rows}). Erase those too."
        )
    if found.rows_in_input:
        yield f"{counted(found.rows_in_input, 'row')} of the input: take them out, or the next run asks and pays again."
    if found.rows_without_values:
        yield (
            f"{counted(found.rows_without_values, 'row')} of earlier runs, whose columns are not known any more, so "
            "that the condition cannot tell. `--key` erases them by key, `state prune` those that serve no row."
        )
    if found.other_states:
        names = ", ".join(f"--target {name}" for name in found.other_states)
        yield f"The states of other targets: run this again with {names}."
    if found.unknown_targets:
        yield f"Outputs of targets that are not in the project any more: {', '.join(found.unknown_targets)}."


def _left_elsewhere(found: Erasure, deleted: Collection[str]) -> Iterator[str]:
    held = [batch.batch_id for batch in found.held_batches if batch.batch_id not in deleted]
    if held:
        some = ", ".join(held[:_SHOWN])
        more = f" and {len(held) - _SHOWN:,} more" if len(held) > _SHOWN else ""
        yield (
            f"The API keeps the requests and results of {counted(len(held), 'batch')} for "
            f"{RESULTS_KEPT.days} days ({some}{more}). --delete-remote deletes them there now; all of their results "
            "are stored here."
        )
    files = [file_id for file_id in found.state.uploaded_files if file_id not in deleted]
    if files:
        yield f"The API keeps {counted(len(files), 'uploaded file')} of theirs. --delete-remote deletes them there now."
    if found.has_anything and found.keeps_emulator:
        for path in found.emulator_files:
            yield f"{path}: the emulator's own memory. When nothing is in flight, run this again."
        if found.table:
            yield f"The table {found.table}: delete the rows there."
        if found.address:
            yield f"{found.address}, and what lies beside it: remove them, and the next run writes it without the rows."
        yield "Backups, logs, saved plans, and copies that others have made of outputs."
