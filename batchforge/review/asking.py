"""Some rows of both sides of jobs -> answers in state: all of them asked at once, within one budget, with one yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from batchforge.events import Listener
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import MessageRequest
from batchforge.running.run_options import RunOptions
from batchforge.running.runner import Runner
from batchforge.running.session import open_session
from batchforge.running.upstream import Upstream
from batchforge.state.records import RequestRecord, StateReader
from batchforge.target import Mode, Target

_AGAIN = (1, 1)
"""The second answer to the same request."""


@dataclass(frozen=True, slots=True)
class AskedJob:
    """A job's two sides and which of its rows are asked."""

    old: CompiledJob
    new: CompiledJob
    keys: Sequence[str]

    def side(self, which: CompiledJob, suffix: str, mode: Mode, keys: Iterable[str]) -> CompiledJob:
        """Requests of a side are counted apart from the job's own; answers are shared by what was asked."""
        name = f"{which.spec.name}@{suffix}"
        return which.narrowed(replace(which.spec, name=name, mode=mode, canary=0, tests=()), frozenset(keys))


def ask_both_sides(
    project: Project,
    target: Target,
    upstream: Upstream,
    jobs: Sequence[AskedJob],
    options: RunOptions,
    *,
    asks_twice: bool,
    listen: Listener,
) -> float:
    """What it cost. What is answered already is not asked; with `asks_twice` older requests come to have two answers.

    Raises:
        BudgetExceeded: the budget does not hold all of it, or nobody said yes; nothing was sent.
        ApiError, KeyboardInterrupt: as `run`; what was answered stays.
    """
    options = replace(options, command="diff", keys=())
    mode: Mode = options.mode or "sync"
    with open_session(project, target, options, listen, None, upstream) as session:
        asked = [side for job in jobs for side in _sides(job, mode, session.state if asks_twice else None)]
        found = Runner(session).ask_variants(asked)
    return round(sum(row.cost_usd or 0.0 for rows, _ in found for row in rows if row.is_new), 9)


def _sides(
    job: AskedJob, mode: Mode, state: StateReader | None
) -> Iterator[tuple[CompiledJob, tuple[int, int] | None]]:
    """`state` is given where the older side is asked twice."""
    yield job.side(job.old, "before", mode, job.keys), None
    yield job.side(job.new, "now", mode, job.keys), None
    if state is not None and (lacking := _lacking(job, mode, state)):
        yield job.side(job.old, "before again", mode, lacking), _AGAIN


def _lacking(job: AskedJob, mode: Mode, state: StateReader) -> list[str]:
    """Rows whose older request has not been answered twice."""
    requests = job.side(job.old, "before", mode, job.keys).requests()
    ids = {each.key: each.request_id for each in requests if isinstance(each, MessageRequest)}
    records = state.lookup(list(set(ids.values())))
    return [key for key, request_id in ids.items() if _answers(records, request_id) < 2]


def _answers(records: Mapping[bytes, RequestRecord], request_id: bytes) -> int:
    record = records.get(request_id)
    return len({answer.ordinal for answer in record.answers if answer.kind.is_billed}) if record else 0
