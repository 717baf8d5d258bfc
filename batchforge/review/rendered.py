"""Two compiled jobs and a few of their rows -> the rendered prompt, before and after, and which parts of it differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from batchforge.documents.file_piece import file_words
from batchforge.planning.plan_rows import PlannedRow
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.fingerprint import canonical_params
from batchforge.requests.readable_request import readable_lines
from batchforge.requests.request import RequestTemplate
from batchforge.review.diff_values import PromptDiff, RowDiff
from batchforge.review.row_changes import RowChanges, RowPair
from batchforge.review.text_diff import DiffLine, added_lines, diff_lines
from batchforge.terminal.text_layout import size_words

STAND_IN = "⟨differs by row⟩"
_NAMED = frozenset({"model", "system", "messages", "tools", "tool_choice", "output_config"})


def differing_parts(old: CompiledJob, new: CompiledJob, changes: RowChanges | None) -> set[str]:
    """Parts of requests that differ in some row: model, system, messages, tools, params, schema, input.

    Without rows, whatever the templates' texts may change counts.
    """
    is_alike = _is_alike(old.template, new.template)
    found = _shared_parts(old, new, with_texts=is_alike)
    if changes is None:
        return found | _edited_texts(old, new)
    if not changes.changed:
        return {"input"} if changes.new or changes.gone else set()
    if is_alike:
        found |= {"messages"} if changes.message_texts_differ else set()
        found |= {"system"} if changes.system_texts_differ else set()
    else:
        found |= _sampled_parts(old, new, changes.samples)
    if changes.new or changes.gone or changes.values_differ:
        found.add("input")
    return found


def render_diff(old: CompiledJob | None, new: CompiledJob | None, samples: Sequence[RowPair], shown: int) -> PromptDiff:
    """What all rows share, once, and the own texts of some rows."""
    before, after = (shared_lines(job) if job else [] for job in (old, new))
    rows = [diff for pair in samples if (diff := _row_diff(old, new, pair)) is not None]
    return PromptDiff(diff_lines(before, after) if old else added_lines(after), tuple(rows[:shown]))


def _is_alike(old: RequestTemplate, new: RequestTemplate) -> bool:
    return old.hole_parts == new.hole_parts


def _shared_parts(old: CompiledJob, new: CompiledJob, *, with_texts: bool) -> set[str]:
    names = _NAMED if with_texts else _NAMED - {"system", "messages"}
    before, after = _by_part(old), _by_part(new)
    return {part for part in before if before[part] != after[part] and (part in names or part in ("params", "schema"))}


def _by_part(job: CompiledJob) -> dict[str, Any]:
    params = canonical_params(msgspec.json.decode(_stand_in_body(job)), job.spec.betas)
    return _parts_of(params)


def _parts_of(params: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(params.get("output_config", {}))
    schema = config.pop("format", None)
    rest = {name: value for name, value in params.items() if name not in _NAMED}
    return {
        "model": params["model"],
        "system": params.get("system"),
        "messages": params["messages"],
        "tools": [params.get("tools"), params.get("tool_choice")],
        # Keys of a schema are compared in their order, which the model reads.
        "schema": msgspec.json.encode(schema),
        "params": [rest, config],
    }


def _edited_texts(old: CompiledJob, new: CompiledJob) -> set[str]:
    found = set()
    for part in ("messages", "system"):
        before, after = (
            [
                template.texts
                for template, at in zip(job.row_templates, job.template.hole_parts, strict=True)
                if at == part
            ]
            for job in (old, new)
        )
        if before != after:
            found.add(part)
    return found


def _sampled_parts(old: CompiledJob, new: CompiledJob, samples: Sequence[RowPair]) -> set[str]:
    found: set[str] = set()
    for pair in samples:
        if pair.old and pair.new:
            before, after = _parts_of(_params(old, pair.old)), _parts_of(_params(new, pair.new))
            found |= {part for part in before if before[part] != after[part]}
    return found


def _params(job: CompiledJob, row: PlannedRow) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(job.template.skeleton.fill(row.pieces or ()))
    return canonical_params(body, job.spec.betas)


# ---- texts


def shared_lines(job: CompiledJob) -> list[str]:
    """A request with a sign in place of each text that differs by row."""
    return readable_lines(msgspec.json.decode(_stand_in_body(job)))


def _stand_in_body(job: CompiledJob) -> bytes:
    stand_in = msgspec.json.encode(STAND_IN)
    return job.template.skeleton.fill(job.template.stand_ins(stand_in))


def _row_diff(old: CompiledJob | None, new: CompiledJob | None, pair: RowPair) -> RowDiff | None:
    row = pair.new or pair.old
    assert row is not None
    is_alike = old is None or new is None or _is_alike(old.template, new.template)
    before = _row_lines(old, pair.old, own_texts=is_alike)
    after = _row_lines(new, pair.new, own_texts=is_alike)
    lines: Sequence[DiffLine] = diff_lines(before, after) if pair.old else added_lines(after)
    kind = "changed" if pair.old and pair.new else "new" if pair.new else "removed"
    size = sum(map(len, row.pieces or ()))
    return RowDiff(pair.key, row.row.place, f"{kind}, {size_words(size)}", lines) if lines else None


def _row_lines(job: CompiledJob | None, row: PlannedRow | None, *, own_texts: bool) -> list[str]:
    if job is None or row is None:
        return []
    if not own_texts:
        return readable_lines(msgspec.json.decode(job.template.skeleton.fill(row.pieces or ())))
    return list(own_lines(job, row.pieces or ()))


def own_lines(job: CompiledJob, pieces: Sequence[bytes]) -> Iterator[str]:
    """The texts and files that differ by row."""
    for number, (piece, part) in enumerate(zip(pieces, job.template.hole_parts, strict=True)):
        yield "[system]" if part == "system" else "[message]"
        is_file = number in job.template.file_holes
        yield from [file_words(piece)] if is_file else str(msgspec.json.decode(piece)).split("\n")
