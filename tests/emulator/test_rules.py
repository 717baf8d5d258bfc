"""What the API refuses. The facts of each model are typed by hand here, so that a wrong datum cannot prove itself."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.emulator.api_fault import ApiFault, fault_of_status
from batchforge.emulator.models import find_model, list_models, model_info, retired_model_infos
from batchforge.emulator.rules import Endpoint, check_params

NEW, OLD = "2026-10-21", "2023-06-01"
BIG = frozenset({"output-300k-2026-03-24"})


class Facts(NamedTuple):
    context: int
    max_output: int
    in_extended_batches: int | None
    min_cacheable: int
    thinking: str
    default: str
    efforts: str
    forced_tools: bool
    prefill: bool
    sampling: bool


FIVE = "low medium high xhigh max"
FOUR = "low medium high max"
FACTS: Mapping[str, Facts] = {
    "claude-fable-5-2": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, False, False, False),
    "claude-mythos-5-2": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, False, False, False),
    "claude-fable-5-1": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, False, False, False),
    "claude-mythos-5-1": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, False, False, False),
    "claude-opus-5-5": Facts(10**6, 128_000, 300_000, 512, "adaptive", "always_on", FIVE, False, False, False),
    "claude-sonnet-5-5": Facts(10**6, 128_000, 300_000, 512, "adaptive between_tools", "on", FIVE, False, False, False),
    "claude-haiku-5-5": Facts(10**6, 128_000, 300_000, 512, "adaptive disabled", "on", FIVE, True, False, False),
    "claude-sonnet-5": Facts(10**6, 128_000, 300_000, 1024, "adaptive disabled", "on", FIVE, True, False, False),
    "claude-fable-5": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, True, False, False),
    "claude-mythos-5": Facts(10**6, 128_000, None, 512, "adaptive", "always_on", FIVE, True, False, False),
    "claude-opus-5": Facts(10**6, 128_000, 300_000, 512, "adaptive disabled", "on", FIVE, True, False, False),
    "claude-opus-4-8": Facts(10**6, 128_000, 300_000, 1024, "adaptive disabled", "off", FIVE, True, False, False),
    "claude-opus-4-7": Facts(10**6, 128_000, 300_000, 2048, "adaptive disabled", "off", FIVE, True, False, False),
    "claude-opus-4-6": Facts(
        10**6, 128_000, 300_000, 4096, "adaptive enabled disabled", "off", FOUR, True, False, True
    ),
    "claude-sonnet-4-6": Facts(
        10**6, 128_000, 300_000, 1024, "adaptive enabled disabled", "off", FOUR, True, False, True
    ),
    "claude-opus-4-5-20251101": Facts(
        200_000, 64_000, None, 4096, "enabled disabled", "off", "low medium high", True, True, True
    ),
    "claude-haiku-4-5-20251001": Facts(200_000, 64_000, None, 4096, "enabled disabled", "off", "", True, True, True),
    "claude-sonnet-4-5-20250929": Facts(200_000, 64_000, None, 1024, "enabled disabled", "off", "", True, True, True),
}
MODELS = sorted(FACTS)
TOOL = {"name": "look_up", "description": "Looks it up", "input_schema": {"type": "object", "properties": {}}}


def params(**changes: Any) -> dict[str, Any]:
    base = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def refusal(
    value: object, *, version: str = NEW, endpoint: Endpoint = "messages", betas: frozenset[str] = frozenset()
) -> str | None:
    fault = check_params(value, api_version=version, endpoint=endpoint, betas=betas)
    return None if fault is None else fault.message


def in_batch(value: object, betas: frozenset[str] = frozenset()) -> str | None:
    return refusal(value, endpoint="batch", betas=betas)


def user(*blocks: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def text(value: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def marked(value: str = "Hello", ttl: str | None = None) -> dict[str, Any]:
    return text(value, cache_control={"type": "ephemeral", **({"ttl": ttl} if ttl else {})})


# Faults


def test_a_fault_is_nested_once_by_itself_and_twice_in_a_batch() -> None:
    fault = ApiFault(400, "invalid_request_error", "No.", {"error_code": "x"})
    assert fault.body("req_1") == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "No.", "details": {"error_code": "x"}},
        "request_id": "req_1",
    }
    error = {
        "details": {"error_visibility": "user_facing", "error_code": "x"},
        "type": "invalid_request_error",
        "message": "No.",
    }
    assert fault.errored_result() == {
        "type": "errored",
        "error": {"type": "error", "error": error, "request_id": None},
    }
    assert "details" not in ApiFault(400, "invalid_request_error", "No.").body(None)["error"]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (418, "invalid_request_error"), (529, "overloaded_error"),
                         (502, "api_error"), (504, "timeout_error"), (409, "conflict_error")]
)  # fmt: skip
def test_a_status_has_its_type_or_that_of_its_hundred(status: int, kind: str) -> None:
    assert fault_of_status(status, "x") == ApiFault(status, kind, "x")


# Models


@pytest.mark.parametrize("model_id", MODELS)
def test_each_model_has_its_published_limits(model_id: str) -> None:
    model, facts = find_model(model_id), FACTS[model_id]
    assert model is not None
    assert model.context_window_tokens == facts.context
    assert model.min_cacheable_tokens == facts.min_cacheable
    assert model.thinking_default == facts.default


def test_the_table_here_names_every_model_but_the_preview() -> None:
    assert {model.id for model in list_models()} == {*FACTS, "claude-mythos-preview"}


@pytest.mark.parametrize("model_id", MODELS)
def test_each_model_caps_max_tokens_in_the_words_of_the_api(model_id: str) -> None:
    most = FACTS[model_id].max_output
    assert refusal(params(model=model_id, max_tokens=most)) is None
    assert refusal(params(model=model_id, max_tokens=most + 1)) == (
        f"max_tokens: {most + 1} > {most}, which is the maximum allowed number of output tokens for {model_id}"
    )


@pytest.mark.parametrize("model_id", MODELS)
def test_the_extended_output_beta_raises_the_cap_of_some_models_in_batches_only(model_id: str) -> None:
    facts = FACTS[model_id]
    most = facts.in_extended_batches or facts.max_output
    assert in_batch(params(model=model_id, max_tokens=most), BIG) is None
    assert in_batch(params(model=model_id, max_tokens=most + 1), BIG) is not None
    assert refusal(params(model=model_id, max_tokens=facts.max_output + 1), betas=BIG) is not None
    assert in_batch(params(model=model_id, max_tokens=facts.max_output + 1)) is not None


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize("kind", ["adaptive", "between_tools", "disabled", "enabled"])
def test_each_model_takes_its_own_kinds_of_thinking(model_id: str, kind: str) -> None:
    thinking = {"type": kind, **({"budget_tokens": 1024} if kind == "enabled" else {})}
    message = refusal(params(model=model_id, max_tokens=2000, thinking=thinking))
    if kind in FACTS[model_id].thinking.split():
        assert message is None
    elif kind == "adaptive":
        assert message == "adaptive thinking is not supported on this model"
    elif "adaptive" in FACTS[model_id].thinking:
        assert message == (
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    else:
        assert message is not None


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_each_model_takes_its_own_levels_of_effort(model_id: str, effort: str) -> None:
    message = refusal(params(model=model_id, output_config={"effort": effort}))
    efforts = FACTS[model_id].efforts.split()
    if effort in efforts:
        assert message is None
    elif efforts:
        levels = ", ".join(sorted(efforts))
        assert message == f"This model does not support effort level '{effort}'. Supported levels: {levels}."
    else:
        assert message == "This model does not support the effort parameter."


def test_an_unsupported_effort_is_refused_in_the_recorded_words() -> None:
    assert refusal(params(output_config={"effort": "xhigh"})) == (
        "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium."
    )


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize("endpoint", ["messages", "batch", "count_tokens"])
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look_up"}])
def test_the_newest_models_refuse_forced_tools_everywhere(
    model_id: str, endpoint: Endpoint, choice: dict[str, str]
) -> None:
    asked = params(model=model_id, tools=[TOOL], tool_choice=choice)
    if endpoint == "count_tokens":
        del asked["max_tokens"]
    message = refusal(asked, endpoint=endpoint)
    if FACTS[model_id].forced_tools:
        assert message is None
    else:
        assert message == 'tool_choice: type "tool" and "any" are not supported for this model.'


@pytest.mark.parametrize("model_id", MODELS)
def test_only_models_up_to_4_5_take_a_prefilled_answer(model_id: str) -> None:
    messages = [{"role": "user", "content": "Sun in Greek?"}, {"role": "assistant", "content": "It is"}]
    message = refusal(params(model=model_id, messages=messages))
    if FACTS[model_id].prefill:
        assert message is None
    else:
        assert message == (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize(("name", "value"), [("temperature", 0.5), ("top_p", 0.5), ("top_k", 5)])
def test_sampling_is_refused_by_the_new_version_and_taken_by_the_old_where_the_model_did(
    model_id: str, name: str, value: float
) -> None:
    asked = params(model=model_id, **{name: value})
    assert refusal(asked) == f"{name}: Extra inputs are not permitted"
    assert refusal(params(model=model_id, temperature=None)) == "temperature: Extra inputs are not permitted"
    expected = None if FACTS[model_id].sampling else f"`{name}` is deprecated for this model."
    assert refusal(asked, version=OLD) == expected
    assert refusal(params(model=model_id, temperature=1), version=OLD) is None


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [("claude-opus-5", "disabled"), ("claude-haiku-5-5", "disabled"), ("claude-sonnet-5-5", "between_tools")],
)
@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_some_ways_not_to_think_go_only_with_efforts_up_to_high(model_id: str, kind: str, effort: str) -> None:
    asked = params(model=model_id, thinking={"type": kind}, output_config={"effort": effort})
    assert (refusal(asked) is None) == (effort not in ("xhigh", "max"))


def test_sonnet_5_takes_disabled_thinking_at_every_effort() -> None:
    asked = params(model="claude-sonnet-5", thinking={"type": "disabled"}, output_config={"effort": "max"})
    assert refusal(asked) is None


@pytest.mark.parametrize("alias", ["claude-opus-4-5", "claude-haiku-4-5", "claude-sonnet-4-5"])
def test_an_alias_is_answered_by_its_dated_model(alias: str) -> None:
    message = refusal(params(model=alias, max_tokens=64_001))
    assert message is not None
    assert f"for {alias}-2025" in message


@pytest.mark.parametrize("model_id", ["claude-none", "claude-3-haiku-20240307", "claude-opus-4-1-20250805", ""])
def test_an_unknown_or_retired_model_is_not_found(model_id: str) -> None:
    fault = check_params(params(model=model_id), api_version=NEW, endpoint="batch", betas=frozenset())
    assert fault == ApiFault(404, "not_found_error", f"model: {model_id}")


def test_a_model_shows_its_capabilities_as_the_models_endpoint_does() -> None:
    model = find_model("claude-sonnet-5-5")
    assert model is not None
    info = model_info(model)
    assert list(info) == [
        "id", "type", "display_name", "created_at", "lifecycle", "line", "deprecated_at", "retires_at",
        "max_input_tokens", "max_tokens", "capabilities",
    ]  # fmt: skip
    assert info["display_name"] == "Claude Sonnet 5.5"
    assert info["line"] == "sonnet"
    assert info["created_at"] == "2026-09-28T00:00:00Z"
    assert info["capabilities"]["thinking"]["types"]["between_tools"] == {"supported": True}
    assert info["capabilities"]["thinking"]["types"]["enabled"] == {"supported": False}
    assert info["capabilities"]["effort"]["xhigh"] == {"supported": True}


def test_retired_models_are_listed_apart_and_named_as_they_were() -> None:
    names = {info["id"]: (info["display_name"], info["line"], info["lifecycle"]) for info in retired_model_infos()}
    assert names["claude-opus-4-1-20250805"] == ("Claude Opus 4.1", "opus", "retired")
    assert names["claude-3-5-haiku-20241022"] == ("Claude Haiku 3.5", "haiku", "retired")
    assert all(find_model(name) is None for name in names)


# Shape


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (params(messages=...), "messages: Field required"),
        (params(max_tokens=...), "max_tokens: Field required"),
        (params(model=...), "model: Field required"),
        ({}, "model: Field required"),
        (params(messages=[]), "messages: at least one message is required"),
        (params(messages="Hello"), "messages: Input should be a valid list"),
        (params(messages=[{"role": "user"}]), "messages.0.content: Field required"),
        (params(messages=[{"role": "user", "content": 3}]), "messages.0.content: Input should be a valid list"),
        (params(messages=[{"role": "tool", "content": "x"}]),
         "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
        (params(messages=user({"type": "text"})), "messages.0.content.0.text.text: Field required"),
        (params(messages=user({"text": "x"})), "messages.0.content.0.type: Field required"),
        (params(messages=user(text(note="x"))), "messages.0.content.0.text.note: Extra inputs are not permitted"),
        (params(max_tokens="100"), "max_tokens: Input should be a valid integer"),
        (params(max_tokens=True), "max_tokens: Input should be a valid integer"),
        (params(betas=["x"]), "betas: Extra inputs are not permitted"),
        (params(user_profile_id="x"), "user_profile_id: Extra inputs are not permitted"),
        (params(system=[{"type": "image"}]),
         "system.0: Input tag 'image' found using 'type' does not match any of the expected tags: 'text'"),
        (params(metadata={"user": "x"}), "metadata.user: Extra inputs are not permitted"),
        (params(tools=[{"name": "x"}]), "tools.0.custom.input_schema: Field required"),
        (params(tools=[{"name": "x", "input_schema": {}}]), "tools.0.custom.input_schema.type: Field required"),
        (params(tools=[{**TOOL, "name": "two words"}]),
         "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
        (params(thinking={"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
        (params(thinking={"type": "enabled", "budget_tokens": 1023}),
         "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
        (params(tool_choice={"type": "tool"}, tools=[TOOL]), "tool_choice.tool.name: Field required"),
        (params(output_config={"format": {"type": "json_schema"}}),
         "output_config.format.json_schema.schema: Field required"),
        (params(output_config={"effort": "huge"}),
         "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"),
        (params(cache_control={"type": "ephemeral", "ttl": "2h"}),
         "cache_control.ephemeral.ttl: Input should be '5m' or '1h'"),
        (params(model="claude-sonnet-5-5", thinking={"type": "between_tools", "display": "omitted"}),
         "thinking.between_tools.display: Extra inputs are not permitted"),
        ([], "Input should be an object"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_named_by_its_dotted_path(value: object, expected: str) -> None:
    assert refusal(value) == expected


def test_a_request_with_everything_in_it_is_taken() -> None:
    asked = params(
        model="claude-opus-4-6",
        max_tokens=4000,
        system=[text("Be brief."), marked("Be kind.", "1h")],
        messages=[
            {"role": "user", "content": [text("Look it up"), image(), document()]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "c2ln"}, text("I will."),
                {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"q": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("found"), image()]}, marked(),
            ]},
        ],
        tools=[TOOL, {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high"},
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        service_tier="auto",
        inference_geo="us",
        cache_control={"type": "ephemeral"},
        stream=False,
    )  # fmt: skip
    assert refusal(asked) is None
    assert in_batch(asked) is None


def test_counting_takes_no_max_tokens_and_nothing_about_the_answer() -> None:
    counted = params(max_tokens=..., system="x", tools=[TOOL], cache_control={"type": "ephemeral"})
    assert refusal(counted, endpoint="count_tokens") is None
    assert refusal(params(), endpoint="count_tokens") == "max_tokens: Extra inputs are not permitted"


def test_a_beta_header_opens_its_field() -> None:
    asked = params(context_management={"edits": []})
    assert refusal(asked) == "context_management: Extra inputs are not permitted"
    assert refusal(asked, betas=frozenset({"context-management-2025-06-27"})) is None


# Batches


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stream": True}, '"stream=True" is not supported in the Message Batches API'),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"max_tokens": -1}, "max_tokens: must be greater than or equal to 1"),
        ({"betas": ["x"]}, "betas: Extra inputs are not permitted"),
    ],
)
def test_batches_refuse_what_cannot_be_in_them(changes: dict[str, Any], expected: str) -> None:
    assert in_batch(params(**changes)) == expected


@pytest.mark.parametrize(
    "name", ["speed", "store", "previous_thread_event_id", "cache_hint", "context_hint", "research_preview_2026_02"]
)
def test_batches_refuse_fields_of_the_synchronous_endpoint(name: str) -> None:
    assert in_batch(params(**{name: "active"})) is not None


def test_zero_tokens_warm_the_cache_outside_batches_and_ask_for_nothing_else() -> None:
    assert refusal(params(max_tokens=0)) is None
    assert refusal(params(max_tokens=0, stream=True)) is not None
    assert refusal(params(max_tokens=0, thinking={"type": "enabled", "budget_tokens": 1024})) is not None
    assert refusal(params(max_tokens=0, tools=[TOOL], tool_choice={"type": "any"})) is not None
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    output_config = {"format": {"type": "json_schema", "schema": schema}}
    assert refusal(params(max_tokens=0, output_config=output_config)) is not None


# Thinking, tools


def test_max_tokens_must_be_more_than_the_thinking_budget() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    message = refusal(params(max_tokens=2000, thinking=thinking))
    assert message is not None
    assert message.startswith("`max_tokens` must be greater than `thinking.budget_tokens`. ")
    assert refusal(params(max_tokens=2001, thinking=thinking)) is None


def test_thinking_that_is_asked_for_does_not_go_with_a_forced_tool() -> None:
    asked = params(
        max_tokens=2000, tools=[TOOL], tool_choice={"type": "any"}, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    assert refusal(asked) == "Thinking may not be enabled when tool_choice forces tool use."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found in provided tools"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tool_choice": {"type": "any"}}, "tool_choice.any may only be specified while providing tools"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found in provided tools"),
        ({"tool_choice": {"type": "auto"}}, None),
        ({"tool_choice": {"type": "none"}}, None),
    ],
)
def test_tools_and_their_choice_must_fit(changes: dict[str, Any], expected: str | None) -> None:
    assert refusal(params(**changes)) == expected


def use(tool_use_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_use_id, "name": "look_up", "input": {}}


def result(tool_use_id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_use_id, "content": "found"}


def turns(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]


def test_a_call_must_be_answered_in_the_next_turn() -> None:
    message = refusal(params(messages=turns("Hi", [use("a"), use("b")], [result("a")])))
    assert message == (
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b. Each `tool_use` "
        "block must have a corresponding `tool_result` block in the next message."
    )
    assert refusal(params(messages=turns("Hi", [use("a"), use("b")], [result("b"), result("a")]))) is None
    assert refusal(params(messages=turns("Hi", [use("a")], "no", [use("b")], [result("b")]))) is not None


def test_an_answer_needs_its_call_in_the_turn_before() -> None:
    expected = (
        "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: z. Each `tool_result` block "
        "must have a corresponding `tool_use` block in the previous message."
    )
    assert refusal(params(messages=turns("Hi", [use("a")], [result("z")]))) == expected
    late = turns("Hi", [use("a")], [result("a")], "Well", [result("a")])
    assert refusal(params(messages=late)) is not None


def test_turns_of_one_side_in_a_row_count_as_one() -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [use("a")]},
        {"role": "assistant", "content": [use("b")]},
        {"role": "user", "content": [result("a")]},
        {"role": "user", "content": [result("b")]},
    ]
    assert refusal(params(messages=messages)) is None


def test_calls_come_from_the_assistant_and_their_results_from_the_user() -> None:
    assert refusal(params(messages=user(use("a")))) == (
        "messages.0: `tool_use` blocks can only be in `assistant` messages"
    )
    assert refusal(params(messages=turns("Hi", [result("a")], "x"))) == (
        "messages.1: `tool_result` blocks can only be in `user` messages"
    )
    thought = {"type": "thinking", "thinking": "", "signature": "x"}
    assert refusal(params(messages=user(thought))) == (
        "messages.0.content: thinking blocks may only be in `assistant` messages"
    )


def test_each_call_has_an_id_of_its_own() -> None:
    messages = turns("Hi", [use("a")], [result("a")], [use("a")], [result("a")])
    assert refusal(params(messages=messages)) == "messages.3.content.0: `tool_use` ids must be unique"


# Messages


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (user(text("")), "messages: text content blocks must be non-empty"),
        (user(text(" \n")), "messages: text content blocks must contain non-whitespace text"),
        (
            user(),
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
        (
            [{"role": "user", "content": ""}],
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
    ],
)
def test_empty_texts_are_refused(messages: list[Any], expected: str) -> None:
    assert refusal(params(messages=messages)) == expected


def test_a_prefilled_answer_may_not_end_in_a_blank() -> None:
    asked = params(model="claude-haiku-4-5", messages=turns("Sun?", "It is "))
    assert refusal(asked) == "messages: final assistant content cannot end with trailing whitespace"


def test_an_empty_last_answer_is_taken_where_prefills_are() -> None:
    assert refusal(params(model="claude-haiku-4-5", messages=turns("Sun?", ""))) is None


def test_a_turn_that_the_server_paused_may_be_sent_back() -> None:
    paused = [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}]
    asked = params(messages=turns("Sun?", paused), tools=[{"type": "web_search_20260318", "name": "web_search"}])
    assert refusal(asked) is None


@pytest.mark.parametrize(
    ("model_id", "taken"),
    [
        ("claude-opus-5-5", True),
        ("claude-opus-5", True),
        ("claude-opus-4-8", True),
        ("claude-fable-5", True),
        ("claude-sonnet-5", False),
        ("claude-opus-4-7", False),
        ("claude-sonnet-4-6", False),
        ("claude-haiku-4-5", False),
    ],
)
def test_system_messages_inside_a_conversation_are_taken_since_opus_4_8(model_id: str, taken: bool) -> None:
    messages = [*turns("Hi", "Hello"), {"role": "system", "content": "Be brief"}, {"role": "user", "content": "Go on"}]
    expected = None if taken else "role 'system' is not supported on this model"
    assert refusal(params(model=model_id, messages=messages)) == expected


def test_a_conversation_does_not_begin_with_a_system_message() -> None:
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert refusal(params(model="claude-opus-5", messages=messages)) == (
        "messages.0: use the top-level 'system' parameter for the initial system prompt"
    )


def test_the_new_version_refuses_a_document_that_the_assistant_brings() -> None:
    messages = turns("Hi", [document()], "And?")
    assert refusal(params(messages=messages)) is not None
    assert refusal(params(messages=messages), version=OLD) is None


def test_the_new_version_refuses_citations_in_what_the_user_says() -> None:
    cited = text("x", citations=[{"type": "char_location"}])
    found = {"type": "search_result", "source": "s", "title": "t", "content": [cited]}
    for block in (cited, found):
        assert refusal(params(messages=user(block))) is not None
        assert refusal(params(messages=user(block)), version=OLD) is None
    assert refusal(params(messages=user(text("x", citations=[])))) is None
    assert refusal(params(messages=turns("Hi", [cited], "And?"))) is None


def test_a_prompt_longer_than_the_context_window_is_refused_with_its_count() -> None:
    message = refusal(params(model="claude-haiku-4-5", messages=[{"role": "user", "content": "word " * 300_000}]))
    assert message is not None
    assert message.startswith("prompt is too long: ")
    assert message.endswith(" tokens > 200000 maximum")
    assert refusal(params(model="claude-haiku-4-5", messages=[{"role": "user", "content": "word " * 100_000}])) is None


# Cache control


def test_four_marks_are_taken_and_five_are_not() -> None:
    assert refusal(params(messages=user(*[marked()] * 4))) is None
    assert refusal(params(messages=user(*[marked()] * 5))) == (
        "A maximum of 4 blocks with cache_control may be provided. Found 5."
    )


def test_marks_are_counted_over_tools_system_and_messages() -> None:
    tools = [{**TOOL, "cache_control": {"type": "ephemeral"}}]
    assert refusal(params(tools=tools, system=[marked()], messages=user(marked(), marked()))) is None
    assert refusal(params(tools=tools, system=[marked()], messages=user(marked(), marked(), marked()))) is not None


def test_the_automatic_mark_takes_the_fifth_slot_unless_it_falls_on_a_mark() -> None:
    automatic = {"type": "ephemeral"}
    assert refusal(params(messages=user(*[marked()] * 4), cache_control=automatic)) is None
    assert refusal(params(messages=user(*[marked()] * 4, text()), cache_control=automatic)) is not None
    assert refusal(params(messages=user(*[marked()] * 3, text()), cache_control=automatic)) is None


def test_the_automatic_mark_must_agree_with_a_mark_that_it_falls_on() -> None:
    asked = params(messages=user(marked("x", "1h")), cache_control={"type": "ephemeral"})
    assert refusal(asked) == (
        "Top-level cache_control has ttl='5m' but the target block already has cache_control with ttl='1h'"
    )
    assert refusal(params(messages=user(marked("x", "1h")), cache_control={"type": "ephemeral", "ttl": "1h"})) is None


def test_an_hour_may_not_come_after_five_minutes() -> None:
    order = (
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are "
        "processed in the following order: `tools`, `system`, `messages`."
    )
    late = params(system=[marked("a"), marked("b", "1h")])
    assert refusal(late) == f"system.1.cache_control.ttl: {order}"
    assert refusal(params(system=[marked()], messages=user(marked("x", "1h")))) == (
        f"messages.0.content.0.cache_control.ttl: {order}"
    )
    assert refusal(params(system=[marked("a", "1h")], messages=user(marked()))) is None


def test_empty_text_and_thinking_cannot_be_marked() -> None:
    assert refusal(params(messages=user(text(), marked("")))) == (
        "messages.0.content.1.text: cache_control cannot be set for empty text blocks"
    )
    assert refusal(params(system=[marked("")])) == "system.0: cache_control cannot be set for empty text blocks"
    thought = {"type": "thinking", "thinking": "", "signature": "", "cache_control": {"type": "ephemeral"}}
    assert refusal(params(messages=turns("Hi", [thought, text()], "x"))) == (
        "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted"
    )


# Images and documents


def png(width: int = 10, height: int = 10) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"


def image(data: bytes = png(), media_type: str = "image/png") -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": b64encode(data).decode()}
    return {"type": "image", "source": source}


def document(data: bytes = b"%PDF-1.7 /Type /Page", **more: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": b64encode(data).decode()}
    return {"type": "document", "source": source, **more}


def test_an_image_is_refused_for_its_type_its_bytes_or_its_size() -> None:
    assert refusal(params(messages=user(image()))) is None
    assert refusal(params(messages=user(image(b"no image")))) == "Could not process image"
    assert refusal(params(messages=user(image(png(), "image/jpeg")))) is not None
    too_wide = check_params(
        params(messages=user(image(png(8001, 5)))), api_version=NEW, endpoint="messages", betas=frozenset()
    )
    assert too_wide is not None
    assert too_wide.message == (
        "messages.0.content.0.image.source.base64.data: At least one of the image dimensions exceed max allowed "
        "size: 8000 pixels"
    )
    assert too_wide.details == {
        "error_code": "image_dimensions_too_large",
        "max_side_length_pixels": 8000,
        "paths": ["messages.0.content.0.image.source.base64.data"],
    }


def test_many_images_must_be_smaller() -> None:
    large = image(png(2001, 10))
    assert refusal(params(messages=user(*[large] * 20))) is None
    assert refusal(params(messages=user(*[large] * 21))) is not None


@pytest.mark.parametrize(("model_id", "most"), [("claude-haiku-4-5", 100), ("claude-opus-4-6", 600)])
def test_images_and_pages_together_have_a_limit(model_id: str, most: int) -> None:
    assert refusal(params(model=model_id, messages=user(*[image()] * most))) is None
    message = refusal(params(model=model_id, messages=user(document(), *[image()] * most)))
    assert message == f"messages: Too much media: 1 document pages + {most} images > {most}"


def test_a_pdf_must_be_one_and_not_too_long() -> None:
    assert refusal(params(messages=user(document()))) is None
    assert refusal(params(messages=user(document(b"Dear Sir")))) is not None
    long = document(b"%PDF-1.7" + b"/Type /Page " * 101)
    assert refusal(params(model="claude-haiku-4-5", messages=user(long))) is not None
    assert refusal(params(model="claude-opus-4-6", messages=user(long))) is None


@pytest.mark.parametrize("url", ["https://pictures.invalid/a.png", "ftp://example.com/a.png", "http://[", "a.png"])
def test_an_address_that_cannot_be_fetched_is_refused(url: str) -> None:
    assert refusal(params(messages=user({"type": "image", "source": {"type": "url", "url": url}}))) is not None


def test_an_address_is_taken_unfetched() -> None:
    source = {"type": "url", "url": "https://example.com/a.png"}
    assert refusal(params(messages=user({"type": "image", "source": source}))) is None


# Structured outputs


def structured(schema: object) -> str | None:
    return refusal(params(output_config={"format": {"type": "json_schema", "schema": schema}}))


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


@pytest.mark.parametrize(
    "schema",
    [
        closed({}),
        closed({"a": {"type": "string", "enum": ["x", "y"]}}, required=["a"]),
        closed({"a": {"type": ["string", "null"]}}),
        closed({"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}),
        closed({"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": closed({"c": {"const": 3}})}}),
        closed({"a": {"type": "array", "items": {"type": "integer"}, "minItems": 1}}),
        closed({"a": {"type": "string", "format": "date-time"}}),
        closed({"a": {"type": "string", "pattern": "^[A-Z]{2}\\d+$"}}),
        closed({"a": {"allOf": [closed({"b": {"type": "boolean"}})]}}),
        closed({"a": {"type": "string", "default": "x", "description": "d", "title": "t"}}),
        closed({"a": {"type": "string"}, "type": {"type": "string"}, "minLength": {"type": "integer"}}),
        {"type": "string"},
    ],
)
def test_the_documented_subset_of_json_schema_is_taken(schema: dict[str, Any]) -> None:
    assert structured(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {}, "additionalProperties": True},
        closed({"a": {"type": "object", "properties": {}}}),
        closed({"a": {"type": "integer", "minimum": 0}}),
        closed({"a": {"type": "number", "multipleOf": 2}}),
        closed({"a": {"type": "string", "minLength": 1}}),
        closed({"a": {"type": "string", "maxLength": 1}}),
        closed({"a": {"type": "string", "format": "phone"}}),
        closed({"a": {"type": "string", "pattern": "(?=x)y"}}),
        closed({"a": {"type": "string", "pattern": "\\bx"}}),
        closed({"a": {"type": "string", "pattern": "(x)\\1"}}),
        closed({"a": {"type": "string", "pattern": "("}}),
        closed({"a": {"type": "array", "items": {"type": "string"}, "minItems": 2}}),
        closed({"a": {"type": "array", "items": {"type": "string"}, "maxItems": 2}}),
        closed({"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}),
        closed({"a": {"enum": [{"x": 1}]}}),
        closed({"a": {"enum": []}}),
        closed({"a": {"$ref": "https://example.com/schema.json"}}),
        closed({"a": {"$ref": "#/$defs/none"}}),
        closed({"a": {"$ref": "#/$defs/b", "allOf": []}}, **{"$defs": {"b": {"type": "string"}}}),
        closed({"a": {"$ref": "#"}}),
        closed({"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": closed({"c": {"$ref": "#/$defs/b"}})}}),
        closed({"a": {"type": "text"}}),
        closed({"a": {}}),
        closed({}, required=["a"]),
        closed({"a": {"oneOf": [{"type": "string"}]}}),
        closed({f"p{n}": {"type": "string"} for n in range(25)}),
        closed({f"p{n}": {"type": ["string", "null"]} for n in range(17)}, required=[f"p{n}" for n in range(17)]),
        {"properties": 3},
        {"type": 3},
    ],
)
def test_what_is_outside_of_the_subset_is_refused(schema: dict[str, Any]) -> None:
    assert structured(schema) is not None


def test_recursion_by_way_of_another_definition_is_refused() -> None:
    defs = {"b": closed({"c": {"$ref": "#/$defs/c"}}), "c": closed({"b": {"$ref": "#/$defs/b"}})}
    message = structured(closed({"a": {"$ref": "#/$defs/b"}}, **{"$defs": defs}))
    assert message is not None
    assert message == "output_config.format.schema: Circular reference detected in schema definitions: b -> b"


def test_too_many_optional_properties_are_too_complex() -> None:
    assert structured(closed({f"p{n}": {"type": "string"} for n in range(24)})) is None
    assert structured(closed({f"p{n}": {"type": "string"} for n in range(28)})) == (
        "Schemas contains too many optional parameters (28), which would make grammar compilation inefficient. "
        "Reduce the number of optional parameters in your tool schemas (limit: 24)."
    )


def test_keywords_outside_of_the_subset_are_named_by_the_type_that_has_them() -> None:
    bounds = {"type": "integer", "minimum": 0, "maximum": 9}
    assert structured({"type": "integer", "minimum": 0, "maximum": 9}) == (
        "output_config.format.schema: For 'integer' type, properties maximum, minimum are not supported"
    )
    assert structured(closed({"a": {"type": "array", "items": bounds, "maxItems": 3}})) == (
        "output_config.format.schema: For 'array' type, property 'maxItems' is not supported"
    )


def test_strict_tools_share_the_limits_of_a_request() -> None:
    strict = {"description": "x", "strict": True, "input_schema": closed({"q": {"type": "string"}}, required=["q"])}
    assert refusal(params(tools=[{**strict, "name": f"t{n}"} for n in range(20)])) is None
    assert refusal(params(tools=[{**strict, "name": f"t{n}"} for n in range(21)])) is not None
    loose = {"type": "object", "properties": {"q": {"type": "string", "maxLength": 3}}}
    assert refusal(params(tools=[{**TOOL, "input_schema": loose}])) is None
    assert refusal(params(tools=[{**TOOL, "strict": True, "input_schema": loose}])) is not None


def test_citations_do_not_go_with_an_output_schema() -> None:
    output_config = {"format": {"type": "json_schema", "schema": closed({})}}
    cited = user(document(citations={"enabled": True}))
    assert refusal(params(messages=cited)) is None
    assert refusal(params(messages=cited, output_config=output_config)) is not None
    uncited = user(document(citations={"enabled": False}))
    assert refusal(params(messages=uncited, output_config=output_config)) is None


def test_a_schema_that_was_refused_is_refused_again() -> None:
    schema = closed({"a": {"type": "integer", "maximum": 7}})
    assert structured(schema) == structured(schema) is not None


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FULL = params(
    system=[marked()],
    messages=turns([text(), image(), document()], [use("a")], [result("a")]),
    tools=[
        {
            **TOOL,
            "strict": True,
            "input_schema": closed({"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": {"type": "string"}}}),
        }
    ],
    tool_choice={"type": "auto"},
    thinking={"type": "adaptive"},
    output_config={"effort": "low", "format": {"type": "json_schema", "schema": closed({"a": {"type": "string"}})}},
    cache_control={"type": "ephemeral", "ttl": "5m"},
    stop_sequences=["x"],
    metadata={"user_id": None},
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for step, inner in steps for place in _places(inner, (*path, step)))]


def _with(value: Any, path: tuple[Any, ...], replacement: Any) -> Any:
    if not path:
        return replacement
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], replacement)
    return copy


def test_the_request_whose_parts_are_replaced_is_taken_as_it_is() -> None:
    assert in_batch(FULL) is None


@given(JSON, st.sampled_from(["messages", "batch", "count_tokens"]), st.sampled_from([OLD, NEW]))
@settings(max_examples=50, deadline=None)
def test_any_json_is_either_taken_or_refused(value: object, endpoint: Endpoint, version: str) -> None:
    refusal(value, endpoint=endpoint, version=version)


@given(st.sampled_from(_places(FULL)[1:]), JSON, st.sampled_from(MODELS))
@settings(max_examples=400, deadline=None)
def test_a_request_with_any_one_part_replaced_is_either_taken_or_refused(
    path: tuple[Any, ...], replacement: object, model_id: str
) -> None:
    changed = _with({**FULL, "model": model_id}, path, replacement)
    for version in (OLD, NEW):
        fault = check_params(changed, api_version=version, endpoint="batch", betas=frozenset())
        assert fault is None or fault.status in (400, 404)


def test_lone_surrogates_and_huge_numbers_are_no_trouble() -> None:
    schema = {"type": "object", "properties": {}, "x": 2**70, "y": "\ud800"}
    asked = params(tools=[{**TOOL, "input_schema": schema}], messages=[{"role": "user", "content": "\ud800"}])
    assert refusal(asked) is None
