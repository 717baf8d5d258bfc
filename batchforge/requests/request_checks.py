"""One full request and the settings it was made from -> what is wrong with it, each with its place in the job file.

The API would accept the batch and refuse its rows one by one, hours later; so all that can be known is said before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any, Literal

from batchforge.claude_models import ModelInfo, PriceTable, find_model, nearest_models, price_table, retired_on
from batchforge.errors import Location, ProblemList, Severity
from batchforge.requests.model_rules import Asked, model_faults, replacement_hint, sampling_faults
from batchforge.requests.request_form import Fault, Path, parameter_faults

BATCH_REFUSES = {
    "stream": "Answers are stored when they are whole; nothing is streamed.",
    "speed": "Fast mode is for single requests.",
    "store": "",
    "previous_thread_event_id": "",
    "cache_hint": "",
    "context_hint": "",
    "research_preview_2026_02": "",
}
MAX_CACHE_MARKS = 4


def check_request(
    params: Mapping[str, Any],
    *,
    betas: Sequence[str],
    api_version: str,
    mode: Literal["batch", "sync"],
    locations: Mapping[str, Location],
    problems: ProblemList,
    today: date,
    allow_unknown_model: bool = False,
    prices: PriceTable | None = None,
) -> None:
    """Check the request of one row; what all rows share is in it, so it stands for all of them.

    `locations` maps settings of the job file to their places. `prices` holds the project's own ones, if it has any.
    """
    asked = Asked(params, betas, api_version, mode, today)
    faults = _all_faults(asked, prices or price_table(), allow_unknown_model=allow_unknown_model)
    for fault in sorted(faults, key=lambda fault: fault.severity is Severity.WARNING):
        report = problems.add if fault.severity is Severity.ERROR else problems.warn
        words = f"{_words(fault.path, locations)}: {fault.message}"
        report(fault.code, words, location=_place(fault.path, locations), hint=fault.hint)


def _all_faults(asked: Asked, prices: PriceTable, *, allow_unknown_model: bool) -> Iterator[Fault]:
    refused = [name for name in asked.params if asked.mode == "batch" and name in BATCH_REFUSES]
    yield from (Fault("BF403", (name,), "is not taken in batches", BATCH_REFUSES[name]) for name in refused)
    known = {name: value for name, value in asked.params.items() if name not in refused}
    form_faults = list(parameter_faults(known, asked.betas))
    yield from form_faults
    # The rules below read what they judge, so they see only what has the right form.
    malformed = {fault.path[0] for fault in form_faults}
    sound = {name: value for name, value in known.items() if name not in malformed}
    asked = Asked(sound, asked.betas, asked.api_version, asked.mode, asked.today)
    for rule in RULES:
        yield from rule(asked)
    if "model" in sound:
        yield from _model_faults(asked, prices, allow_unknown_model=allow_unknown_model)


def _model_faults(asked: Asked, prices: PriceTable, *, allow_unknown_model: bool) -> Iterator[Fault]:
    name = asked.params["model"]
    model = find_model(name)
    is_declared = allow_unknown_model or (model is None and prices.prices_of(name) is not None)
    if gone := _gone(name, model, asked.today):
        severity = Severity.WARNING if allow_unknown_model else Severity.ERROR
        yield Fault("BF421", ("model",), gone, replacement_hint(name), severity)
        if not allow_unknown_model:
            return
    elif model is None and not is_declared:
        yield _unknown_model(name)
        yield from sampling_faults(asked, None)
        return
    if model is None:
        yield from sampling_faults(asked, None)
    else:
        yield from model_faults(asked, model)
    if doubt := prices.doubt(name, asked.today):
        hint = "Costs that are shown for this job may be wrong."
        yield Fault("BF441", ("model",), doubt, hint, Severity.WARNING)


def _gone(name: str, model: ModelInfo | None, today: date) -> str | None:
    day = retired_on(name)
    if day is None or (model is not None and day > today):
        return None
    return f"{name} was retired on {day.isoformat()}"


def _unknown_model(name: str) -> Fault:
    near = nearest_models(name)
    hint = f"Did you mean {', '.join(near)}?" if near else "`batchforge models` lists those that are known."
    hint += " A model that is newer than this version, or a gateway's own: `--allow-unknown-model`."
    return Fault("BF420", ("model",), f"'{name}' is not a model that is known", hint)


def _betas(asked: Asked) -> Iterator[Fault]:
    for beta in asked.betas:
        if "," in beta:
            yield Fault("BF409", ("betas",), f"'{beta}' is several headers", "Write one entry for each.")
        elif not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", beta):
            yield Fault(
                "BF409", ("betas",), f"'{beta}' is not the name of a beta", "Names look like output-300k-2026-03-24."
            )


def _conversation(asked: Asked) -> Iterator[Fault]:
    messages = asked.params.get("messages") or ()
    if messages and messages[0]["role"] != "user":
        role = messages[0]["role"]
        hint = "Write it under `system:`." if role == "system" else "Put a message of role user before it."
        words = f"the first message should be the user's, and is of role {role}"
        yield Fault("BF404", ("messages", 0), words, hint, Severity.WARNING)
    for path, block in _message_blocks(messages):
        role, kind = messages[path[1]]["role"], block.get("type")
        if (kind in ROLES_OF_BLOCKS and role not in ROLES_OF_BLOCKS[kind]) or (role == "system" and kind != "text"):
            yield Fault("BF404", path, f"a block of type {kind} cannot stand in a message of role {role}")


ROLES_OF_BLOCKS = {
    "tool_use": ("assistant",),
    "thinking": ("assistant",),
    "redacted_thinking": ("assistant",),
    "server_tool_use": ("assistant",),
    "tool_result": ("user",),
}


def _tool_results(asked: Asked) -> Iterator[Fault]:
    """Each tool_use is answered in the next turn, and each tool_result answers one of the turn before."""
    open_ids: set[str] = set()
    for path, blocks in _turns(asked.params.get("messages") or ()):
        answered = {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}
        for missing in sorted(open_ids - answered):
            yield Fault("BF404", path, f"the tool call '{missing}' before it has no tool_result here")
        for stray in sorted(answered - open_ids):
            yield Fault("BF404", path, f"tool_result '{stray}' answers no tool call of the message before")
        open_ids = {block["id"] for block in blocks if block.get("type") == "tool_use"}


def _turns(messages: Sequence[Any]) -> Iterator[tuple[Path, list[Mapping[str, Any]]]]:
    """The blocks of each turn, with the path of its first message: the API joins messages of the same role."""
    numbered = [(index, message) for index, message in enumerate(messages) if message["role"] != "system"]
    for _, group in groupby(numbered, key=lambda entry: entry[1]["role"]):
        turn = list(group)
        yield (
            ("messages", turn[0][0]),
            [block for _, message in turn for _, block in _blocks_of(message["content"], ())],
        )


def _empty_texts(asked: Asked) -> Iterator[Fault]:
    for path, block in _all_blocks(asked.params):
        if block.get("type", "text") != "text" or not isinstance(block.get("text"), str):
            continue
        if not block["text"]:
            yield Fault("BF405", path, "is an empty text, which the API refuses", "Write something, or leave it out.")
        elif not block["text"].strip():
            yield Fault("BF405", path, "holds nothing but white space", "The API may refuse it.", Severity.WARNING)


def _cache_marks(asked: Asked) -> Iterator[Fault]:
    marks = [(path, block) for path, block in _markable(asked.params) if block.get("cache_control")]
    automatic = asked.params.get("cache_control")
    if len(marks) + bool(automatic) > MAX_CACHE_MARKS:
        count = len(marks) + bool(automatic)
        yield Fault("BF406", marks[-1][0], f"{count} cache_control marks; a request takes {MAX_CACHE_MARKS} at most")
    has_short = False
    for path, block in marks:
        if block.get("type") in ("thinking", "redacted_thinking"):
            yield Fault("BF406", path, "a thinking block cannot be marked with cache_control")
        elif block.get("type") == "text" and not block.get("text"):
            yield Fault("BF406", path, "an empty text cannot be marked with cache_control")
        is_long = block["cache_control"].get("ttl") == "1h"
        if is_long and has_short:
            yield Fault("BF406", path, "a mark of 1h must come before those of 5m (order: tools, system, messages)")
        has_short = has_short or not is_long
    if automatic and marks and _is_last_block(marks[-1][0], asked.params):
        explicit = marks[-1][1]["cache_control"]
        if explicit.get("ttl", "5m") != automatic.get("ttl", "5m"):
            yield Fault("BF406", ("cache_control",), "the last block has a mark with another ttl already")


def _is_last_block(path: Path, params: Mapping[str, Any]) -> bool:
    blocks = list(_message_blocks(params.get("messages") or ()))
    return bool(blocks) and blocks[-1][0] == path


def _tools(asked: Asked) -> Iterator[Fault]:
    tools, choice = asked.params.get("tools") or (), asked.params.get("tool_choice")
    names = Counter(tool.get("name") for tool in tools if tool.get("name"))
    for index, tool in enumerate(tools):
        if names[tool.get("name")] > 1:
            yield Fault("BF407", ("tools", index), f"another tool is named '{tool['name']}', too")
    if not choice:
        return
    if not tools:
        if "tools" not in asked.params and not asked.params.get("mcp_servers"):
            yield Fault(
                "BF407", ("tool_choice",), "there are no tools to choose from", "Add `tools:`, or leave it out."
            )
    elif choice["type"] == "tool" and choice["name"] not in names and all(tool.get("name") for tool in tools):
        hint = f"Tools are: {', '.join(sorted(names))}."
        yield Fault("BF407", ("tool_choice",), f"there is no tool named '{choice['name']}'", hint)


def _citations(asked: Asked) -> Iterator[Fault]:
    if not asked.output_format:
        return
    for path, block in _message_blocks(asked.params.get("messages") or ()):
        citations = block.get("citations")
        if isinstance(citations, Mapping) and citations.get("enabled"):
            hint = "Leave one of them out."
            yield Fault("BF408", path, "citations do not go together with a fixed form of answer (`output:`)", hint)


def _version_rules(asked: Asked) -> Iterator[Fault]:
    if not asked.is_current_version:
        return
    messages = asked.params.get("messages") or ()
    for path, block in _message_blocks(messages):
        role = messages[path[1]]["role"]
        if role == "assistant" and block.get("type") == "document":
            message = f"a document cannot stand in an assistant message under API version {asked.api_version}"
            yield Fault("BF413", path, message, "Put it into a user message.")
        parts = [block, *(block.get("content") or ())] if block.get("type") == "search_result" else [block]
        if role == "user" and any(part.get("type") == "text" and part.get("citations") for part in parts):
            message = f"a text of the user cannot carry citations under API version {asked.api_version}"
            yield Fault("BF413", path, message, "Leave `citations` out.")


RULES = (
    _betas,
    _conversation,
    _tool_results,
    _empty_texts,
    _cache_marks,
    _tools,
    _citations,
    _version_rules,
)


def _blocks_of(content: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(content, str):
        yield path, {"type": "text", "text": content}
    elif isinstance(content, list | tuple):
        for index, block in enumerate(content):
            if isinstance(block, Mapping):
                yield (*path, index), block


def _message_blocks(messages: Sequence[Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The blocks of a conversation, with paths that begin ("messages", index of the message)."""
    for index, message in enumerate(messages):
        yield from _blocks_of(message["content"], ("messages", index, "content"))


