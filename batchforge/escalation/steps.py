"""A job with a list of models, or one that tells what was wrong -> its steps, each a job spec that asks like a plain
job: with the same fingerprints, so that answers are shared with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchforge.spec import ContentTree, JobSpec, MessageSpec, StepSpec, TemplateSource

_REASON = "Your answer was not accepted: {{ said[%d][1] }}\nAnswer again, in full and in the form that was asked for."

RUNG, VOTES = "_rung", "_votes"
"""Columns of the output: which of several models the answer is from, and the share of its answers that say the same."""


def has_steps(spec: JobSpec) -> bool:
    return spec.ladder is not None or spec.output.tells_reason


def steps_of(spec: JobSpec) -> tuple[JobSpec, ...]:
    """In the order in which they are taken; the rungs, with their turns, from the first model to the last."""
    steps: list[JobSpec] = []
    for rung, model in enumerate(spec.models, 1):
        is_last = rung == len(spec.models)
        if is_last and spec.ladder is not None and spec.ladder.guarantee is not None:
            steps.append(_step(spec, model, StepSpec(len(steps) + 1, rung, "sample"), answers=1))
        answers = 1 if is_last and spec.ladder is not None else spec.answers
        steps += _with_turns(spec, model, rung, answers, len(steps) + 1)
    return tuple(steps)


def _with_turns(spec: JobSpec, model: str, rung: int, answers: int, number: int) -> Iterator[JobSpec]:
    yield _step(spec, model, StepSpec(number, rung, "rung"), answers)
    turns = spec.output.retries if spec.output.tells_reason else 0
    for turn in range(1, turns + 1):
        step = _step(spec, model, StepSpec(number + turn, rung, "turn", turn), answers)
        yield replace(step, messages=(*spec.messages, *_turns(spec, turn)))


def _step(spec: JobSpec, model: str, step: StepSpec, answers: int) -> JobSpec:
    """Its own retries ask without a reason; where there is one, further turns do."""
    output = replace(spec.output, retries=0) if spec.output.tells_reason else spec.output
    params = spec.ladder.params[step.rung - 1] if spec.ladder is not None else spec.params
    return replace(spec, model=model, params=params, step=step, answers=answers, output=output)


def _turns(spec: JobSpec, count: int) -> Iterator[MessageSpec]:
    for number in range(count):
        yield MessageSpec("assistant", (_text(spec, f"{{{{ said[{number}][0] }}}}"),))
        yield MessageSpec("user", (_text(spec, _REASON % number),))


def _text(spec: JobSpec, text: str) -> ContentTree:
    return {"type": TemplateSource("text", spec.path), "text": TemplateSource(text, spec.path)}


def scope_of(spec: JobSpec, scope: str) -> str:
    """Of a step's rows, among all that are asked in a scope."""
    return " ".join(part for part in (scope, spec.step.scope if spec.step else "") if part)


def without_step(scope: str) -> str:
    """The scope of the whole job."""
    return " ".join(part for part in scope.split() if not part.startswith("step="))


def is_of_step(scope: str) -> bool:
    """Whether rows are those of one step, of which no output is made."""
    return without_step(scope) != scope


def ladder_columns(spec: JobSpec) -> Sequence[str]:
    """What several models add to the columns of the output."""
    if spec.ladder is None:
        return ()
    return (RUNG, VOTES) if spec.ladder.has_votes else (RUNG,)
