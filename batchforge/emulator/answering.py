"""One request's params -> the message that answers it, with what it costs, or the API's refusal. In batches or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from batchforge.emulator.answers import Answer, AnswerSource
from batchforge.emulator.api_fault import ApiFault
from batchforge.emulator.billing import bill_usd
from batchforge.emulator.citations import with_citations
from batchforge.emulator.clock import ServerClock
from batchforge.emulator.file_rules import check_files
from batchforge.emulator.file_store import FileStore
from batchforge.emulator.models import EmulatedModel, find_model
from batchforge.emulator.prompt import Prompt, read_prompt
from batchforge.emulator.prompt_cache import CacheEntries, InputUsage, account, cache_scope
from batchforge.emulator.rules import check_params
from batchforge.emulator.scenario import Scenario

Endpoint = Literal["messages", "batch"]
FORMAT_BETA_PREFIX = "structured-outputs-"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks, and by which rules."""

    workspace: str
    api_version: str
    betas: frozenset[str]
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Moment:
    """When a request is worked on, by the emulator's clock."""

    started_s: float
    answer_begins_s: float
    worker: int = 0
    """Workers share caches by islands."""


@dataclass(frozen=True, slots=True)
class Answered:
    message: dict[str, Any]
    model: EmulatedModel
    input: InputUsage

    @property
    def output_tokens(self) -> int:
        return int(self.message["usage"]["output_tokens"])

    @property
    def billed_usd(self) -> float:
        return bill_usd(self.model, self.message["usage"])

    def with_message(self, message: dict[str, Any]) -> Answered:
        return replace(self, message=message)


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that the API takes, with its answer; not yet billed."""

    params: dict[str, Any]
    sender: Sender
    model: EmulatedModel
    prompt: Prompt
    answer: Answer


class Answering:
    def __init__(self, scenario: Scenario, source: AnswerSource, files: FileStore, clock: ServerClock) -> None:
        self._scenario = scenario
        self._source = source
        self._files, self._clock = files, clock

    def prepare(self, params: dict[str, Any], sender: Sender, custom_id: str | None = None) -> Checked | ApiFault:
        """What may take long: it touches neither cache nor bill."""
        params = _with_format_in_place(params, sender.betas)
        fault = check_params(params, api_version=sender.api_version, endpoint=sender.endpoint, betas=sender.betas)
        if fault is not None:
            return fault
        model = find_model(params["model"])
        assert model is not None
        fault = check_files(params, model, sender.workspace, self._files, self._clock.now_s())
        if fault is not None:
            return fault
        answer = self._source.answer(params, model, custom_id)
        if isinstance(answer, ApiFault):
            return answer
        return Checked(params, sender, model, read_prompt(params, model), answer)

    def finish(self, checked: Checked, moment: Moment, entries: CacheEntries, *, message_id: str) -> Answered:
        """Reads and writes the prompt cache; the message says what it costs."""
        input_usage = self._input_usage(checked, moment, entries)
        return Answered(_message(checked, input_usage, message_id), checked.model, input_usage)

    def _input_usage(self, checked: Checked, moment: Moment, entries: CacheEntries) -> InputUsage:
        if self._scenario.cache == "off":
            return InputUsage(checked.prompt.input_tokens)
        pool = checked.sender.endpoint if self._scenario.cache == "apart" else ""
        island = moment.worker % max(1, self._scenario.cache_islands)
        return account(
            checked.prompt,
            checked.model,
            entries,
            scope=cache_scope(checked.sender.workspace, pool, island),
            started_s=moment.started_s,
            answer_begins_s=moment.answer_begins_s,
        )


def _with_format_in_place(params: dict[str, Any], betas: frozenset[str]) -> dict[str, Any]:
    """Clients from before the general release send `output_format`, and a beta header with it."""
    if "output_format" not in params or not any(beta.startswith(FORMAT_BETA_PREFIX) for beta in betas):
        return params
    rest = {key: value for key, value in params.items() if key != "output_format"}
    return {**rest, "output_config": {**(params.get("output_config") or {}), "format": params["output_format"]}}


def _message(checked: Checked, input_usage: InputUsage, message_id: str) -> dict[str, Any]:
    """Keys in the API's order."""
    answer = checked.answer
    return {
        "model": checked.model.id,
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": with_citations(answer.content, checked.params),
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
        "usage": _usage(checked, input_usage),
        **_only_if_asked_for(checked.params),
    }


def _only_if_asked_for(params: dict[str, Any]) -> dict[str, Any]:
    """Fields that recorded answers lack unless the request has a word about them."""
    return {name: None for name in ("container", "diagnostics") if params.get(name) is not None}


def _usage(checked: Checked, input_usage: InputUsage) -> dict[str, Any]:
    default_geo = "global" if checked.model.new_tokenizer else "not_available"
    return {
        **input_usage.fields(),
        "output_tokens": checked.answer.output_tokens,
        "service_tier": "batch" if checked.sender.endpoint == "batch" else "standard",
        "inference_geo": checked.params.get("inference_geo") or default_geo,
        "output_tokens_details": {"thinking_tokens": checked.answer.thinking_tokens},
    }
