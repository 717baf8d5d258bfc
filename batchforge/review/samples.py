"""samples/<job>.jsonl: a few rows of a job, committed, with what was known of all; for where there is no data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchforge.errors import Location, ProjectError
from batchforge.results import Learnt
from batchforge.row_shapes import InputRow
from batchforge.source_tree import SourceTree

SAMPLES_FOLDER = "samples"
_FORM = 1
_CONFLICT = ("<<<<<<< ", "=======", ">>>>>>> ", "||||||| ")


@dataclass(frozen=True, slots=True)
class SampleSet:
    """What the file of a job says."""

    path: str
    rows_in_all: int
    """When it was written."""
    learnt: Learnt
    """From the job's results, when it was written."""
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    """(key, values)"""

    def read(self) -> Iterator[InputRow]:
        for position, (key, values) in enumerate(self.rows):
            yield InputRow(position, key, dict(values), f"{self.path}:{position + 2}")

    @property
    def scale(self) -> float:
        """How many rows each sample row stands for."""
        return self.rows_in_all / len(self.rows) if self.rows else 0.0

    def to_text(self, job: str) -> str:
        results = _about(self.learnt.results)
        facts = {"samples_of": job, "form": _FORM, "rows_in_all": self.rows_in_all, "results": results}
        if results:
            facts |= {"input_ratio": round(self.learnt.input_ratio, 2), "output_tokens": self._output_tokens()}
        lines: list[Mapping[str, Any]] = [facts, *({"key": key, "row": values} for key, values in self.rows)]
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

    def _output_tokens(self) -> int | None:
        return None if self.learnt.output_tokens is None else round(self.learnt.output_tokens)


def _about(count: int) -> int:
    """Two digits of it, so that the file does not change with every run.

    >>> _about(4_970), _about(37)
    (5000, 37)
    """
    unit: int = 10 ** max(len(str(count)) - 2, 0)
    return round(count / unit) * unit


def settled(text: str) -> str:
    """A file with a merge conflict -> one without: the rows of both sides, and the facts learnt from more results."""
    lines = [line for line in text.splitlines() if line and not line.startswith(_CONFLICT)]
    facts = [line for line in lines if '"samples_of"' in line]
    rows = {_key_of(line): line for line in lines if '"samples_of"' not in line}
    return "".join(f"{line}\n" for line in [max(facts, key=_results_of), *rows.values()]) if facts else text


def _key_of(line: str) -> str:
    try:
        return str(json.loads(line)["key"])
    except (ValueError, KeyError, TypeError):
        return line


def _results_of(line: str) -> int:
    try:
        return int(json.loads(line)["results"])
    except (ValueError, KeyError, TypeError):
        return -1


def samples_path(job: str) -> str:
    return f"{SAMPLES_FOLDER}/{job}.jsonl"


def read_samples(tree: SourceTree, job: str) -> SampleSet | None:
    """None where there are none.

    Raises:
        ProjectError: BF310 the file is not what `prompts write` writes.
    """
    path = samples_path(job)
    if not tree.exists(path):
        return None
    lines = tree.read_text(path).splitlines()
    facts = _line(path, 1, lines[0] if lines else "", "samples_of")
    rows = [_line(path, number, line, "row") for number, line in enumerate(lines[1:], 2)]
    learnt = Learnt(
        results=int(facts.get("results", 0)),
        input_ratio=float(facts.get("input_ratio", 1.0)),
        output_tokens=facts.get("output_tokens"),
    )
    return SampleSet(path, int(facts["rows_in_all"]), learnt, [(str(row["key"]), row["row"]) for row in rows])


def _line(path: str, number: int, text: str, needed: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    required = {needed, "rows_in_all"} if needed == "samples_of" else {needed, "key"}
    if not isinstance(value, dict) or not required <= value.keys():
        hint = "Write it again: `batchforge prompts write`. A merge conflict is settled by that too."
        raise ProjectError("BF310", "This is no line of sample rows.", location=Location(path, number), hint=hint)
    return value
