"""What is refused before anything is sent: each rule, and per model as typed by hand from its documentation."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from batchforge.claude_models import all_models, price_table
from batchforge.error_codes import ERROR_CODES
from batchforge.errors import Location, Problem, ProblemList, Severity
from batchforge.requests.request_checks import check_request

TODAY = date(2026, 11, 24)
LOCATIONS = {
    name: Location("jobs/triage.yml", line, 1)
    for line, name in enumerate(("model", "max_tokens", "thinking", "effort", "tools", "system", "user", "output"), 3)
}
FIXED_FORM = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}


def problems_of(
    *,
    beta_headers: tuple[str, ...] = (),
    api_version: str = "2026-10-21",
    mode: Any = "batch",
    locations: dict[str, Location] | None = None,
    today: date = TODAY,
    allow_unknown_model: bool = False,
    prices: Any = None,
    **changed: Any,
) -> list[Problem]:
    """What is found in a small, sound request with some parameters changed (None: left out)."""
    params = {
        "model": "claude-haiku-5-5",
        "max_tokens": 20_000,
        "messages": [user("A ticket")],
        **changed,
    }
    problems = ProblemList()
    check_request(
        {name: value for name, value in params.items() if value is not None},
        betas=beta_headers,
        api_version=api_version,
        mode=mode,
        locations=LOCATIONS if locations is None else locations,
        problems=problems,
        today=today,
        allow_unknown_model=allow_unknown_model,
        prices=prices,
    )
    return problems.items


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


def the_problem(code: str, problems: list[Problem]) -> Problem:
    (found,) = [problem for problem in problems if problem.code == code]
    return found


def user(*content: Any) -> dict[str, Any]:
    return message("user", *content)


def assistant(*content: Any) -> dict[str, Any]:
    return message("assistant", *content)


def message(role: str, *content: Any) -> dict[str, Any]:
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    return {"role": role, "content": blocks}


def tool(name: str = "lookup", **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}, **more}


def test_a_sound_request_has_no_problems() -> None:
    assert problems_of() == []


def test_every_parameter_of_a_full_request_is_taken() -> None:
    found = problems_of(
        model="claude-opus-5",
        system=[{"type": "text", "text": "Sort it.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        tools=[tool(description="Look it up.", strict=True), {"type": "bash_20250124", "name": "bash"}],
        tool_choice={"type": "tool", "name": "lookup", "disable_parallel_tool_use": True},
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "max"},
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        service_tier="standard_only",
        inference_geo="us",
        container="c1",
        messages=[
            user("Look at this", {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
            assistant({"type": "tool_use", "id": "t1", "name": "lookup", "input": {}}),
            user({"type": "tool_result", "tool_use_id": "t1", "content": "42"}, "And now?"),
        ],
    )
    assert found == []


def test_all_problems_are_found_at_once_and_errors_come_first() -> None:
    found = problems_of(model="claude-opus-5-5", max_tokens=300, thinking={"type": "disabled"}, top_n=3, temperature=0)
    assert codes(found) == ["BF401", "BF424", "BF426"]
    found = problems_of(model="claude-opus-5-5", max_tokens=300, top_n=3)
    assert codes(found) == ["BF401", "BF431"]
    assert [problem.severity for problem in found] == [Severity.ERROR, Severity.WARNING]


# Form


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"max_tokens": "400"}, "max_tokens: must be a whole number of 1 or more, and is the text '400'"),
        ({"max_tokens": 0}, "max_tokens: must be a whole number of 1 or more, and is the number 0"),
        ({"max_tokens": True}, "max_tokens: must be a whole number of 1 or more, and is true"),
        ({"max_tokens": None}, "max_tokens: is missing"),
        ({"messages": []}, "user: is an empty list"),
        ({"messages": [{"role": "user"}]}, "user: has no 'content'"),
        ({"messages": [user()]}, "user: is an empty list"),
        ({"messages": [user({"text": "x"})]}, "user, block 1: has no 'type'"),
        ({"messages": [user("x", {"type": "text", "text": 3})]}, "user, block 2, text: must be a text"),
        ({"messages": [message("customer", "x")]}, "user, role: must be one of user, assistant, system"),
        ({"system": [{"type": "text"}]}, "system, block 1: has no 'text'"),
        ({"system": {"file": "x"}}, "system: must be a list, and is a mapping"),
        ({"tools": [tool("no spaces")]}, "tools, tool 1, name: must be 1 to 128 letters, digits, _ and -"),
        ({"tools": [{"name": "x"}]}, "tools, tool 1: has no 'input_schema'"),
        ({"tools": [tool(input_schema={"type": "array"})]}, "tools, tool 1, input_schema, type: must be one of object"),
        ({"stop_sequences": [" "]}, "stop_sequences, entry 1: holds nothing but white space"),
        ({"stop_sequences": "END"}, "stop_sequences: must be a list, and is the text 'END'"),
        ({"output_config": {"effort": "hihg"}}, "effort: must be one of low, medium, high, xhigh, max"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output: has no 'schema'"),
        ({"thinking": {"type": "enabled"}}, "thinking: has no 'budget_tokens'"),
        ({"service_tier": "batch"}, "service_tier: must be one of auto, standard_only"),
        ({"metadata": {"user_id": 7}}, "metadata, user_id: must be a text, and is the number 7"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_in_words(changed: dict[str, Any], words: str) -> None:
    assert the_problem("BF402", problems_of(**changed)).message.startswith(words)


@pytest.mark.parametrize(
    ("changed", "words", "hint"),
    [
        ({"stop_sequence": ["x"]}, "stop_sequence: is not a parameter", "Did you mean `stop_sequences`?"),
        ({"betas": ["x"]}, "betas: is not a parameter", "job's setting `betas`"),
        ({"mcp_servers": []}, "mcp_servers: is taken only with a beta header", "mcp-client-"),
        ({"messages": [user({"type": "txt", "text": "x"})]}, "user, block 1, type: 'txt' is not", "`text`"),
        ({"messages": [user({"type": "text", "text": "x", "txt": 1})]}, "user, block 1, txt: is not", "`text`"),
        ({"tools": [{"type": "web_serch_20260318"}]}, "tools, tool 1, type: 'web_serch_20260318'", "web_search"),
        ({"tools": [tool(desciption="x")]}, "tools, tool 1, desciption: is not", "`description`"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 5}}, "thinking, budget_tokens: is not", "type, display"),
        ({"metadata": {"user": "x"}}, "metadata, user: is not", "`user_id`"),
        ({"output_config": {"task_budget": {}}}, "output_config, task_budget: is not", "effort, format"),
    ],
)
def test_an_unknown_name_gets_a_proposal(changed: dict[str, Any], words: str, hint: str) -> None:
    found = the_problem("BF401", problems_of(**changed))
    assert found.message.startswith(words)
    assert hint in found.hint


def test_with_a_beta_unknown_names_are_left_to_the_api() -> None:
    headers = ("context-management-2025-06-27",)
    block = {"type": "compaction", "content": "x"}
    assert problems_of(context_management={"edits": []}, messages=[user(block)], beta_headers=headers) == []


def test_with_a_beta_known_names_are_still_checked() -> None:
    assert codes(problems_of(max_tokens="x", beta_headers=("inline-tools-2026-09-15",))) == ["BF402"]


@pytest.mark.parametrize("name", ["stream", "speed", "store", "previous_thread_event_id", "cache_hint", "context_hint"])
def test_what_batches_do_not_take_is_refused(name: str) -> None:
    changed: dict[str, Any] = {name: "fast"}
    assert codes(problems_of(**changed)) == ["BF403"]


def test_single_requests_take_a_speed_and_no_stream() -> None:
    assert problems_of(speed="fast", mode="sync") == []
    assert codes(problems_of(stream=True, mode="sync")) == ["BF401"]


# Conversation


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([assistant("Hello"), user("x")], "messages, message 1: the first message should be the user's"),
        ([message("system", "Sort."), user("x")], "messages, message 1: the first message should be the user's"),
        (
            [user({"type": "tool_use", "id": "t", "name": "x", "input": {}}), user("x")],
            "messages, message 1, block 1: a block of type tool_use cannot stand in a message of role user",
        ),
        (
            [user("x"), assistant({"type": "tool_use", "id": "t", "name": "x", "input": {}}), user("y")],
            "messages, message 3: the tool call 't' before it has no tool_result here",
        ),
        (
            [user({"type": "tool_result", "tool_use_id": "t", "content": "x"})],
            "messages, message 1: tool_result 't' answers no tool call",
        ),
    ],
)
def test_a_conversation_out_of_order_is_refused(messages: list[Any], words: str) -> None:
    locations = {"messages": Location("jobs/triage.yml", 9, 1)}
    found = [p for p in problems_of(messages=messages, locations=locations) if p.code == "BF404"]
    assert words in found[0].message


def test_messages_of_one_role_are_one_turn() -> None:
    call = {"type": "tool_use", "id": "t", "name": "lookup", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
    assert problems_of(messages=[user("x"), assistant(call), user(result), user("go on")], tools=[tool()]) == []
    late = [user("x"), assistant(call), message("system", "Be brief."), user("y"), user(result)]
    assert problems_of(messages=late, tools=[tool()], model="claude-opus-5") == []


def test_an_empty_text_is_refused_and_white_space_warned_of() -> None:
    assert codes(problems_of(system="")) == ["BF405"]
    assert codes(problems_of(messages=[user("x", "")])) == ["BF405"]
    (blank,) = problems_of(messages=[user("x", " \n")])
    assert (blank.code, blank.severity) == ("BF405", Severity.WARNING)


MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
LONG_MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"messages": [user(*[text("x", **MARK)] * 5)]}, "5 cache_control marks"),
        ({"messages": [user(*[text("x", **MARK)] * 4)], **MARK}, "5 cache_control marks"),
        ({"tools": [tool(**MARK)], "system": [text("x", **LONG_MARK)]}, "a mark of 1h must come before those of 5m"),
        ({"messages": [user(text("", **MARK), "x")]}, "an empty text cannot be marked"),
        ({"messages": [user("x", text("y", **LONG_MARK))], **MARK}, "another ttl"),
    ],
)
def test_cache_marks_that_the_api_refuses_are_named(changed: dict[str, Any], words: str) -> None:
    assert words in the_problem("BF406", problems_of(**changed)).message


def test_a_thinking_block_takes_no_cache_mark() -> None:
    thinking = {"type": "thinking", "thinking": "x", "signature": "s", **MARK}
    assert codes(problems_of(messages=[user("x"), assistant(thinking, "y"), user("z")])) == ["BF401"]


def test_four_marks_with_the_long_ones_first_are_taken() -> None:
    blocks = user(text("a", **LONG_MARK), text("b", **MARK), text("c", **MARK))
    assert problems_of(messages=[blocks], system=[text("x", **LONG_MARK)]) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tools": [tool("a"), tool("a")]}, "another tool is named 'a', too"),
        ({"tool_choice": {"type": "auto"}}, "there are no tools to choose from"),
        ({"tools": [tool("search")], "tool_choice": {"type": "tool", "name": "serch"}}, "no tool named 'serch'"),
    ],
)
def test_tools_and_their_choice_must_fit(changed: dict[str, Any], words: str) -> None:
    found = [problem for problem in problems_of(**changed) if problem.code == "BF407"]
    assert words in found[0].message


def document(**more: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, **more}


def test_citations_do_not_go_with_a_fixed_form_of_answer() -> None:
    cited = [user(document(citations={"enabled": True}), "Summarise.")]
    assert codes(problems_of(messages=cited, output_config={"format": FIXED_FORM})) == ["BF408"]
    assert problems_of(messages=cited) == []


@pytest.mark.parametrize("beta", ["a, b", "output 300k", "", "Output-300k"])
def test_a_beta_must_be_the_name_of_one(beta: str) -> None:
    assert "BF409" in codes(problems_of(beta_headers=(beta,)))


def test_the_api_version_decides_on_documents_of_the_assistant_and_citations_of_the_user() -> None:
    document_first = [user("x"), assistant(document()), user("y")]
    cited_text = [user(text("x", citations=[{"type": "char_location"}]))]
    cited_result = [
        user({"type": "search_result", "source": "s", "title": "t", "content": [text("x", citations=[{"type": "c"}])]})
    ]
    for messages in (document_first, cited_text, cited_result):
        assert codes(problems_of(messages=messages)) == ["BF413"]
        assert problems_of(messages=messages, api_version="2023-06-01") == []


# Models


def test_an_unknown_model_gets_the_nearest_names() -> None:
    (found,) = problems_of(model="claude-haiku-55")
    assert found.code == "BF420"
    assert "claude-haiku-5-5" in found.hint
    assert found.location == LOCATIONS["model"]


def test_an_unknown_model_can_be_allowed_and_its_price_is_doubted() -> None:
    (found,) = problems_of(model="house-model", allow_unknown_model=True)
    assert (found.code, found.severity) == ("BF441", Severity.WARNING)


def test_a_model_whose_prices_the_project_gives_is_known() -> None:
    prices = price_table({"house-model": {"input": 1, "output": 2}})
    assert problems_of(model="house-model", prices=prices) == []


def test_an_unknown_model_takes_no_sampling_either_under_the_current_version() -> None:
    assert "BF424" in codes(problems_of(model="house-model", allow_unknown_model=True, temperature=0))


@pytest.mark.parametrize(
    ("name", "day", "newer"),
    [
        ("claude-3-5-haiku-20241022", "2026-02-19", "claude-haiku-5-5"),
        ("claude-opus-4-1", "2026-08-05", "claude-opus-5-5"),
        ("claude-3-7-sonnet-latest", "2026-02-19", "claude-sonnet-5-5"),
    ],
)
def test_a_retired_model_is_refused_with_its_day_and_successor(name: str, day: str, newer: str) -> None:
    (found,) = problems_of(model=name)
    assert (found.code, found.severity) == ("BF421", Severity.ERROR)
    assert day in found.message
    assert newer in found.hint


def test_a_deprecated_model_is_warned_of_until_its_day_comes() -> None:
    (before,) = problems_of(model="claude-sonnet-4-5", today=date(2026, 11, 29))
    assert (before.code, before.severity) == ("BF422", Severity.WARNING)
    assert "2026-11-30" in before.message
    after = problems_of(model="claude-sonnet-4-5", today=date(2026, 11, 30))
    assert after[0].code == "BF421"


def test_limited_access_and_unverified_prices_are_warned_of() -> None:
    assert codes(problems_of(model="claude-mythos-5-2", max_tokens=20_000)) == ["BF423", "BF441"]


def test_old_prices_are_warned_of() -> None:
    assert problems_of(today=date(2027, 1, 23)) == []
    assert codes(problems_of(today=date(2027, 1, 24))) == ["BF441"]


SERVED = [model.id for model in all_models() if model.id != "claude-mythos-preview"]
OLD_MODELS = {
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-5-20251101",
    "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5-20250929",
}
PREFILL_MODELS = OLD_MODELS - {"claude-opus-4-6", "claude-sonnet-4-6"}
NO_FORCED_TOOL = {
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-fable-5-1",
    "claude-mythos-5-1",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
}


@pytest.mark.parametrize("model", SERVED)
def test_no_model_takes_sampling_under_the_current_version(model: str) -> None:
    sampling: list[dict[str, Any]] = [{"temperature": 0.5}, {"temperature": 1}, {"top_p": 0.9}, {"top_k": 5}]
    for changed in sampling:
        assert "BF424" in codes(problems_of(model=model, **changed))


@pytest.mark.parametrize("model", SERVED)
def test_older_models_take_sampling_under_the_older_version(model: str) -> None:
    refused = "BF424" in codes(problems_of(model=model, temperature=0.5, api_version="2023-06-01"))
    assert refused is (model not in OLD_MODELS)


def test_newer_models_take_the_default_temperature_under_the_older_version() -> None:
    assert problems_of(temperature=1, api_version="2023-06-01") == []


@pytest.mark.parametrize("kind", ["any", "tool"])
@pytest.mark.parametrize("model", SERVED)
def test_newest_models_cannot_be_forced_to_use_a_tool(model: str, kind: str) -> None:
    choice = {"type": "any"} if kind == "any" else {"type": "tool", "name": "lookup"}
    refused = "BF425" in codes(problems_of(model=model, tools=[tool()], tool_choice=choice))
    assert refused is (model in NO_FORCED_TOOL)


def test_a_doubtful_forced_tool_is_a_warning() -> None:
    (found,) = problems_of(tools=[tool()], tool_choice={"type": "any"})
    assert (found.code, found.severity) == ("BF433", Severity.WARNING)


@pytest.mark.parametrize("model", SERVED)
def test_newer_models_refuse_the_start_of_an_answer(model: str) -> None:
    refused = "BF432" in codes(problems_of(model=model, messages=[user("x"), assistant("{")]))
    assert refused is (model not in PREFILL_MODELS)


def test_the_start_of_an_answer_does_not_go_with_a_fixed_form() -> None:
    found = problems_of(
        model="claude-haiku-4-5", messages=[user("x"), assistant("{")], output_config={"format": FIXED_FORM}
    )
    assert codes(found) == ["BF432"]


THINKING = {
    "claude-fable-5-2": "adaptive",
    "claude-mythos-5-2": "adaptive",
    "claude-fable-5-1": "adaptive",
    "claude-mythos-5-1": "adaptive",
    "claude-opus-5-5": "adaptive",
    "claude-sonnet-5-5": "adaptive between_tools",
    "claude-haiku-5-5": "adaptive disabled",
    "claude-sonnet-5": "adaptive disabled",
    "claude-fable-5": "adaptive",
    "claude-mythos-5": "adaptive",
    "claude-opus-5": "adaptive disabled",
    "claude-opus-4-8": "adaptive disabled",
    "claude-opus-4-7": "adaptive disabled",
    "claude-opus-4-6": "adaptive disabled enabled",
    "claude-sonnet-4-6": "adaptive disabled enabled",
    "claude-opus-4-5-20251101": "disabled enabled",
    "claude-haiku-4-5-20251001": "disabled enabled",
    "claude-sonnet-4-5-20250929": "disabled enabled",
}


@pytest.mark.parametrize("kind", ["adaptive", "disabled", "enabled", "between_tools"])
@pytest.mark.parametrize("model", SERVED)
def test_each_model_takes_its_own_kinds_of_thinking(model: str, kind: str) -> None:
    thinking = {"type": kind} | ({"budget_tokens": 4000} if kind == "enabled" else {})
    refused = "BF426" in codes(problems_of(model=model, thinking=thinking))
    assert refused is (kind not in THINKING[model].split())


def test_the_hint_names_what_the_model_takes_instead() -> None:
    cases = {
        ("claude-opus-5-5", "disabled"): "`effort: low`",
        ("claude-haiku-5-5", "between_tools"): "`thinking: adaptive`",
        ("claude-haiku-4-5", "adaptive"): "budget_tokens",
    }
    for (model, kind), words in cases.items():
        assert words in the_problem("BF426", problems_of(model=model, thinking={"type": kind})).hint


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("claude-haiku-5-5", "disabled"),
        ("claude-opus-5", "disabled"),
        ("claude-sonnet-5-5", "between_tools"),
        ("claude-sonnet-5", "disabled"),
    ],
)
def test_some_kinds_of_thinking_go_up_to_high_effort_only(model: str, kind: str, effort: str) -> None:
    found = problems_of(model=model, thinking={"type": kind}, output_config={"effort": effort})
    refused = "BF427" in codes(found)
    assert refused is (effort in ("xhigh", "max") and model != "claude-sonnet-5")


def test_between_tools_takes_no_other_field_even_with_a_beta() -> None:
    thinking = {"type": "between_tools", "block_binding": {}}
    found = problems_of(
        model="claude-sonnet-5-5", thinking=thinking, beta_headers=("thinking-binding-controls-2026-08-01",)
    )
    assert codes(found) == ["BF426"]


def test_a_thinking_budget_must_fit() -> None:
    def found(budget: int, max_tokens: int = 20_000) -> list[str]:
        thinking = {"type": "enabled", "budget_tokens": budget}
        return codes(problems_of(model="claude-haiku-4-5", thinking=thinking, max_tokens=max_tokens))

    assert found(1024) == []
    assert found(1023) == ["BF428"]
    assert found(20_000) == ["BF428"]
    assert found(19_999) == []


def test_deprecated_thinking_is_a_warning() -> None:
    thinking = {"type": "enabled", "budget_tokens": 4000}
    assert codes(problems_of(model="claude-opus-4-6", thinking=thinking)) == ["BF433"]
    assert problems_of(model="claude-sonnet-4-6", thinking=thinking) == []


EFFORTS = {
    "claude-opus-4-6": "low medium high max",
    "claude-sonnet-4-6": "low medium high max",
    "claude-opus-4-5-20251101": "low medium high",
    "claude-haiku-4-5-20251001": "",
    "claude-sonnet-4-5-20250929": "",
}


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("model", SERVED)
def test_each_model_takes_its_own_efforts(model: str, effort: str) -> None:
    refused = "BF429" in codes(problems_of(model=model, output_config={"effort": effort}))
    assert refused is (effort not in EFFORTS.get(model, "low medium high xhigh max").split())


@pytest.mark.parametrize("model", SERVED)
def test_no_answer_can_be_longer_than_the_model_writes(model: str) -> None:
    limit = 64_000 if "-4-5-" in model else 128_000
    assert "BF430" not in codes(problems_of(model=model, max_tokens=limit))
    assert "BF430" in codes(problems_of(model=model, max_tokens=limit + 1))


LONG_ANSWERS = "output-300k-2026-03-24"


@pytest.mark.parametrize("model", SERVED)
def test_the_beta_for_long_answers_counts_in_batches_of_models_that_take_it(model: str) -> None:
    takes_it = "-4-5-" not in model and "fable" not in model and "mythos" not in model
    found = codes(problems_of(model=model, max_tokens=300_000, beta_headers=(LONG_ANSWERS,)))
    assert ("BF430" in found) is not takes_it
    assert ("BF433" in found) is not takes_it
    assert "BF430" in codes(problems_of(model=model, max_tokens=300_001, beta_headers=(LONG_ANSWERS,)))
    in_sync = codes(problems_of(model=model, max_tokens=300_000, beta_headers=(LONG_ANSWERS,), mode="sync"))
    assert {"BF430", "BF433"} <= set(in_sync)


def test_a_refused_long_answer_names_the_beta_that_allows_it() -> None:
    assert LONG_ANSWERS in the_problem("BF430", problems_of(max_tokens=200_000)).hint
    assert LONG_ANSWERS not in the_problem("BF430", problems_of(model="claude-fable-5", max_tokens=200_000)).hint


def test_thinking_that_may_eat_up_the_answer_is_warned_of_with_a_way_out() -> None:
    haiku = the_problem("BF431", problems_of(max_tokens=400))
    assert "`thinking: disabled`" in haiku.hint
    opus = the_problem("BF431", problems_of(model="claude-opus-5-5", max_tokens=400))
    assert "`effort: low`" in opus.hint
    assert "disabled" not in opus.hint
    assert haiku.location == LOCATIONS["max_tokens"]


@pytest.mark.parametrize(
    "changed",
    [
        {"thinking": {"type": "disabled"}},
        {"model": "claude-opus-4-8"},
        {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}},
        {"max_tokens": 2_000},
        {"max_tokens": 1_000, "output_config": {"effort": "low"}},
    ],
)
def test_where_no_thinking_eats_the_answer_there_is_no_warning(changed: dict[str, Any]) -> None:
    assert problems_of(**{"max_tokens": 400, **changed}) == []


def test_thinking_that_is_asked_for_is_warned_of_too() -> None:
    found = problems_of(model="claude-opus-4-8", max_tokens=400, thinking={"type": "adaptive"})
    assert codes(found) == ["BF431"]


def test_a_system_message_in_the_conversation_is_refused_by_the_model_that_takes_none() -> None:
    messages = [user("x"), message("system", "Be brief."), user("y")]
    assert codes(problems_of(model="claude-sonnet-5", messages=messages)) == ["BF434"]
    assert problems_of(model="claude-opus-5", messages=messages) == []


def test_web_fetch_on_a_model_without_it_is_a_warning() -> None:
    tools = [{"type": "web_fetch_20260318", "name": "web_fetch"}]
    assert codes(problems_of(model="claude-opus-5", tools=tools)) == ["BF433"]


# Places


def test_a_problem_stands_where_its_setting_was_written() -> None:
    found = problems_of(model="claude-opus-5-5", thinking={"type": "disabled"}, output_config={"effort": "hihg"})
    places = {problem.code: problem.location for problem in found}
    assert places == {"BF426": LOCATIONS["thinking"], "BF402": LOCATIONS["effort"]}


def test_what_was_never_written_is_placed_in_the_job_file() -> None:
    (found,) = problems_of(beta_headers=("a b",))
    assert found.location == Location("jobs/triage.yml")


def test_every_code_is_explained() -> None:
    ours = {code for code in ERROR_CODES if "BF401" <= code <= "BF409" or "BF420" <= code <= "BF441"} | {"BF413"}
    assert ours == {
        *(f"BF40{n}" for n in range(1, 10)),
        "BF413",
        *(f"BF4{n}" for n in range(20, 37)),
        "BF440",
        "BF441",
    }
