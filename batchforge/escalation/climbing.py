"""What the steps of a job have come to, as state holds it -> which rows the next step asks, and what rows end with.

Rows are read side by side from all steps, in the order of the input: nothing is held in memory but the names of a
sample, and of rows that failed a test.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import msgspec

from batchforge.answers import INVALID, Answer, AnswerReader, reader_of
from batchforge.escalation.calibration import Calibration, Score, calibrate, drawn_sample, sample_size, score_of
from batchforge.escalation.rules import ANSWERED, cause_of, field_to_agree_on, number_of
from batchforge.escalation.steps import steps_of
from batchforge.outputs import BLOCKED, PENDING
from batchforge.requests.compiler import ANSWER
from batchforge.row_shapes import PARENT, InputRow
from batchforge.spec import JobSpec
from batchforge.state.records import ManifestRow, OutputRow

StepRows: TypeAlias = Callable[[int], Iterable[OutputRow]]
"""Number of a step -> its rows with their results, in the order of the input; nothing where it was not taken."""
FailedTests: TypeAlias = Callable[[int, Iterable["Taken"]], Collection[str]]
"""Number of a rung, and its rows -> the keys of those that fail a test of the job."""


class Taken(NamedTuple):
    """What one step has made of a row; where it asked several times, the answer that most agree on."""

    position: int
    row: ManifestRow
    result: OutputRow
    answer: Answer
    votes: float
    """The share of its answers that say the same."""

    @property
    def is_over(self) -> bool:
        """Whether there is a result that a run does not ask for again by itself."""
        stored = self.result.stored
        return stored is not None and not stored.result.may_be_resent


class Ascent(NamedTuple):
    """A row, and what each step has made of it; None where the step did not ask it."""

    position: int
    key: str
    steps: tuple[Taken | None, ...]


@dataclass(slots=True)
class Climb:
    """The steps of one job."""

    spec: JobSpec
    rows_of: StepRows
    failed_tests: FailedTests
    steps: tuple[JobSpec, ...] = ()
    _failed: dict[int, Collection[str]] = field(default_factory=dict)
    _sample: Collection[str] | None = None
    _calibration: Calibration | None = None
    _reader: AnswerReader = field(init=False)
    _field: str = field(init=False)

    def __post_init__(self) -> None:
        self.steps = steps_of(self.spec)
        self._reader = reader_of(self.spec)
        self._field = field_to_agree_on(self.spec)

    # ---- side by side

    def ascents(self, up_to: int | None = None) -> Iterator[Ascent]:
        """All rows of the first step, with what the steps before number `up_to` have made of them."""
        count = len(self.steps) if up_to is None else up_to - 1
        taken = [_Cursor(self._taken(step)) for step in self.steps[:count]]
        for first in taken[0].all() if taken else ():
            others = tuple(cursor.at(first.position, first.row.key) for cursor in taken[1:])
            yield Ascent(first.position, first.row.key, (first, *others))

    def _taken(self, step: JobSpec) -> Iterator[Taken]:
        assert step.step is not None
        rows = self.rows_of(step.step.number)
        if step.answers == 1:
            return (self._one(row.row.position, [row], 1) for row in rows)
        grouped = groupby(rows, key=lambda row: row.row.position // step.answers)
        return (self._one(position, list(group), step.answers) for position, group in grouped)

    def _one(self, position: int, rows: Sequence[OutputRow], asked: int) -> Taken:
        answers = [self._read(row) for row in rows]
        if asked == 1:
            return Taken(position, rows[0].row, rows[0], answers[0], 1.0)
        names = [self._vote(answer) for answer in answers]
        open_ones = [number for number, row in enumerate(rows) if not _is_over(row)]
        counts = Counter(name for name in names if name is not None)
        chosen, votes = 0, 0.0
        if open_ones:
            chosen = open_ones[0]
        elif counts:
            name, most = counts.most_common(1)[0]
            chosen, votes = names.index(name), most / asked
        return Taken(position, _as_written(rows[chosen].row, position), rows[chosen], answers[chosen], votes)

    def _read(self, row: OutputRow) -> Answer:
        if row.row.request_id is None:
            return Answer(BLOCKED, {}, "", row.row.blocked_reason)
        if row.stored is None:
            return Answer(PENDING, {}, "", "no result yet")
        return self._reader.read(row.stored.result)

    def _vote(self, answer: Answer) -> str | None:
        if answer.status != ANSWERED:
            return None
        value = answer.values.get(self._field)
        return value.strip().casefold() if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)

    # ---- who goes on

    def wanted(self, number: int) -> Iterator[tuple[Ascent, tuple[tuple[str, str], ...]]]:
        """The rows that a step asks, with what was said before."""
        for ascent in self.ascents(number):
            if self.wants(number, ascent):
                yield ascent, self._said(number, ascent)

    def wants(self, number: int, ascent: Ascent) -> bool:
        step = self.steps[number - 1].step
        assert step is not None
        if step.kind == "turn":
            before = ascent.steps[number - 2]
            return before is not None and before.is_over and before.answer.status == INVALID
        if step.kind == "sample":
            return ascent.key in self.sample
        return step.rung == 1 or (self._sampled(ascent) is None and self.cause(step.rung - 1, ascent) is not None)

    def cause(self, rung: int, ascent: Ascent) -> str | None:
        """Why a row goes up from a rung; None where it stays there, has yet to be answered, or was not asked."""
        cause = self._own_cause(rung, ascent)
        ladder, last = self.spec.ladder, self.last_at(rung, ascent)
        if cause is not None or ladder is None or ladder.guarantee is None or last is None or not last.is_over:
            return cause
        if last.answer.status != ANSWERED:
            return None
        score = self._score(last)
        return None if score is not None and score >= self.calibration.threshold else f"low {ladder.guarantee.score}"

    def _own_cause(self, rung: int, ascent: Ascent) -> str | None:
        ladder, last = self.spec.ladder, self.last_at(rung, ascent)
        if ladder is None or last is None or not last.is_over:
            return None
        cause = cause_of(last.answer, ladder)
        if cause is None and last.answer.status == ANSWERED:
            if "votes" in ladder.causes and last.votes < ladder.least_votes:
                return "votes"
            if "test_failed" in ladder.causes and ascent.key in self._failed_at(rung):
                return "test_failed"
        return cause

    def last_at(self, rung: int, ascent: Ascent) -> Taken | None:
        """What a model's last turn has made of a row."""
        numbers = [n for n, each in enumerate(self.steps[: len(ascent.steps)]) if _is_at(each, rung)]
        return next((taken for n in reversed(numbers) if (taken := ascent.steps[n]) is not None), None)

    def _failed_at(self, rung: int) -> Collection[str]:
        if rung not in self._failed:
            first_of_next = next(
                (n for n, each in enumerate(self.steps, 1) if each.step is not None and each.step.rung > rung),
                len(self.steps) + 1,
            )
            at_rung = (self.last_at(rung, ascent) for ascent in self.ascents(first_of_next))
            answered = (taken for taken in at_rung if taken is not None and taken.answer.status == ANSWERED)
            self._failed[rung] = self.failed_tests(rung, answered)
        return self._failed[rung]

    def _said(self, number: int, ascent: Ascent) -> tuple[tuple[str, str], ...]:
        step = self.steps[number - 1].step
        assert step is not None
        turns = [ascent.steps[n] for n in range(number - 1 - step.turn, number - 1)]
        return tuple((taken.answer.text, _sentence(taken.answer.error)) for taken in turns if taken is not None)

    # ---- the guarantee

    @property
    def sample(self) -> Collection[str]:
        """Keys of the rows that both models are asked."""
        if self._sample is None:
            guarantee = self.spec.ladder and self.spec.ladder.guarantee
            assert guarantee
            number = next(n for n, each in enumerate(self.steps, 1) if each.step and each.step.kind == "sample")
            size = guarantee.sample or sample_size(self._asked_rows(), guarantee.agreement, guarantee.confidence)
            eligible = (ascent.key for ascent in self.ascents(number) if self._is_eligible(ascent))
            self._sample = drawn_sample(eligible, size)
        return self._sample

    def _asked_rows(self) -> int:
        """Without those that cannot be asked at all."""
        return sum(
            ascent.steps[0] is not None and ascent.steps[0].answer.status != BLOCKED for ascent in self.ascents(2)
        )

    def _is_eligible(self, ascent: Ascent) -> bool:
        last = self.last_at(1, ascent)
        if last is None or not last.is_over or last.answer.status != ANSWERED:
            return False
        return self._own_cause(1, ascent) is None and self._score(last) is not None

    @property
    def calibration(self) -> Calibration:
        """From which score on the first model's answers are kept."""
        if self._calibration is None:
            ladder = self.spec.ladder
            assert ladder is not None
            assert ladder.guarantee is not None
            asked = list(self._calibrated())
            self._calibration = calibrate(
                [score for score, _, _ in asked],
                [(score, agrees) for score, agrees, is_sampled in asked if is_sampled],
                rows=self._asked_rows(),
                agreement=ladder.guarantee.agreement,
                confidence=ladder.guarantee.confidence,
            )
        return self._calibration

    def _calibrated(self) -> Iterator[tuple[Score, bool, bool]]:
        """(score, whether both models agree, whether both were asked) of the rows that could stay."""
        for ascent in self.ascents():
            last = self.last_at(1, ascent)
            if last is None or not self._is_eligible(ascent):
                continue
            score, strongest = self._score(last), self._sampled(ascent)
            assert score is not None
            agrees = strongest is not None and self._vote(strongest.answer) == self._vote(last.answer)
            yield score, agrees, strongest is not None

    def _score(self, taken: Taken) -> Score | None:
        assert self.spec.ladder is not None
        assert self.spec.ladder.guarantee is not None
        name = self.spec.ladder.guarantee.score
        value = taken.votes if name == "votes" else number_of(taken.answer.values.get(name))
        return None if value is None else score_of(value, taken.row.key)

    def _sampled(self, ascent: Ascent) -> Taken | None:
        """What the strongest model has said to a row of the sample."""
        for number, taken in enumerate(ascent.steps):
            step = self.steps[number].step
            if step is not None and step.kind == "sample":
                return taken
        return None

    # ---- the end

    def is_left(self, ascent: Ascent) -> bool:
        """Whether a step has yet to ask the row."""
        return any(
            ascent.steps[number - 1] is None and self.wants(number, _before(ascent, number))
            for number in range(2, len(self.steps) + 1)
        )

    def final(self, ascent: Ascent) -> tuple[Taken, int]:
        """What a row ends with, and the number of the step: the last answer; where there is none, the last failure.
        What is yet to come, or will be asked again, comes before both."""
        asked = [(taken, number) for number, taken in enumerate(ascent.steps, 1) if taken is not None]
        last = asked[-1]
        if not last[0].is_over and last[0].answer.status != BLOCKED:
            return last
        return next((each for each in reversed(asked) if each[0].answer.status == ANSWERED), _last_asked(asked))


