"""Answers: valid, deterministic, honest about what they are, and cut as the API cuts them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchforge.emulator.answers import Answer, cut_text
from batchforge.emulator.api_fault import ApiFault
from batchforge.emulator.models import EmulatedModel, find_model
from batchforge.emulator.pattern_strings import string_for
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.rules import check_params
from batchforge.emulator.schema_values import About, value_for
from batchforge.emulator.scripted_answers import AnswersFileError, ScriptAnswers, ScriptedAnswers, read_answers
from batchforge.emulator.tokens import count_text
from batchforge.emulator.upstream_answers import UpstreamAnswers

HAIKU = "claude-haiku-4-5-20251001"
MAIL = "My parcel has not come for 3 weeks and I am angry. Write to me at ann@example.org."


def model(model_id: str = HAIKU) -> EmulatedModel:
    found = find_model(model_id)
    assert found is not None
    return found


def params(**changes: Any) -> dict[str, Any]:
    return {"model": HAIKU, "max_tokens": 500, "messages": [{"role": "user", "content": MAIL}], **changes}


def ask(**changes: Any) -> Answer:
    asked = params(**changes)
    assert check_params(asked, api_version="2026-10-21", endpoint="messages", betas=frozenset()) is None
    return RuleAnswers().answer(asked, model(asked["model"]), None)


def text_of(answer: Answer) -> str:
    return "".join(block["text"] for block in answer.content if block["type"] == "text")


def structured(schema: dict[str, Any], **changes: Any) -> Any:
    output_config = {"format": {"type": "json_schema", "schema": schema}}
    return json.loads(text_of(ask(output_config=output_config, **changes)))


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


# Free text


def test_free_text_says_that_it_is_emulated() -> None:
    answer = ask()
    assert text_of(answer).startswith("This answer is emulated: no model was run.")
    assert answer.stop_reason == "end_turn"
    assert answer.output_tokens == count_text(text_of(answer), model())


def test_the_same_request_has_the_same_answer_and_another_text_another() -> None:
    assert ask() == ask()
    assert ask() != ask(messages=[{"role": "user", "content": "Another mail"}])


# Labels


LABELS = closed({"label": {"type": "string", "enum": ["refund_request", "late_delivery", "praise"]}})


@pytest.mark.parametrize(
    ("mail", "label"),
    [
        ("I would like a refund for this.", "refund_request"),
        ("The DELIVERY is terribly late", "late_delivery"),
        ("Nothing but praise!", "praise"),
        ("Is my request being refunded?", "refund_request"),
    ],
)
def test_a_label_is_chosen_by_the_words_it_shares_with_the_text(mail: str, label: str) -> None:
    assert structured(LABELS, messages=[{"role": "user", "content": mail}]) == {"label": label}


def test_words_that_describe_a_label_in_the_system_prompt_speak_for_it() -> None:
    system = "Choose one:\n- refund_request: wants money back\n- late_delivery: a parcel is missing\n- praise: is happy"
    for mail, label in (("Where is my parcel?", "late_delivery"), ("I am so happy", "praise")):
        answer = structured(LABELS, system=system, messages=[{"role": "user", "content": mail}])
        assert answer == {"label": label}


def test_only_the_last_user_text_decides() -> None:
    messages = [
        {"role": "user", "content": "praise praise praise"},
        {"role": "assistant", "content": "praise"},
        {"role": "user", "content": [{"type": "text", "text": "I want a refund"}]},
    ]
    assert structured(LABELS, messages=messages) == {"label": "refund_request"}


def test_without_a_shared_word_labels_spread_over_texts() -> None:
    answers = {structured(LABELS, messages=[{"role": "user", "content": f"xyz {n}"}])["label"] for n in range(40)}
    assert answers == {"refund_request", "late_delivery", "praise"}


def test_several_labels_may_fit_a_list() -> None:
    schema = closed({"labels": {"type": "array", "items": LABELS["properties"]["label"]}})
    answer = structured(schema, messages=[{"role": "user", "content": "late delivery, I want a refund"}])
    assert answer == {"labels": ["refund_request", "late_delivery"]}


# Structured outputs


def test_numbers_and_formatted_strings_are_picked_out_of_the_text() -> None:
    schema = closed({"weeks": {"type": "integer"}, "mail": {"type": "string", "format": "email"}})
    assert structured(schema) == {"weeks": 3, "mail": "ann@example.org"}


def test_a_pattern_is_picked_out_of_the_text_or_made() -> None:
    schema = closed({"code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"}})
    assert structured(schema, messages=[{"role": "user", "content": "My order is AB-123."}]) == {"code": "AB-123"}
    assert structured(schema) == {"code": "AA-000"}


def test_strings_say_that_they_are_emulated() -> None:
    summary = structured(closed({"summary": {"type": "string"}}))["summary"]
    assert summary.startswith("Emulated summary: My parcel has not come")


def test_required_properties_come_first() -> None:
    schema = closed({"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}}, required=["c", "b"])
    assert list(structured(schema)) == ["b", "c", "a"]


FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
PATTERNS = [
    "^[A-Z]{2}\\d{3}$", "a|b", "^(x|yy)+z?$", "[^abc]", "\\w+@\\w+", "^\\d{4}-\\d{2}$", "(?:ab){2,3}", "^.{3}$",
    "[\\d_-]x", "^[^\\W\\d]$", "\\S\\s\\D", "",
]  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}]),
    st.sampled_from([{"type": "null"}, {"const": 3}, {"const": None}, {"type": ["integer", "null"]}]),
    st.builds(lambda name: {"type": "string", "format": name}, st.sampled_from(FORMATS)),
    st.builds(lambda pattern: {"type": "string", "pattern": pattern}, st.sampled_from(PATTERNS)),
    st.builds(lambda values: {"enum": values}, st.lists(st.none() | st.integers() | st.text(), min_size=1, max_size=4)),
    st.just({"$ref": "#/$defs/shared"}),
)


def _objects(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, optional: closed(properties, required=[name for name in properties if name not in optional]),
        st.dictionaries(st.sampled_from("abcdef"), parts, max_size=4),
        st.sets(st.sampled_from("abcdef")),
    )


def _parts(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        _objects(parts),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, parts, st.integers(0, 1)),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(parts, min_size=1, max_size=3)),
    )


SCHEMAS = st.builds(
    lambda schema, shared: {**schema, "$defs": {"shared": shared}},
    _objects(st.recursive(LEAVES, _parts, max_leaves=8)),
    st.sampled_from([closed({"x": {"type": "string"}}), {"type": "string", "enum": ["p", "q"]}]),
)


@given(SCHEMAS, st.text(max_size=80))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_structured_answer_is_valid_against_any_schema_that_is_taken(schema: dict[str, Any], said: str) -> None:
    value = value_for(schema, About(said))
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(value)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("date-time", datetime.fromisoformat),
        ("time", time.fromisoformat),
        ("date", date.fromisoformat),
        ("ipv4", IPv4Address),
        ("ipv6", IPv6Address),
        ("uuid", UUID),
        ("duration", re.compile("PT[0-9]+M").fullmatch),
        ("email", re.compile("[a-z0-9.]+@example.com").fullmatch),
        ("hostname", re.compile("[a-z0-9-]+.example.com").fullmatch),
        ("uri", re.compile("https://example.com/.+").fullmatch),
    ],
)
def test_a_made_string_has_its_format_and_belongs_to_nobody(name: str, read: Callable[[str], object]) -> None:
    for said in map(str, range(40)):
        assert read(value_for({"type": "string", "format": name}, About(said))) is not None


TOOL_PARTS = st.one_of(
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, size: {"type": "number", "exclusiveMinimum": low, "maximum": low + size},
        st.integers(-50, 50),
        st.integers(1, 9),
    ),
    st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 9)),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 99),
        st.integers(0, 9),
    ),
    st.builds(
        lambda least, more: {
            "type": "array", "items": {"type": "boolean"}, "minItems": least, "maxItems": least + more
        },
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    st.just({"oneOf": [{"type": "string"}, {"type": "integer"}]}),
    st.just({"allOf": [closed({"a": {"type": "string"}}), {"type": "object"}]}),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcd"), TOOL_PARTS), st.text(max_size=40) | st.just(MAIL))
@settings(max_examples=200, deadline=None)
def test_the_input_of_a_call_keeps_the_limits_that_only_tools_may_have(properties: dict[str, Any], said: str) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    jsonschema.Draft202012Validator(schema).validate(value_for(schema, About(said)))


def test_a_recursive_tool_schema_comes_to_an_end() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name", "children"],
    }
    jsonschema.Draft202012Validator(schema).validate(value_for(schema, About(MAIL)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_made_string_matches_its_pattern(pattern: str) -> None:
    for said in ("", MAIL, "a-b AB123 2026-11"):
        assert re.search(pattern, string_for(pattern, said))


# Tools


WEATHER = {
    "name": "get_weather",
    "description": "Weather of a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
PARCEL = {
    "name": "find_parcel",
    "description": "Where a parcel is, by weeks",
    "input_schema": {"type": "object", "properties": {"weeks": {"type": "integer"}}, "required": ["weeks"]},
}


def test_a_tool_that_fits_the_words_is_called() -> None:
    answer = ask(tools=[WEATHER, PARCEL])
    (call,) = answer.content
    assert call["name"] == "find_parcel"
    assert call["input"] == {"weeks": 3}
    assert call["caller"] == {"type": "direct"}
    assert re.fullmatch("toolu_01[1-9A-HJ-NP-Za-km-z]{22}", call["id"])
    assert answer.stop_reason == "tool_use"


def test_a_tool_that_does_not_fit_is_not_called() -> None:
    assert ask(tools=[WEATHER]).stop_reason == "end_turn"
    assert ask(tools=[PARCEL], tool_choice={"type": "none"}).stop_reason == "end_turn"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_forced_tool_is_called_without_thinking(choice: dict[str, str]) -> None:
    answer = ask(model="claude-opus-5", tools=[WEATHER], tool_choice=choice)
    assert [block["type"] for block in answer.content] == ["tool_use"]
    assert answer.thinking_tokens == 0


def test_after_a_result_it_is_time_to_speak() -> None:
    messages = [
        {"role": "user", "content": MAIL},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "find_parcel", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "parcel weeks"}]},
    ]
    assert ask(tools=[PARCEL], messages=messages).stop_reason == "end_turn"


def test_tools_of_the_server_are_left_alone() -> None:
    assert ask(tools=[{"type": "web_search_20260318", "name": "web_search"}]).stop_reason == "end_turn"


# Thinking


@pytest.mark.parametrize(
    ("model_id", "thinks"),
    [
        ("claude-fable-5-2", True), ("claude-opus-5-5", True), ("claude-sonnet-5-5", True),
        ("claude-haiku-5-5", True), ("claude-sonnet-5", True), ("claude-opus-5", True),
        ("claude-opus-4-8", False), ("claude-opus-4-7", False), ("claude-opus-4-6", False),
        ("claude-haiku-4-5", False),
    ],
)  # fmt: skip
def test_a_model_thinks_by_default_or_does_not(model_id: str, thinks: bool) -> None:
    answer = ask(model=model_id)
    assert [block["type"] for block in answer.content] == ["thinking", "text"][not thinks :]
    assert (answer.thinking_tokens > 0) == thinks
    assert answer.output_tokens == answer.thinking_tokens + count_text(text_of(answer), model(model_id))


def test_thinking_is_shown_empty_and_signed_unless_a_summary_is_asked_for() -> None:
    block = ask(model="claude-opus-5-5").content[0]
    assert (block["thinking"], len(block["signature"]) > 40) == ("", True)
    shown = ask(model="claude-opus-5-5", thinking={"type": "adaptive", "display": "summarized"}).content[0]
    assert shown["thinking"].startswith("Emulated thinking")


@pytest.mark.parametrize(
    ("model_id", "thinking", "thinks"),
    [
        ("claude-opus-5", {"type": "disabled"}, False),
        ("claude-sonnet-5-5", {"type": "between_tools"}, False),
        ("claude-opus-4-7", {"type": "adaptive"}, True),
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
def test_thinking_can_be_turned_on_and_off(model_id: str, thinking: dict[str, Any], thinks: bool) -> None:
    answer = ask(model=model_id, max_tokens=2000, thinking=thinking)
    assert (answer.content[0]["type"] == "thinking") == thinks


def test_more_effort_is_more_thinking() -> None:
    efforts = ("low", "medium", "high", "xhigh", "max")
    spent = [
        ask(model="claude-opus-5", max_tokens=5000, output_config={"effort": effort}).thinking_tokens
        for effort in efforts
    ]
    assert spent == sorted(set(spent))


# Cuts


@given(st.integers(1, 400), st.sampled_from([HAIKU, "claude-opus-5-5"]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_an_answer_never_has_more_than_max_tokens(max_tokens: int, model_id: str, as_json: bool) -> None:
    output_config = {"format": {"type": "json_schema", "schema": closed({"text": {"type": "string"}})}}
    answer = ask(model=model_id, max_tokens=max_tokens, **({"output_config": output_config} if as_json else {}))
    assert answer.output_tokens <= max_tokens
    assert answer.thinking_tokens + count_text(text_of(answer), model(model_id)) <= answer.output_tokens
    whole = ask(model=model_id, **({"output_config": output_config} if as_json else {}))
    if whole.output_tokens <= max_tokens:
        assert answer == whole
    else:
        assert (answer.stop_reason, answer.output_tokens) == ("max_tokens", max_tokens)
        assert text_of(whole).startswith(text_of(answer))


def test_a_tight_limit_leaves_only_thinking() -> None:
    answer = ask(model="claude-opus-5-5", max_tokens=20)
    assert [block["type"] for block in answer.content] == ["thinking"]
    assert (answer.stop_reason, answer.output_tokens, answer.thinking_tokens) == ("max_tokens", 20, 20)


def test_a_call_that_is_cut_has_no_input() -> None:
    answer = ask(tools=[PARCEL], tool_choice={"type": "any"}, max_tokens=5)
    assert [(block["name"], block["input"]) for block in answer.content] == [("find_parcel", {})]
    assert (answer.stop_reason, answer.output_tokens) == ("max_tokens", 5)


def test_zero_tokens_are_an_empty_answer() -> None:
    assert ask(max_tokens=0) == Answer((), "max_tokens", 0)


def test_a_prompt_that_fills_the_context_window_ends_the_answer_there() -> None:
    tokens_a_word = count_text("word " * 1000, model()) / 1000
    answer = ask(messages=[{"role": "user", "content": "word " * int(199_980 / tokens_a_word)}])
    assert answer.stop_reason == "model_context_window_exceeded"
    assert 0 < answer.output_tokens < 20


@given(st.text(max_size=60), st.integers(0, 30))
@settings(deadline=None)
def test_a_cut_text_is_the_longest_beginning_that_fits(text: str, tokens: int) -> None:
    cut = cut_text(text, tokens, model())
    assert text.startswith(cut)
    assert count_text(cut, model()) <= tokens
    assert cut == text or count_text(text[: len(cut) + 1], model()) > tokens


def test_the_first_stop_sequence_ends_the_text() -> None:
    answer = ask(stop_sequences=["model", "emulated"])
    assert text_of(answer) == "This answer is "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "emulated")
    assert answer.output_tokens == count_text("This answer is ", model())


def test_a_stop_sequence_at_the_beginning_leaves_nothing() -> None:
    answer = ask(stop_sequences=["This"])
    assert answer.content == ()
    assert answer.output_tokens == 1


# Scripts


def scripted(*lines: object) -> ScriptedAnswers:
    return ScriptedAnswers([json.dumps(line) for line in lines], RuleAnswers())


def answered(source: ScriptedAnswers | ScriptAnswers, custom_id: str | None = None, **changes: Any) -> Answer:
    answer = source.answer(params(**changes), model(), custom_id)
    assert isinstance(answer, Answer)
    return answer


def test_a_line_answers_its_custom_id() -> None:
    source = scripted({"custom_id": "a", "answer": "One"}, {"custom_id": "b", "answer": {"label": "x"}})
    assert text_of(answered(source, "a")) == "One"
    assert json.loads(text_of(answered(source, "b"))) == {"label": "x"}
    assert "emulated" in text_of(answered(source, "c"))
    assert "emulated" in text_of(answered(source))


def test_a_regex_answers_the_texts_it_is_found_in_and_a_custom_id_goes_first() -> None:
    source = scripted(
        {"regex": "parcel", "answer": "Late"}, {"regex": "angry", "answer": "Never"}, {"custom_id": "a", "answer": "A"}
    )
    assert text_of(answered(source, "z")) == "Late"
    assert text_of(answered(source, "a")) == "A"
    assert "emulated" in text_of(answered(source, "z", messages=[{"role": "user", "content": "Hello"}]))


def test_a_line_may_be_an_error_or_a_whole_answer() -> None:
    refused = {"content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio"}}
    source = scripted(
        {"custom_id": "a", "answer": {"error": {"type": "overloaded_error", "message": "Busy"}}},
        {"custom_id": "b", "answer": refused},
        {"custom_id": "c", "answer": [{"type": "tool_use", "name": "t", "input": {}}]},
    )
    assert source.answer(params(), model(), "a") == ApiFault(529, "overloaded_error", "Busy")
    answer = answered(source, "b")
    assert (answer.stop_reason, answer.stop_details) == ("refusal", {"type": "refusal", "category": "bio"})
    call = answered(source, "c")
    assert call.stop_reason == "tool_use"
    assert call.content[0]["caller"] == {"type": "direct"}


def test_scripted_text_is_cut_and_stopped_like_any_other() -> None:
    source = scripted({"regex": ".", "answer": "One two three four five six seven"})
    assert answered(source, max_tokens=2).stop_reason == "max_tokens"
    assert text_of(answered(source, stop_sequences=[" three"])) == "One two"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "answers:1: not JSON"),
        ("[]", "either `custom_id` or `regex`"),
        ('{"custom_id": "a"}', "`answer`"),
        ('{"custom_id": "a", "regex": "b", "answer": ""}', "either"),
        ('{"custom_id": "a", "answer": "", "also": 1}', "unknown key 'also'"),
        ('{"regex": "(", "answer": ""}', "not a regular expression"),
        ('{"regex": 3, "answer": ""}', "not a regular expression"),
        ('{"custom_id": "a", "answer": 3}', "an answer is text"),
        ('{"custom_id": "a", "answer": {"error": {"type": "odd"}}}', "'odd' is not a type of error"),
        ('{"custom_id": "a", "answer": [{"text": "x"}]}', "a content block is an object with a `type`"),
        ('{"custom_id": "a", "answer": [{"type": "text"}]}', "a text block has a `text`"),
        ('{"custom_id": "a", "answer": [{"type": "tool_use"}]}', "has `name` and `input`"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: str, said: str) -> None:
    with pytest.raises(AnswersFileError, match=re.escape(said)):
        ScriptedAnswers([line], RuleAnswers())


def test_answers_are_read_from_lines_or_from_a_script(tmp_path: Path) -> None:
    lines, script = tmp_path / "answers.jsonl", tmp_path / "answers.py"
    lines.write_text('{"custom_id": "a", "answer": "From a line"}\n\n')
    script.write_text("def answer(params, custom_id):\n    return f'{custom_id}: {params[\"model\"]}'\n")
    from_lines, from_script = read_answers(lines, RuleAnswers()), read_answers(script, RuleAnswers())
    one, other = (source.answer(params(), model(), "a") for source in (from_lines, from_script))
    assert isinstance(one, Answer)
    assert isinstance(other, Answer)
    assert (text_of(one), text_of(other)) == ("From a line", f"a: {HAIKU}")


def test_a_script_may_return_anything_that_a_line_may_hold_and_nothing() -> None:
    values: dict[str | None, Any] = {
        "text": "x",
        "object": {"a": 1},
        "answer": Answer((), "end_turn", 1),
        "fault": ApiFault(500, "api_error", "x"),
        "number": 3,
    }
    source = ScriptAnswers(lambda params, custom_id: values.get(custom_id), RuleAnswers())
    assert text_of(answered(source, "object")) == '{"a":1}'
    assert answered(source, "answer") is values["answer"]
    assert source.answer(params(), model(), "fault") is values["fault"]
    assert "emulated" in text_of(answered(source, "none"))
    number = source.answer(params(), model(), "number")
    assert isinstance(number, ApiFault)
    assert number.message.startswith("answer(): an answer is text")


def test_a_script_that_fails_on_a_row_makes_an_errored_row(tmp_path: Path) -> None:
    script = tmp_path / "answers.py"
    script.write_text("def answer(params, custom_id):\n    return params['nothing']\n")
    fault = read_answers(script, RuleAnswers()).answer(params(), model(), "a")
    assert fault == ApiFault(500, "api_error", "answer() raised KeyError in line 2: 'nothing'")


@pytest.mark.parametrize("source", ["answer = 3", "def answer(:", "1 / 0", ""])
def test_a_script_that_cannot_be_used_is_refused_at_once(tmp_path: Path, source: str) -> None:
    script = tmp_path / "answers.py"
    script.write_text(source)
    with pytest.raises(AnswersFileError, match=r"answers\.py"):
        read_answers(script, RuleAnswers())


# Upstream


class Upstream(BaseHTTPRequestHandler):
    """A server that speaks the Messages API; what the user says is what it does."""

    protocol_version = "HTTP/1.1"
    received: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append({"path": self.path, "headers": dict(self.headers), "body": body})
        said = body["messages"][0]["content"]
        if said == "close":
            self.close_connection = True
            return
        status, payload = REPLIES.get(said, (200, REPLY))
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


REPLY = {
    "content": [{"type": "text", "text": "From a real model"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 7},
}
REPLIES: dict[str, tuple[int, Any]] = {
    "uncounted": (200, {"content": [{"type": "text", "text": "Hm"}]}),
    "bad request": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "No."}}),
    "other words": (429, {"error": {"message": "Slow down"}}),
    "html": (502, b"<html>"),
    "odd": (200, b"[]"),
}


@contextmanager
def upstream() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []
    handler = type("Handler", (Upstream,), {"received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def say(source: UpstreamAnswers, said: str, **changes: Any) -> Answer | ApiFault:
    return source.answer(params(messages=[{"role": "user", "content": said}], **changes), model(), "a")


def test_a_request_is_passed_on_and_its_answer_passed_back() -> None:
    with upstream() as (url, received):
        source = UpstreamAnswers(f"{url}/v1/", api_key="k", model="local")
        answer = say(source, "Hello", stream=True, system="Be kind")
        assert answer == Answer(REPLY["content"], "end_turn", 7)  # type: ignore[arg-type]
        source.close()
    (sent,) = received
    assert sent["path"] == "/v1/messages"
    assert sent["body"]["model"] == "local"
    assert sent["body"]["system"] == "Be kind"
    assert "stream" not in sent["body"]
    assert sent["headers"]["x-api-key"] == "k"


def test_an_answer_without_a_count_is_counted_here() -> None:
    with upstream() as (url, _):
        source = UpstreamAnswers(url)
        answer = say(source, "uncounted")
        source.close()
    assert isinstance(answer, Answer)
    assert (answer.stop_reason, answer.output_tokens) == ("end_turn", count_text("Hm", model()))


@pytest.mark.parametrize(
    ("said", "status", "kind", "message"),
    [
        ("bad request", 400, "invalid_request_error", "No."),
        ("other words", 429, "rate_limit_error", "Slow down"),
        ("html", 502, "api_error", "<html>"),
        ("odd", 500, "api_error", "the upstream server answered with something that is not a message"),
    ],
)
def test_what_the_upstream_refuses_is_refused_here(said: str, status: int, kind: str, message: str) -> None:
    with upstream() as (url, _):
        source = UpstreamAnswers(url)
        assert say(source, said) == ApiFault(status, kind, message)
        source.close()


def test_a_connection_that_the_upstream_closed_is_opened_again() -> None:
    with upstream() as (url, received):
        source = UpstreamAnswers(url)
        assert isinstance(say(source, "Hello"), Answer)
        fault = say(source, "close")
        assert isinstance(fault, ApiFault)
        assert "could not be reached" in fault.message
        assert isinstance(say(source, "Hello"), Answer)
        source.close()
    assert [entry["body"]["messages"][0]["content"] for entry in received] == ["Hello", "close", "close", "Hello"]


def test_an_upstream_that_is_not_there_makes_errored_rows() -> None:
    with upstream() as (url, _):
        pass
    fault = say(UpstreamAnswers(url), "Hello")
    assert isinstance(fault, ApiFault)
    assert fault.type == "api_error"


def test_an_upstream_that_is_silent_times_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        source = UpstreamAnswers(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.05)
        fault = say(source, "Hello")
    assert isinstance(fault, ApiFault)
    assert (fault.status, fault.type) == (504, "timeout_error")


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https address"):
        UpstreamAnswers(url)
