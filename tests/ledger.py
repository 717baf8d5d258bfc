"""A state filled with results of a test's own choosing, through the same steps by which a run fills it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from batchforge.ledger.pricing import Pricing
from batchforge.requests.fingerprint import custom_id, parse_custom_id
from batchforge.results import UNBILLED, RequestResult, ResultKind, Usage, brought_by
from batchforge.state.attempts import AttemptState
from batchforge.state.records import BatchRecord, IntendedRequest, Intention, RunRecord
from batchforge.state.sqlite import SqliteState
from tests.builders import ProjectFiles, state_path

DAY = "2026-11-20"


@dataclass(frozen=True)
class Answer:
    """One result; by default the answer of a cheap model."""

    usage: Usage = field(default_factory=lambda: Usage(100, 10))
    model: str = "claude-haiku-5-5"
    geo: str | None = None
    kind: ResultKind = ResultKind.ANSWERED


@dataclass
class Ledger:
    """Stores answers for a target; prices are those of the project as it is at that time."""

    files: ProjectFiles
    stored: list[RequestResult] = field(default_factory=list)
    _count: int = 0

    def store(
        self,
        *answers: Answer,
        job: str = "about",
        target: str = "api",
        mode: str = "batch",
        run: str = "run-1",
        commit: str = "",
        day: str = DAY,
        is_priced: bool = True,
    ) -> list[RequestResult]:
        """As one attempt, whose batch ended on the day."""
        project, _, chosen = self.files.load((), target)
        state = SqliteState(state_path(project, chosen))
        try:
            if state.origin() is None:
                state.set_origin(chosen.origin())
            if state.run(run) is None:
                state.begin_run(RunRecord(run, f"{day}T00:00:00Z", "run", target, (job,), commit))
            results = [self._result(answer) for answer in answers]
            if is_priced:
                pricing = Pricing(project.price_table(chosen))
                results = [pricing.priced(result, is_batch=mode == "batch") for result in results]
            self._run_through(state, results, job, target, mode, run, day)
        finally:
            state.close()
        self.stored += results
        return results

    def _result(self, answer: Answer) -> RequestResult:
        self._count += 1
        name = custom_id(sha256(str(self._count).encode()).digest(), 0)
        if answer.kind in UNBILLED:
            return RequestResult(name, answer.kind)
        return RequestResult(
            name, answer.kind, answer.usage, message=b"{}", model=answer.model, inference_geo=answer.geo
        )

    def _run_through(
        self,
        state: SqliteState,
        results: Sequence[RequestResult],
        job: str,
        target: str,
        mode: str,
        run: str,
        day: str,
    ) -> None:
        names = [parse_custom_id(result.custom_id) for result in results]
        intended = [IntendedRequest(*name, ()) for name in names if name]
        model = next((result.model for result in results if result.model), "claude-haiku-5-5")
        attempt_id = state.intend(Intention(run, job, target, mode, model, 100, b"skeleton", b"{}", "test"), intended)
        batch_id = f"msgbatch_{target}_{attempt_id}"
        state.move(attempt_id, AttemptState.INTENDED, AttemptState.SENDING)
        state.move(attempt_id, AttemptState.SENDING, AttemptState.KNOWN, batch_id=batch_id)
        ended = f"{day}T12:00:00.000000Z"
        counts = (0, len(results), 0, 0, 0)
        state.save_batch(BatchRecord(batch_id, attempt_id, "ended", *counts, ended, ended, ended))
        state.move(attempt_id, AttemptState.KNOWN, AttemptState.ENDED)
        state.store_results(attempt_id, results)
        state.record_usage(attempt_id, brought_by(results))
        state.move(attempt_id, AttemptState.ENDED, AttemptState.STORED)
        state.move(attempt_id, AttemptState.STORED, AttemptState.CLOSED)


def many(answer: Answer, count: int) -> list[Answer]:
    return [answer] * count
