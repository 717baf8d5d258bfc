"""The table of models against what the API lists of them now: what is missing, new, or no longer true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from batchforge.claude_models import ModelInfo

ALL_LIFECYCLES = ("active", "deprecated", "retired")


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model as the API describes it. None: not said."""

    id: str
    display_name: str
    lifecycle: str
    """active, deprecated or retired."""
    retires_on: date | None
    context_window_tokens: int | None
    max_output_tokens: int | None
    takes_batches: bool | None
    effort_levels: frozenset[str] | None
    thinking_types: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ModelFinding:
    model: str
    kind: Literal["missing", "new", "changed", "note"]
    """A note is not a contradiction: the table leaves open what the API says, or the key may not see the model."""
    what: str


def check_models(table: Sequence[ModelInfo], live: Sequence[LiveModel], today: date) -> list[ModelFinding]:
    """Everything that differs, the table's models first."""
    listed = {model.id: model for model in live}
    found: list[ModelFinding] = []
    for model in table:
        name = next((name for name in (model.id, *model.aliases) if name in listed), None)
        found += _differences(model, listed.pop(name), today) if name else _missing(model, today)
    return [*found, *(_new(model) for model in listed.values() if model.lifecycle != "retired")]


def _missing(model: ModelInfo, today: date) -> list[ModelFinding]:
    if model.status_on(today) == "retired":
        return []
    if model.access == "limited":
        return [ModelFinding(model.id, "note", "is not listed for this key; access to it is limited")]
    return [ModelFinding(model.id, "missing", f"is {model.status} in the table, and the API does not list it")]


def _new(model: LiveModel) -> ModelFinding:
    sizes = f"context {_count(model.context_window_tokens)}, longest answer {_count(model.max_output_tokens)}"
    what = f"{model.display_name}, {model.lifecycle}, {sizes}; this version knows no limits and no prices of it"
    return ModelFinding(model.id, "new", what)


def _differences(model: ModelInfo, live: LiveModel, today: date) -> Iterator[ModelFinding]:
    if live.lifecycle not in (model.status, model.status_on(today)):
        when = f", to be retired on {live.retires_on.isoformat()}" if live.retires_on else ""
        yield _changed(model, f"is {live.lifecycle} by now{when}; the table says {model.status}")
    elif live.retires_on is not None and live.retires_on != model.retires_on:
        said = model.retires_on.isoformat() if model.retires_on else "no day"
        yield _changed(model, f"will be retired on {live.retires_on.isoformat()}; the table says {said}")
    yield from _size(model, "context", live.context_window_tokens, model.context_window_tokens)
    yield from _size(model, "longest answer", live.max_output_tokens, model.max_output_tokens)
    if live.takes_batches is False:
        yield _changed(model, "takes no batches")
    yield from _set(model, "effort levels", live.effort_levels, frozenset(model.effort.levels))
    yield from _set(model, "thinking types", live.thinking_types, frozenset(model.thinking.types))


def _size(model: ModelInfo, what: str, live: int | None, ours: int | None) -> Iterator[ModelFinding]:
    if live is None or live == ours:
        return
    if ours is None:
        yield ModelFinding(model.id, "note", f"{what}: {live:,} tokens; the table leaves it open")
    else:
        yield _changed(model, f"{what}: {live:,} tokens; the table says {ours:,}")


def _set(model: ModelInfo, what: str, live: frozenset[str] | None, ours: frozenset[str]) -> Iterator[ModelFinding]:
    if live is not None and live != ours:
        yield _changed(model, f"{what}: {_words(live)}; the table says {_words(ours)}")


def _changed(model: ModelInfo, what: str) -> ModelFinding:
    return ModelFinding(model.id, "changed", what)


def _words(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _count(tokens: int | None) -> str:
    return "not said" if tokens is None else f"{tokens:,} tokens"