def _last_asked(asked: Sequence[tuple[Taken, int]]) -> tuple[Taken, int]:
    return next((each for each in reversed(asked) if each[0].answer.status != BLOCKED), asked[-1])


def _is_over(row: OutputRow) -> bool:
    return row.row.request_id is None or (row.stored is not None and not row.stored.result.may_be_resent)


def _is_at(spec: JobSpec, rung: int) -> bool:
    return spec.step is not None and spec.step.rung == rung and spec.step.kind != "sample"


def _before(ascent: Ascent, number: int) -> Ascent:
    return ascent._replace(steps=ascent.steps[: number - 1])


def _sentence(error: str | None) -> str:
    text = error or "it does not fit."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _as_written(row: ManifestRow, position: int) -> ManifestRow:
    """One of several answers as the row that they were asked for."""
    values: Mapping[str, Any] = msgspec.json.decode(row.values)
    kept = {name: value for name, value in values.items() if name not in (PARENT, ANSWER)}
    return row._replace(position=position, key=row.key.rpartition("#")[0], values=msgspec.json.encode(kept))


class _Cursor:
    """Rows in the order of the input, looked at one by one."""

    def __init__(self, rows: Iterator[Taken]) -> None:
        self._rows = rows
        self._next: Taken | None = None

    def all(self) -> Iterator[Taken]:
        return self._rows

    def at(self, position: int, key: str) -> Taken | None:
        while self._next is None or self._next.position < position:
            self._next = next(self._rows, None)
            if self._next is None:
                return None
        taken = self._next
        return taken if (taken.position, taken.row.key) == (position, key) else None


def rows_to_ask(read_rows: Callable[[], Iterable[InputRow]], climb: Climb, number: int) -> Iterator[InputRow]:
    """The rows of the input that a step asks."""
    wanted = climb.wanted(number)
    following = next(wanted, None)
    for row in read_rows():
        while following is not None and following[0].position < row.position:
            following = next(wanted, None)
        if following is None:
            return
        ascent, said = following
        if (ascent.position, ascent.key) == (row.position, row.key):
            yield row._replace(said=said)
