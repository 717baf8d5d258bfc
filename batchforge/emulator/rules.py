"""What the API refuses in a request's params: shape, model, and the rules between fields, with the API's own words.

Written from facts about the API alone, so that it can catch a mistake of whoever compiles requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from batchforge.emulator.api_fault import ApiFault, invalid_request, not_found
from batchforge.emulator.message_rules import check_messages
from batchforge.emulator.models import EmulatedModel, find_model
from batchforge.emulator.request_shapes import SAMPLING_FIELDS, request_fields
from batchforge.emulator.schema_rules import check_output_schema, check_strict_tools
from batchforge.emulator.shapes import Check, Refused

Endpoint = Literal["messages", "batch", "count_tokens"]
STRICTER_VERSION = "2026-10-21"
"""Since this version sampling parameters, and some blocks in some places, are refused."""
EXTENDED_OUTPUT_BETA = "output-300k-2026-03-24"
FAST_BETA_PREFIX = "fast-mode-"
MARKS_AT_MOST = 4
# Fields that the batch endpoint refuses and the synchronous one takes or took.
_NOT_IN_BATCHES = (
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "research_preview_2026_02",
)


@dataclass(frozen=True, slots=True)
class Request:
    """Params of the right shape, with what else decides whether they are refused."""

    params: Mapping[str, Any]
    model: EmulatedModel
    endpoint: Endpoint
    strict_version: bool
    betas: frozenset[str]

    @property
    def forces_a_tool(self) -> bool:
        return (self.params.get("tool_choice") or {}).get("type") in ("any", "tool")

    @property
    def thinking(self) -> Mapping[str, Any]:
        return self.params.get("thinking") or {}

    @property
    def effort(self) -> str | None:
        return (self.params.get("output_config") or {}).get("effort")

    @property
    def output_format(self) -> Mapping[str, Any] | None:
        return (self.params.get("output_config") or {}).get("format")


def check_params(
    params: object, *, api_version: str, endpoint: Endpoint, betas: frozenset[str] = frozenset()
) -> ApiFault | None:
    """The refusal that the API would answer with, or None. In a batch it comes as an errored row."""
    strict_version = api_version >= STRICTER_VERSION
    try:
        if not isinstance(params, dict):
            raise Refused("Input should be an object", *(["params"] if endpoint == "batch" else []))
        if endpoint == "batch":
            _refuse_what_batches_lack(params)
        _shape(endpoint, strict_version, betas)(params)
        model = find_model(params["model"])
        if model is None:
            return not_found(f"model: {params['model']}")
        request = Request(params, model, endpoint, strict_version, betas)
        for rule in _RULES:
            rule(request)
    except Refused as refused:
        return invalid_request(str(refused), refused.details)
    return None


def _refuse_what_batches_lack(params: Mapping[str, Any]) -> None:
    if params.get("stream"):
        raise Refused('"stream=True" is not supported in the Message Batches API')
    for name in _NOT_IN_BATCHES:
        if params.get(name) is not None:
            raise Refused(f'"{name}" is not supported in the Message Batches API')


@lru_cache(maxsize=64)
def _shape(endpoint: Endpoint, strict_version: bool, betas: frozenset[str]) -> Check:
    return request_fields(counting=endpoint == "count_tokens", sampling=not strict_version, betas=betas)


def _check_max_tokens(request: Request) -> None:
    if request.endpoint == "count_tokens":
        return
    max_tokens, most = request.params["max_tokens"], _most_output_tokens(request)
    if max_tokens < (1 if request.endpoint == "batch" else 0):
        raise Refused("must be greater than or equal to 1", "max_tokens")
    if max_tokens > most:
        raise Refused(
            f"{max_tokens} > {most}, which is the maximum allowed number of output tokens for {request.model.id}",
            "max_tokens",
        )
    if max_tokens == 0:
        _check_prewarming(request)


def _most_output_tokens(request: Request) -> int:
    extended = request.model.max_output_tokens_extended_batch
    if extended and request.endpoint == "batch" and EXTENDED_OUTPUT_BETA in request.betas:
        return extended
    return request.model.max_output_tokens


def _check_prewarming(request: Request) -> None:
    """Zero tokens fill the cache and answer nothing, so nothing may ask for an answer of some kind."""
    if request.params.get("stream"):
        raise Refused("0 is not supported when `stream` is true", "max_tokens")
    if request.thinking.get("type") == "enabled":
        raise Refused("0 is not supported when thinking is enabled", "max_tokens")
    if request.output_format is not None:
        raise Refused("0 is not supported with `output_config.format`", "max_tokens")
    if request.forces_a_tool:
        raise Refused("0 is not supported when `tool_choice` forces tool use", "max_tokens")


def _check_sampling(request: Request) -> None:
    sent = [name for name in SAMPLING_FIELDS if request.params.get(name) is not None]
    if not sent:
        return
    if request.model.takes_sampling == "never":
        for name in sent:
            if not _is_default(name, request.params[name]):
                raise Refused(f"`{name}` is deprecated for this model.")
        return
    if "temperature" in sent and "top_p" in sent:
        raise Refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if request.thinking.get("type") in ("enabled", "adaptive") and request.params.get("temperature", 1) != 1:
        raise Refused(
            "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please consult our "
            "documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
            "#important-considerations-when-using-extended-thinking"
        )


def _is_default(name: str, value: Any) -> bool:
    return bool(value == 1) if name == "temperature" else bool(name == "top_p" and value >= 0.99)


def _check_speed(request: Request) -> None:
    if request.params.get("speed") == "fast" and not any(beta.startswith(FAST_BETA_PREFIX) for beta in request.betas):
        raise Refused("fast mode needs the `fast-mode-2026-02-01` beta header for this model", "speed")


def _check_stop_sequences(request: Request) -> None:
    if any(not sequence.strip() for sequence in request.params.get("stop_sequences") or ()):
        raise Refused("each stop sequence must contain non-whitespace", "stop_sequences")


def _check_inference_geo(request: Request) -> None:
    # Models before 4.6, which are those that cannot think adaptively, run anywhere.
    if request.params.get("inference_geo") is not None and "adaptive" not in request.model.thinking_types:
        raise Refused("inference_geo is not supported for this model", "inference_geo")


def _check_effort(request: Request) -> None:
    effort, levels = request.effort, request.model.effort_levels
    if effort is None or effort in levels:
        return
    if not levels:
        raise Refused("This model does not support the effort parameter.")
    supported = ", ".join(sorted(levels))
    raise Refused(f"This model does not support effort level '{effort}'. Supported levels: {supported}.")


def _check_thinking(request: Request) -> None:
    kind = request.thinking.get("type")
    if kind is None:
        return
    if kind not in request.model.thinking_types:
        raise Refused(_unsupported_thinking(kind, request.model))
    effort = request.effort or request.model.effort_default
    if kind in request.model.at_most_high_effort and effort in ("xhigh", "max"):
        raise Refused(f"\"thinking.type.{kind}\" is not supported with effort level '{effort}' on this model.")
    if kind == "enabled":
        _check_thinking_budget(request)


def _unsupported_thinking(kind: str, model: EmulatedModel) -> str:
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    refused = f'"thinking.type.{kind}" is not supported for this model.'
    if "adaptive" not in model.thinking_types:
        return refused
    return f'{refused} Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'


def _check_thinking_budget(request: Request) -> None:
    max_tokens = request.params.get("max_tokens")
    if max_tokens is not None and max_tokens <= request.thinking["budget_tokens"]:
        raise Refused(
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
            "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
        )


def _check_tools(request: Request) -> None:
    tools, choice = request.params.get("tools") or (), request.params.get("tool_choice")
    names = [tool["name"] for tool in tools if isinstance(tool.get("name"), str)]
    if len(set(names)) < len(names):
        raise Refused("Tool names must be unique.", "tools")
    if choice is None:
        return
    if request.forces_a_tool and not request.model.takes_forced_tool_choice:
        raise Refused('type "tool" and "any" are not supported for this model.', "tool_choice")
    if choice["type"] == "any" and not tools:
        raise Refused("tool_choice.any may only be specified while providing tools")
    if choice["type"] == "tool" and choice["name"] not in names:
        raise Refused(f"Tool '{choice['name']}' not found in provided tools")
    if request.forces_a_tool and _asks_to_think(request):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _asks_to_think(request: Request) -> bool:
    """Writing out what the model does anyway is the same as leaving it out."""
    kind = request.thinking.get("type")
    return kind == "enabled" or (kind == "adaptive" and not request.model.thinks_by_default)


def _check_output_format(request: Request) -> None:
    if request.output_format is not None:
        check_output_schema(request.output_format["schema"])
    if request.params.get("tools"):
        check_strict_tools(request.params["tools"])


def _check_messages(request: Request) -> None:
    check_messages(
        request.params,
        request.model,
        strict_version=request.strict_version,
        structured=request.output_format is not None,
    )


def _check_marks(request: Request) -> None:
    """Cache breakpoints: at most four, the longer-lived first."""
    marks = list(_marks(request.params))
    automatic = request.params.get("cache_control")
    if automatic is not None:
        marks = _with_automatic_mark(request.params, marks, automatic)
    if len(marks) > MARKS_AT_MOST:
        raise Refused(f"A maximum of {MARKS_AT_MOST} blocks with cache_control may be provided. Found {len(marks)}.")
    shorter_seen = False
    for path, mark in marks:
        if _ttl(mark) == "5m":
            shorter_seen = True
        elif shorter_seen:
            raise Refused(
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
                "Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
                *path,
                "cache_control",
                "ttl",
            )


Path = tuple[str | int, ...]
PathedMark = tuple[Path, Mapping[str, Any]]


def _marks(params: Mapping[str, Any]) -> Iterator[PathedMark]:
    for path, block in _blocks(params):
        mark = block.get("cache_control")
        if mark is not None:
            if block.get("type") == "text" and not block["text"]:
                where = path if path[0] == "system" else (*path, "text")
                raise Refused("cache_control cannot be set for empty text blocks", *where)
            yield path, mark
        if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
            for index, inner in enumerate(block["content"]):
                if inner.get("cache_control") is not None:
                    yield (*path, "content", index), inner["cache_control"]


def _blocks(params: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for index, tool in enumerate(params.get("tools") or ()):
        yield ("tools", index), tool
    system = params.get("system")
    if isinstance(system, list):
        for index, block in enumerate(system):
            yield ("system", index), block
    for at, message in enumerate(params["messages"]):
        if isinstance(message["content"], list):
            for index, block in enumerate(message["content"]):
                yield ("messages", at, "content", index), block


def _with_automatic_mark(
    params: Mapping[str, Any], marks: list[PathedMark], automatic: Mapping[str, Any]
) -> list[PathedMark]:
    """The top-level mark falls on the last cacheable block, takes a slot, and may find a mark there already."""
    target = _last_cacheable(params)
    if target is None:
        return marks
    for path, mark in marks:
        if path == target:
            if _ttl(mark) != _ttl(automatic):
                raise Refused(
                    f"Top-level cache_control has ttl='{_ttl(automatic)}' but the target block already has "
                    f"cache_control with ttl='{_ttl(mark)}'"
                )
            return marks
    return [*marks, ((), automatic)]


def _last_cacheable(params: Mapping[str, Any]) -> Path | None:
    for at in range(len(params["messages"]) - 1, -1, -1):
        content = params["messages"][at]["content"]
        if isinstance(content, str):
            if content:
                return ("messages", at)
            continue
        for index in range(len(content) - 1, -1, -1):
            if _is_cacheable(content[index]):
                return ("messages", at, "content", index)
    system, tools = params.get("system"), params.get("tools")
    if system:
        return ("system",) if isinstance(system, str) else ("system", len(system) - 1)
    return ("tools", len(tools) - 1) if tools else None


def _is_cacheable(block: Mapping[str, Any]) -> bool:
    if block["type"] == "text":
        return bool(block["text"])
    return block["type"] not in ("thinking", "redacted_thinking")


def _ttl(mark: Mapping[str, Any]) -> str:
    return mark.get("ttl") or "5m"


_RULES: tuple[Callable[[Request], None], ...] = (
    _check_max_tokens,
    _check_marks,
    _check_messages,
    _check_stop_sequences,
    _check_sampling,
    _check_speed,
    _check_inference_geo,
    _check_effort,
    _check_thinking,
    _check_tools,
    _check_output_format,
)
