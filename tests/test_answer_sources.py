"""Where in an answer its fields stand: inside of prose, in tags, in a pattern's groups, in a tool's call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.answers import Answer, AnswerReader
from batchforge.results import RequestResult, ResultKind
from batchforge.spec import AnswerSource, OutputSpec

SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["Bill", "Claim"]},
        "score": {"type": "integer", "minimum": 0},
        "quotes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["kind"],
}
JSON, XML = AnswerSource("json"), AnswerSource("xml")


def read(source: AnswerSource, *blocks: Any, schema: Any = SCHEMA, **settings: Any) -> Answer:
    content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    message = json.dumps({"content": content}).encode()
    output = OutputSpec(source=source, schema=schema, **settings)
    reader = AnswerReader(output, has_tools=source.kind == "tool")
    return reader.read(RequestResult("id", ResultKind.ANSWERED, message=message))


def values(answer: Answer) -> dict[str, Any]:
    assert answer.status == "answered", answer.error
    return {name: value for name, value in answer.values.items() if value is not None}


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "BILL", "score": 3}',
        'Here it is {as asked}:\n\n```json\n{"kind": "bill", "score": 3}\n```\nAnything {else}?',
        'First I thought {"kind": "claim"}, but {"kind": "Bill", "score": 3} is right. See [1].',
        '```\n{"kind": "Bill",\n "score": 3}\n```',
        '{"kind": "Bill", "score": 3, "more": {"than": "asked"}}',
    ],
)
def test_json_is_found_inside_of_prose(text: str) -> None:
    assert values(read(JSON, text)) == {"kind": "Bill", "score": 3}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("No JSON at all.", "there is no JSON in the answer"),
        ('{"kind": "Bill"', "there is no JSON in the answer"),
        ('{"kind": "Other"}', "the answer breaks the schema at kind"),
        ('{"kind": "Bill", "score": -1}', "the answer breaks the schema at score"),
        ("[1, 2]", "the answer breaks the schema"),
    ],
)
def test_json_that_is_missing_or_does_not_fit_is_invalid(text: str, error: str) -> None:
    answer = read(JSON, text)
    assert (answer.status, answer.text) == ("invalid", text)
    assert error in (answer.error or "")


def test_many_brackets_take_no_time() -> None:
    assert read(JSON, "[{" * 100_000).status == "invalid"


PROSE = st.text(st.characters(codec="utf-8", exclude_characters="{}[]`"), max_size=40)


@given(before=PROSE, after=PROSE, score=st.integers(0), kind=st.sampled_from(["bill", "CLAIM"]))
def test_prose_around_json_does_not_matter(before: str, after: str, score: int, kind: str) -> None:
    found = values(read(JSON, f"{before}{json.dumps({'kind': kind, 'score': score})}{after}"))
    assert found == {"kind": kind.capitalize(), "score": score}


def test_fields_stand_in_tags() -> None:
    text = (
        "I write <kind>claim</kind>, no:\n<kind>\n BILL </kind> <score>1,200</score>\n"
        "<quotes>a < b</quotes><quotes>{c}</quotes>"
    )
    assert values(read(XML, text)) == {"kind": "Bill", "score": 1200, "quotes": ["a < b", "{c}"]}


def test_tags_inside_of_tags_are_fields_of_fields() -> None:
    inner = {"type": "object", "properties": {"sure": {"type": "boolean"}, "n": {"type": "number"}}}
    schema = {"type": "object", "properties": {"a": inner, "b": {"type": "array", "items": inner}}}
    text = "<a><sure>yes</sure><n>0.5</n></a><b><n>1</n></b><b><n>2</n></b>"
    assert values(read(XML, text, schema=schema)) == {"a": {"sure": True, "n": 0.5}, "b": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("text", "error"), [("", "kind"), ("<score>1</score>", "kind"), ("<kind>Bill</kind><score>many</score>", "score")]
)
def test_a_tag_that_is_missing_or_of_another_type_is_invalid(text: str, error: str) -> None:
    answer = read(XML, text)
    assert answer.status == "invalid"
    assert error in (answer.error or "")


def test_groups_of_a_pattern_are_fields() -> None:
    source = AnswerSource("regex", pattern=r"(?i)kind: (?P<kind>\w+)(?:, score (?P<score>\d+))?")
    assert values(read(source, "The kind: claim, score 7.")) == {"kind": "Claim", "score": 7}
    assert values(read(source, "Kind: bill")) == {"kind": "Bill"}
    answer = read(source, "I do not know.")
    assert (answer.status, answer.error) == ("invalid", "the pattern of `from` is not in the answer")


CALL = {"type": "tool_use", "name": "record", "input": {"kind": "bill"}}


def test_the_input_of_a_tool_is_the_fields() -> None:
    source = AnswerSource("tool", tool="record")
    assert values(read(source, "I record it.", {**CALL, "name": "look_up"}, CALL)) == {"kind": "Bill"}
    assert read(source, "No call.").error == "the tool record was not called"
    broken = read(source, {**CALL, "input": {"kind": "Other"}})
    assert (broken.status, broken.text) == ("invalid", '{"kind":"Other"}')


def test_an_invalid_answer_can_be_kept_with_what_is_wrong() -> None:
    answer = read(JSON, '{"kind": "Other", "score": 1}', keeps_invalid=True)
    assert values(answer) == {"kind": "Other", "score": 1}
    assert "breaks the schema at kind" in (answer.error or "")
    assert read(JSON, "nothing", keeps_invalid=True).status == "invalid"


def test_thinking_citations_and_calls_become_columns() -> None:
    blocks = [
        {"type": "thinking", "thinking": "First.", "signature": "x"},
        {"type": "text", "text": "Bill it.", "citations": [{"type": "char_location", "cited_text": "a bill"}]},
        CALL,
    ]
    output = OutputSpec(keep=("thinking", "citations", "tool_calls"))
    reader = AnswerReader(output, has_tools=False)
    answer = reader.read(RequestResult("id", ResultKind.ANSWERED, message=json.dumps({"content": blocks}).encode()))
    assert reader.columns == ("answer", "_thinking", "_citations", "_tool_calls")
    assert answer.values == {
        "answer": "Bill it.",
        "_thinking": "First.",
        "_citations": [{"answer": "Bill it.", "type": "char_location", "cited_text": "a bill"}],
        "_tool_calls": [{"name": "record", "input": {"kind": "bill"}}],
    }


def test_thinking_of_an_answer_that_was_cut_is_kept_too() -> None:
    message = json.dumps({"content": [{"type": "thinking", "thinking": "Long."}]}).encode()
    reader = AnswerReader(OutputSpec(keep=("thinking",)), has_tools=False)
    answer = reader.read(RequestResult("id", ResultKind.THINKING_ONLY, message=message))
    assert (answer.status, answer.values) == ("thinking_only", {"_thinking": "Long."})
