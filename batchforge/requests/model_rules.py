"""What one Claude model does with a request: a request in, what the model would refuse or do badly out.

The API says these things hours later, row by row; each rule here is one that it is known to enforce.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from batchforge.claude_models import ModelInfo, extended_output_beta, successor
from batchforge.errors import Severity
from batchforge.requests.request_form import Fault

CURRENT_API_VERSION = "2026-10-21"
SAMPLING_PARAMETERS = ("temperature", "top_p", "top_k")
MIN_THINKING_BUDGET_TOKENS = 1024

# Not from the API: how much room to leave for thinking before a warning seems a nuisance.
THINKING_HEADROOM_TOKENS = {"low": 1_000, "medium": 2_000, "high": 4_000, "xhigh": 8_000, "max": 16_000}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how it will be sent."""

    params: Mapping[str, Any]
    betas: Sequence[str]
    api_version: str
    mode: Literal["batch", "sync"]
    today: date

    @property
    def is_current_version(self) -> bool:
        return self.api_version >= CURRENT_API_VERSION

    @property
    def thinking_type(self) -> str | None:
        return (self.params.get("thinking") or {}).get("type")

    @property
    def effort(self) -> str | None:
        return (self.params.get("output_config") or {}).get("effort")

    @property
    def output_format(self) -> Any:
        return (self.params.get("output_config") or {}).get("format")


