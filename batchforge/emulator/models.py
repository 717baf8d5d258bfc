"""The models the emulator knows, read from `claude_models.json`; and how GET /v1/models shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Lifecycle = Literal["active", "deprecated", "retired"]
EFFORT_LEVELS = ("high", "low", "max", "medium", "xhigh")
THINKING_TYPES = ("adaptive", "between_tools", "disabled", "enabled")
UNKNOWN_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens for prompts of at most `prompt_tokens_max` tokens; None is without end."""

    prompt_tokens_max: int | None
    input_usd: float
    output_usd: float
    cache_write_5m_usd: float
    cache_write_1h_usd: float
    cache_read_usd: float


@dataclass(frozen=True, slots=True)
class EmulatedModel:
    id: str
    aliases: tuple[str, ...]
    lifecycle: Lifecycle
    released_on: date
    retires_on: date | None
    context_window_tokens: int
    max_output_tokens: int
    max_output_tokens_extended_batch: int | None
    min_cacheable_tokens: int
    new_tokenizer: bool
    thinking_types: frozenset[str]
    thinking_default: Literal["always_on", "on", "off"]
    at_most_high_effort: frozenset[str]
    """Thinking types that efforts above high refuse."""
    effort_levels: frozenset[str]
    effort_default: str | None
    takes_forced_tool_choice: bool
    takes_prefill: bool
    takes_sampling: Literal["never", "old_version_only"]
    prices: tuple[Prices, ...]
    batch_multiplier: float
    us_multiplier: float

    @property
    def thinks_by_default(self) -> bool:
        return self.thinking_default != "off"

    @property
    def display_name(self) -> str:
        """`claude-opus-4-5-20251101` is shown as `Claude Opus 4.5`."""
        line, *numbers = self.id.removeprefix("claude-").split("-")
        version = ".".join(number for number in numbers if number.isdigit() and len(number) < 4)
        return " ".join(word for word in ("Claude", line.title(), version or "Preview") if word)


def find_model(model_id: str) -> EmulatedModel | None:
    """The model of an id or alias; None if unknown or retired."""
    return _by_name().get(model_id)


def list_models() -> tuple[EmulatedModel, ...]:
    """Every model that can be called, the newest first."""
    return tuple(sorted(_models(), key=lambda model: (model.released_on, model.id), reverse=True))


def model_info(model: EmulatedModel) -> dict[str, Any]:
    """One entry of GET /v1/models."""
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": _midnight(model.released_on),
        "lifecycle": model.lifecycle,
        "line": model.id.split("-")[1],
        "deprecated_at": _midnight(UNKNOWN_DAY) if model.lifecycle == "deprecated" else None,
        "retires_at": _midnight(model.retires_on) if model.retires_on else None,
        "max_input_tokens": model.context_window_tokens,
        "max_tokens": model.max_output_tokens,
        "capabilities": _capabilities(model),
    }


def retired_model_infos() -> list[dict[str, Any]]:
    """Entries of models that are no longer served: listed only when asked for, and without capabilities."""
    return [_retired_info(entry["id"], date.fromisoformat(entry["retired_on"])) for entry in _data()["retired"]]


def _retired_info(model_id: str, retired_on: date) -> dict[str, Any]:
    line = next(word for word in model_id.split("-")[1:] if not word.isdigit())
    numbers = [word for word in model_id.split("-")[1:] if word.isdigit() and len(word) < 4]
    return {
        "id": model_id,
        "type": "model",
        "display_name": f"Claude {line.title()} {'.'.join(numbers)}",
        "created_at": f"{_dashed(model_id.rsplit('-', 1)[1])}T00:00:00Z",
        "lifecycle": "retired",
        "line": line,
        "deprecated_at": _midnight(retired_on),
        "retires_at": _midnight(retired_on),
        "max_input_tokens": None,
        "max_tokens": None,
        "capabilities": None,
    }


def _dashed(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def _capabilities(model: EmulatedModel) -> dict[str, Any]:
    yes = {"supported": True}
    return {
        "batch": yes,
        "citations": yes,
        "code_execution": yes,
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": yes,
            "clear_tool_uses_20250919": yes,
            "compact_20260112": yes,
        },
        "effort": {
            "supported": bool(model.effort_levels),
            **{level: {"supported": level in model.effort_levels} for level in EFFORT_LEVELS},
        },
        "image_input": yes,
        "pdf_input": yes,
        "server_tools": {"supported": True, "code_execution": yes, "web_search": yes},
        "structured_outputs": yes,
        "thinking": {
            "supported": True,
            "types": {kind: {"supported": kind in model.thinking_types} for kind in THINKING_TYPES},
        },
    }


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("batchforge").joinpath("claude_models.json").read_bytes())
    return data


@cache
def _models() -> tuple[EmulatedModel, ...]:
    us_multiplier = _data()["multipliers"]["inference_geo_us"]
    return tuple(_model(entry, us_multiplier) for entry in _data()["models"])


@cache
def _by_name() -> dict[str, EmulatedModel]:
    return {name: model for model in _models() for name in (model.id, *model.aliases)}


# The one model whose output limit is not published takes the limit of its successors.
_UNPUBLISHED_MAX_OUTPUT_TOKENS = 128_000


def _model(entry: dict[str, Any], us_multiplier: float) -> EmulatedModel:
    return EmulatedModel(
        id=entry["id"],
        aliases=tuple(entry["aliases"]),
        lifecycle=entry["status"],
        released_on=_day(entry["released_on"]) or UNKNOWN_DAY,
        retires_on=_day(entry["retires_on"]),
        context_window_tokens=entry["context_window_tokens"],
        max_output_tokens=entry["max_output_tokens"] or _UNPUBLISHED_MAX_OUTPUT_TOKENS,
        max_output_tokens_extended_batch=entry["max_output_tokens_extended_batch"],
        min_cacheable_tokens=entry["min_cacheable_tokens"],
        new_tokenizer=entry["tokenizer"] == "v2",
        thinking_types=frozenset(entry["thinking"]["types"]),
        thinking_default=entry["thinking"]["default"],
        at_most_high_effort=frozenset(entry["thinking"]["at_most_high_effort"]),
        effort_levels=frozenset(entry["effort"]["levels"]),
        effort_default=entry["effort"]["default"],
        takes_forced_tool_choice=entry["takes_forced_tool_choice"],
        takes_prefill=entry["takes_prefill"],
        takes_sampling=entry["takes_sampling"],
        prices=tuple(_prices(tier) for tier in entry["prices_usd_per_mtok"]),
        batch_multiplier=entry["batch_multiplier"],
        us_multiplier=us_multiplier,
    )


def _prices(tier: dict[str, Any]) -> Prices:
    return Prices(
        prompt_tokens_max=tier["prompt_tokens_max"],
        input_usd=tier["input"],
        output_usd=tier["output"],
        cache_write_5m_usd=tier["cache_write_5m"],
        cache_write_1h_usd=tier["cache_write_1h"],
        cache_read_usd=tier["cache_read"],
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
