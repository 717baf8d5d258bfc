"""The columns that a job's rows will have, as far as that can be told before another job has made them.

A misspelt column of a prompt is then an error before anything is sent, not after the first jobs were paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from batchforge.answers import reader_of
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.escalation.steps import ladder_columns
from batchforge.inputs import read_input
from batchforge.nearest import did_you_mean
from batchforge.requests.compiler import ANSWER, CompiledJob
from batchforge.requests.templating import PromptTemplate
from batchforge.row_shapes import COUNT, KEYS, PARENT, PART
from batchforge.source_tree import SourceTree
from batchforge.spec import InputSpec, JobSpec

Jobs = Mapping[str, JobSpec]


def check_columns(job: CompiledJob, jobs: Jobs, tree: SourceTree, problems: ProblemList) -> None:
    """Of a job whose rows another job has yet to make; where they cannot be told, nothing is said."""
    known = columns_of_rows(job.spec.input, jobs, tree)
    if known is None:
        return
    for template in job.row_templates:
        for column, location in template.columns_used() if isinstance(template, PromptTemplate) else ():
            if column not in known:
                hint = did_you_mean(column, known) or f"The columns are {', '.join(known)}."
                message = f"the template uses 'row.{column}', which no row of {job.spec.name} will have"
                problems.add("BF301", message, location=location, hint=hint)


def columns_of_rows(spec: InputSpec, jobs: Jobs, tree: SourceTree) -> tuple[str, ...] | None:
    """In the order in which rows have them; None where it takes the rows to tell."""
    columns = _columns_of_source(spec, jobs, tree)
    if columns is None or spec.each is not None:
        return None
    for join in spec.joins:
        others = columns_of_rows(join.input, jobs, tree)
        if others is None:
            return None
        on = join.others_on or join.on
        columns = (*columns, *(f"{join.prefix}{column}" for column in others if column not in on))
    if spec.distinct:
        return (*spec.distinct, COUNT)
    if spec.chunk is not None:
        return (KEYS,)
    if spec.group_by is not None:
        return (*spec.group_by.columns, KEYS, *([PART] if spec.group_by.split else []))
    return columns


def _columns_of_source(spec: InputSpec, jobs: Jobs, tree: SourceTree) -> tuple[str, ...] | None:
    if spec.ref is None:
        try:
            return next((tuple(row.values) for row in read_input(_plain(spec), tree)), None)
        except BatchForgeError:
            return None  # told where the rows are read
    upstream = jobs[spec.ref]
    given = upstream.output.columns
    if given is None:
        given = columns_of_rows(upstream.input, jobs, tree)
        if given is not None and upstream.answers > 1 and upstream.ladder is None:
            given = (*given, PARENT, ANSWER)
    if given is not None:
        given = tuple(dict.fromkeys([*given, *ladder_columns(upstream)]))
    return None if given is None else (*given, *reader_of(upstream).columns)


def _plain(spec: InputSpec) -> InputSpec:
    """Only the rows themselves: one is enough, whatever its key and whether it is taken."""
    return replace(
        spec, joins=(), each=None, distinct=(), chunk=None, group_by=None, where=None, limit=1, sample=None, key=()
    )