def model_faults(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    for rule in RULES:
        yield from rule(asked, model)


def _warning(code: str, path: tuple[str, ...], message: str, hint: str = "") -> Fault:
    return Fault(code, path, message, hint, Severity.WARNING)


def _lifecycle(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    if model.status_on(asked.today) == "deprecated":
        message = f"{model.id} is deprecated"
        if model.retires_on is not None:
            message += f"; it will be retired on {model.retires_on.isoformat()}"
        yield _warning("BF422", ("model",), message, replacement_hint(model.id))
    if model.access == "limited":
        message = f"{model.id} is open to some organisations only; for others each row fails"
        yield _warning("BF423", ("model",), message, "Try one row first: `--limit 1`.")


def replacement_hint(model_id: str) -> str:
    newer = successor(model_id)
    return f"The newest model of its line is {newer.id}." if newer else "`batchforge models` lists all models."


def sampling_faults(asked: Asked, model: ModelInfo | None) -> Iterator[Fault]:
    """Under the current API version no model takes sampling parameters, so this holds for unknown ones too."""
    refused_by_model = model is not None and model.takes_sampling == "never"
    for name in SAMPLING_PARAMETERS:
        if name not in asked.params:
            continue
        if refused_by_model and not (not asked.is_current_version and _is_default(name, asked.params[name])):
            yield Fault("BF424", (name,), f"{_name(model)} takes no sampling parameters", "Leave it out.")
        elif asked.is_current_version:
            hint = "Leave it out, or set `anthropic_version: 2023-06-01` for the target."
            yield Fault("BF424", (name,), f"is not taken under API version {asked.api_version}", hint)


def _is_default(name: str, value: Any) -> bool:
    return name == "temperature" and value == 1


def _name(model: ModelInfo | None) -> str:
    return model.id if model else "the model"


def _forced_tool_choice(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    kind = (asked.params.get("tool_choice") or {}).get("type")
    if kind not in ("any", "tool"):
        return
    if not model.takes_forced_tool_choice:
        hint = "Use `tool_choice: auto` and ask for the tool in the prompt; for a fixed form of answer, use `output:`."
        yield Fault("BF425", ("tool_choice",), f"{model.id} cannot be forced to use a tool ({kind})", hint)
    elif doubt := model.unverified.get("takes_forced_tool_choice"):
        message = f"whether {model.id} can be forced to use a tool is not certain ({doubt})"
        yield _warning("BF433", ("tool_choice",), message, "Try one row first: `--limit 1`.")


def _thinking(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    kind = asked.thinking_type
    if kind is None:
        return
    if kind not in model.thinking.types:
        yield Fault("BF426", ("thinking",), _refused_thinking(kind, model), _thinking_hint(kind, model))
    elif kind in model.thinking.deprecated:
        message = f"`{kind}` is deprecated for {model.id}"
        yield _warning(
            "BF433", ("thinking",), message, "Use `thinking: adaptive`, and `effort:` to control its length."
        )
    if kind == "between_tools" and len(asked.params["thinking"]) > 1:
        yield Fault("BF426", ("thinking",), "`between_tools` takes no other field beside its type")


def _refused_thinking(kind: str, model: ModelInfo) -> str:
    if kind == "disabled" and model.thinking.default == "always_on":
        return f"{model.id} always thinks; `disabled` is refused"
    taken = " and ".join(f"`{taken}`" for taken in model.thinking.types)
    return f"{model.id} does not take `{kind}`, only {taken}"


def _thinking_hint(kind: str, model: ModelInfo) -> str:
    if kind == "disabled":
        return "Leave `thinking` out and write `effort: low`, or choose a model that can be told not to think."
    if "adaptive" in model.thinking.types:
        return "Write `thinking: adaptive`, and `effort:` to control how much it thinks."
    return "Write `thinking: {type: enabled, budget_tokens: 4000}`."


def _thinking_budget(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    thinking = asked.params.get("thinking") or {}
    budget, max_tokens = thinking.get("budget_tokens"), asked.params.get("max_tokens")
    if thinking.get("type") != "enabled" or "enabled" not in model.thinking.types or not isinstance(budget, int):
        return
    if budget < MIN_THINKING_BUDGET_TOKENS:
        message = f"must be {MIN_THINKING_BUDGET_TOKENS:,} or more, and is {budget:,}"
        yield Fault("BF428", ("thinking", "budget_tokens"), message)
    if isinstance(max_tokens, int) and budget >= max_tokens:
        message = (
            f"budget_tokens ({budget:,}) must be less than max_tokens ({max_tokens:,}), which holds the answer too"
        )
        yield Fault("BF428", ("thinking", "budget_tokens"), message, f"Raise max_tokens above {budget:,}.")


def _effort(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    effort = asked.effort
    if effort is None:
        return
    if not model.effort.levels:
        yield Fault("BF429", ("output_config", "effort"), f"{model.id} takes no effort", "Leave it out.")
    elif effort not in model.effort.levels:
        message = f"{model.id} does not take effort `{effort}`"
        yield Fault("BF429", ("output_config", "effort"), message, f"It takes {', '.join(model.effort.levels)}.")


def _thinking_with_effort(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    if asked.thinking_type in model.thinking.at_most_high_effort and asked.effort in ("xhigh", "max"):
        message = f"{model.id} takes `{asked.thinking_type}` only up to effort high, and effort is {asked.effort}"
        hint = "Write `effort: high`, or leave `thinking` out."
        yield Fault("BF427", ("thinking",), message, hint)


def _max_tokens(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    max_tokens, extended = asked.params.get("max_tokens"), model.max_output_tokens_extended_batch
    is_batch = asked.mode == "batch"
    limit = model.max_output_with(asked.betas, batch=is_batch)
    if isinstance(max_tokens, int) and limit is not None and max_tokens > limit:
        hint = f"Write at most {limit:,}"
        if is_batch and extended and limit < extended:
            hint += f", or add `betas: [{extended_output_beta()}]` for up to {extended:,}"
        message = f"{max_tokens:,} is more than {model.id} can write in one answer ({limit:,})"
        yield Fault("BF430", ("max_tokens",), message, hint + ".")
    if extended_output_beta() in asked.betas and not (is_batch and extended):
        reason = f"{model.id} does not take it" if is_batch else "it is for batches only"
        yield _warning("BF433", ("betas",), f"{extended_output_beta()} may be refused: {reason}", "Leave it out.")


def _room_for_the_answer(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    effort = asked.effort or model.effort.default or "high"
    max_tokens = asked.params.get("max_tokens")
    needed = _thinking_room_tokens(asked, model, effort)
    if not isinstance(max_tokens, int) or max_tokens >= needed:
        return
    message = f"{model.id} thinks before it answers (effort {effort}), and thinking counts: {max_tokens:,} tokens may "
    message += "leave no room for the answer"
    yield _warning("BF431", ("max_tokens",), message, _room_hint(model, effort, needed))


def _thinking_room_tokens(asked: Asked, model: ModelInfo, effort: str) -> int:
    match asked.thinking_type:
        case None if not model.thinks_by_default:
            return 0
        case "disabled" | "between_tools" | "enabled":
            return 0
    return THINKING_HEADROOM_TOKENS.get(effort, 0)


def _room_hint(model: ModelInfo, effort: str, needed: int) -> str:
    ways = []
    if "disabled" in model.thinking.types:
        ways.append("`thinking: disabled`")
    elif effort != "low":
        ways.append("`effort: low`")
    ways.append(f"`max_tokens: {needed}` or more")
    return f"Write {', or '.join(ways)}."


def _prefill(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    messages = asked.params.get("messages")
    if not messages or messages[-1]["role"] != "assistant":
        return
    path = ("messages", len(messages) - 1)
    if not model.takes_prefill:
        message = f"{model.id} does not go on from the start of an answer; the last message must be the user's"
        hint = "Say in the prompt how the answer begins; for a fixed form, use `output:`."
        yield Fault("BF432", path, message, hint)
    elif asked.output_format:
        message = "the start of an answer does not go together with a fixed form of answer (`output:`)"
        yield Fault("BF432", path, message, "Leave the last message out.")


def _system_messages(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    if model.takes_system_messages is not False:
        return
    for index, message in enumerate(asked.params.get("messages") or ()):
        if message["role"] == "system":
            problem = f"{model.id} takes no system message within the conversation"
            yield Fault("BF434", ("messages", index), problem, "Write it under `system:`.")


def _web_fetch(asked: Asked, model: ModelInfo) -> Iterator[Fault]:
    if model.takes_web_fetch is not False:
        return
    for index, tool in enumerate(asked.params.get("tools") or ()):
        if str(tool.get("type")).startswith("web_fetch"):
            message = f"{model.id} is not listed among the models that can use {tool['type']}"
            yield Fault("BF433", ("tools", index), message, "Try one row first: `--limit 1`.", Severity.WARNING)


RULES = (
    _lifecycle,
    sampling_faults,
    _forced_tool_choice,
    _thinking,
    _thinking_budget,
    _effort,
    _thinking_with_effort,
    _max_tokens,
    _room_for_the_answer,
    _prefill,
    _system_messages,
    _web_fetch,
)