def _all_blocks(params: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """System and messages, in the order of the prompt, and what stands inside tool results."""
    yield from _blocks_of(params.get("system"), ("system",))
    for path, block in _message_blocks(params.get("messages") or ()):
        yield path, block
        if block.get("type") == "tool_result" and not isinstance(block.get("content"), str):
            yield from _blocks_of(block.get("content"), (*path, "content"))


def _markable(params: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for index, tool in enumerate(params.get("tools") or ()):
        yield ("tools", index), tool
    yield from _all_blocks(params)


SETTINGS_OF_PARAMETERS = {"messages": ("user", "messages"), "system": ("system",)}
SETTINGS_OF_OUTPUT_CONFIG = {"effort": "effort", "format": "output"}


def _settings(path: Path) -> tuple[str, ...]:
    """The settings of a job file that a part of the request can have been made from."""
    name = str(path[0])
    if name == "output_config" and len(path) > 1:
        return (SETTINGS_OF_OUTPUT_CONFIG.get(str(path[1]), name), name, "params")
    return (*SETTINGS_OF_PARAMETERS.get(name, (name,)), "params")


def _place(path: Path, locations: Mapping[str, Location]) -> Location | None:
    for setting in _settings(path):
        if setting in locations:
            return locations[setting]
    # Nothing was written there: name at least the job file, in which these always stand.
    written = next((locations[name] for name in ("user", "messages", "input", "model") if name in locations), None)
    return Location(written.path) if written else None


def _words(path: Path, locations: Mapping[str, Location]) -> str:
    """The path in the terms of the job file: `user`, `messages, message 2, block 1`, `tools, tool 1`, `effort`."""
    setting = next((name for name in _settings(path) if name in locations), _settings(path)[0])
    if path[0] == "output_config" and len(path) > 1 and path[1] in SETTINGS_OF_OUTPUT_CONFIG:
        return ", ".join([SETTINGS_OF_OUTPUT_CONFIG[str(path[1])], *_steps(path[2:])])
    if path[0] == "messages" and setting == "user":
        return ", ".join(["user", *_steps(path[2:])])
    return ", ".join([str(path[0]), *_steps(path[1:], str(path[0]))])


def _steps(path: Path, within: str = "content") -> Iterator[str]:
    """Lists are counted from 1 and named after what they hold; field names stay."""
    for step in path:
        if isinstance(step, int):
            yield f"{ITEMS.get(within, 'entry')} {step + 1}"
        elif step != "content":
            yield str(step)
        within = str(step)


ITEMS = {"messages": "message", "content": "block", "system": "block", "tools": "tool"}
