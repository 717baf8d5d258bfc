"""The estimator against public recordings of real answers, kept as counts of what is in them and the tokens billed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.claude_models import TokenizerFamily, find_model
from batchforge.token_estimate import (
    COUNTED,
    TYPICAL_ERROR,
    WEIGHTS,
    count_text,
    estimate_json_text_tokens,
    estimate_params_tokens,
    estimate_text_tokens,
    tokens_of_counts,
    unbounded_inputs,
    upper_bound_tokens,
)

# Tokenizer family, counts in the order of COUNTED, tokens of the answer (three less than billed: the answer's frame).
RECORDED: list[tuple[TokenizerFamily, tuple[int, ...], int]] = [
    ("v1", (23, 104, 0, 5, 11, 20, 12, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0), 47),
    ("v1", (21, 138, 0, 0, 0, 7, 7, 0, 0), 30),
    ("v1", (29, 122, 6, 5, 7, 20, 13, 0, 0), 53),
    ("v1", (35, 168, 3, 4, 6, 15, 9, 0, 0), 56),
    ("v1", (47, 212, 0, 0, 0, 36, 22, 6, 1), 78),
    ("v1", (60, 285, 0, 4, 4, 12, 12, 7, 0), 85),
    ("v1", (59, 297, 0, 0, 0, 27, 18, 6, 0), 89),
    ("v1", (96, 475, 0, 0, 0, 20, 17, 0, 0), 144),
    ("v1", (108, 504, 6, 1, 1, 40, 31, 12, 0), 152),
    ("v1", (110, 543, 0, 0, 0, 23, 20, 10, 0), 162),
    ("v1", (136, 699, 0, 0, 0, 40, 30, 8, 0), 194),
    ("v1", (160, 752, 0, 0, 0, 27, 24, 12, 0), 206),
    ("v1", (174, 814, 0, 0, 0, 44, 35, 11, 0), 240),
    ("v1", (188, 906, 0, 0, 0, 34, 28, 13, 0), 250),
    ("v2", (38, 147, 0, 0, 0, 8, 8, 0, 0), 58),
    ("v2", (39, 170, 0, 2, 5, 7, 7, 2, 0), 69),
    ("v2", (40, 179, 0, 0, 0, 20, 14, 0, 0), 79),
    ("v2", (52, 238, 0, 0, 0, 36, 26, 6, 0), 112),
    ("v2", (89, 383, 1, 3, 3, 57, 45, 7, 0), 192),
    ("v2", (150, 662, 1, 1, 1, 93, 65, 26, 4), 313),
    ("v2", (165, 728, 1, 0, 0, 103, 75, 19, 5), 356),
    ("v2", (180, 764, 2, 0, 0, 98, 71, 29, 6), 352),
    ("v2", (168, 737, 5, 3, 3, 114, 80, 37, 18), 384),
    ("v2", (185, 848, 3, 0, 0, 125, 82, 40, 8), 423),
    ("v2", (200, 866, 2, 2, 2, 118, 88, 29, 30), 432),
    ("v2", (233, 964, 5, 0, 0, 149, 109, 40, 8), 489),
    ("v2", (609, 3725, 14, 13, 34, 288, 203, 88, 0, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0), 1638),
    ("v2", (649, 3839, 6, 15, 43, 266, 185, 64, 0, 3, 0, 0, 0, 0, 2, 0, 0, 0, 0), 1619),
]


@pytest.mark.parametrize(("family", "counts", "billed_tokens"), RECORDED)
def test_no_recorded_answer_is_estimated_far_off(
    family: TokenizerFamily, counts: tuple[int, ...], billed_tokens: int
) -> None:
    assert tokens_of_counts(counts, family) == pytest.approx(billed_tokens, rel=0.2)


def test_nine_of_ten_recorded_answers_are_estimated_within_the_stated_error() -> None:
    errors = [abs(tokens_of_counts(counts, family) / billed - 1) for family, counts, billed in RECORDED]
    assert sum(error <= TYPICAL_ERROR for error in errors) >= 0.9 * len(errors)


@pytest.mark.parametrize("family", ["v1", "v2"])
def test_errors_cancel_out_over_recorded_answers(family: TokenizerFamily) -> None:
    recorded = [(counts, tokens) for f, counts, tokens in RECORDED if f == family]
    estimated = sum(tokens_of_counts(counts, family) for counts, _ in recorded)
    assert estimated == pytest.approx(sum(tokens for _, tokens in recorded), rel=0.08)


def request(model_id: str, text: str, **more: Any) -> float:
    params = {"messages": [{"role": "user", "content": text}], **more}
    return estimate_params_tokens(params, find_model(model_id))


SQUARE_ROOT: dict[str, Any] = {
    "name": "square_root",
    "description": "Return the square root.",
    "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}


@pytest.mark.parametrize(
    ("model_id", "text", "billed_tokens"),
    [
        ("claude-haiku-4-5", "Hello, world!", 11),
        ("claude-sonnet-4-5", "What is 2 + 2?", 16),
        ("claude-opus-5", "What is 2+2?", 13),
        ("claude-opus-4-8", "Say hello. Use only one word.", 17),
    ],
)
def test_a_short_request_is_its_text_and_the_frame_around_it(model_id: str, text: str, billed_tokens: int) -> None:
    assert request(model_id, text) == pytest.approx(billed_tokens, abs=3)


@pytest.mark.parametrize(
    ("model_id", "auto", "forced"),
    [
        ("claude-opus-5", 286, 406),
        ("claude-opus-4-7", 675, 804),
        ("claude-sonnet-4-6", 497, 589),
        ("claude-haiku-4-5", 496, 588),
    ],
)
def test_tools_bring_hidden_instructions_of_the_published_size(model_id: str, auto: int, forced: int) -> None:
    plain = request(model_id, "x")
    tool_text = estimate_text_tokens(json.dumps(SQUARE_ROOT), find_model(model_id).tokenizer)  # type: ignore[union-attr]
    with_tools = request(model_id, "x", tools=[SQUARE_ROOT])
    with_forced = request(model_id, "x", tools=[SQUARE_ROOT], tool_choice={"type": "any"})
    assert with_tools - plain == pytest.approx(auto + tool_text)
    assert with_forced - plain == pytest.approx(forced + tool_text)


def test_an_output_format_counts_its_schema_and_hidden_instructions() -> None:
    schema = {"type": "object", "properties": {"is_fruit": {"type": "boolean"}}}
    output_config = {"format": {"type": "json_schema", "schema": schema}}
    more = request("claude-haiku-5-5", "x", output_config=output_config) - request("claude-haiku-5-5", "x")
    assert more == pytest.approx(152 + estimate_text_tokens(json.dumps(schema), "v2"))


def test_a_string_and_its_text_block_count_the_same() -> None:
    model = find_model("claude-haiku-5-5")
    as_string = {"system": "Sort it.", "messages": [{"role": "user", "content": "A ticket"}]}
    as_blocks = {
        "system": [{"type": "text", "text": "Sort it."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "A ticket"}]}],
    }
    assert estimate_params_tokens(as_string, model) == estimate_params_tokens(as_blocks, model)


def test_tool_calls_and_their_results_count() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "square_root", "input": {"n": 1764}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    assert estimate_params_tokens({"messages": messages}, find_model("claude-opus-5")) > 40


def test_plain_text_documents_count_and_binary_ones_do_not() -> None:
    text = {"type": "document", "title": "A lease", "source": {"type": "text", "data": "word " * 100}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "word" * 100}}
    empty = {"messages": [{"role": "user", "content": []}]}
    counted = [{"messages": [{"role": "user", "content": [block]}]} for block in (text, pdf)]
    assert estimate_params_tokens(counted[0], None) > estimate_params_tokens(empty, None) + 100
    assert estimate_params_tokens(counted[1], None) == estimate_params_tokens(empty, None)


ENGLISH = "The customer asks why the premium of the policy went up after the renewal, and wants to know what to do. "
CODE = 'def total(rows: list[Row]) -> Decimal:\n    return sum((row["amount"] for row in rows), Decimal(0))\n'
JSON = '{"id": 4711, "name": "Ms Example", "tags": ["new", "open"], "amount": 12.5}'
CHINESE = "客户询问保险费为什么上涨，并想知道该怎么办。"


@pytest.mark.parametrize(
    ("text", "family", "least", "most"),
    [
        (ENGLISH, "v1", 3.9, 5.2),
        (ENGLISH, "v2", 2.8, 3.9),
        (CODE, "v1", 2.6, 3.9),
        (CODE, "v2", 2.2, 3.3),
        (JSON, "v1", 1.8, 3.0),
        (CHINESE, "v1", 0.7, 1.3),
        (CHINESE, "v2", 0.7, 1.3),
        ("12345678" * 20, "v1", 2.0, 10.0),
    ],
)
def test_characters_per_token_are_those_of_the_kind_of_text(
    text: str, family: TokenizerFamily, least: float, most: float
) -> None:
    assert least <= len(text) / estimate_text_tokens(text, family) <= most


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [(ENGLISH, 1.3, 1.5), (CODE, 1.1, 1.35), (CHINESE, 1.0, 1.05), ("2026-11-24 06:38:00 4711 ", 1.0, 1.05)],
)
def test_the_newer_tokenizer_needs_more_tokens_where_it_is_known_to(text: str, least: float, most: float) -> None:
    ratio = estimate_text_tokens(text * 20, "v2") / estimate_text_tokens(text * 20, "v1")
    assert least <= ratio <= most


def test_counts_are_of_what_they_say() -> None:
    text = "Call getHTTPHeader 3 times, in 2026!\n  Größe für 東京 и мир 🙂"
    named = dict(zip(COUNTED, count_text(text), strict=True))
    assert named == {
        "words": 6,
        "letters": 29,
        "capitals after capitals": 2,
        "numbers": 2,
        "digits": 5,
        "marks": 2,
        "runs of marks": 2,
        "line ends": 1,
        "pairs of spaces": 1,
        "accented": 3,
        "greek": 0,
        "cyrillic": 4,
        "right to left": 0,
        "indic": 0,
        "typographic": 0,
        "kana": 0,
        "chinese": 2,
        "hangul": 0,
        "emoji": 1,
    }


def test_each_count_has_a_weight() -> None:
    assert {len(weights) for weights in WEIGHTS.values()} == {len(COUNTED)}


def test_text_in_bytes_and_as_json_counts_as_the_text() -> None:
    text = 'Zwei "Zeilen"\nmit Größe'
    expected = estimate_text_tokens(text, "v2")
    assert estimate_text_tokens(text.encode(), "v2") == expected
    assert estimate_json_text_tokens(json.dumps(text).encode(), "v2") == expected


FAMILIES: st.SearchStrategy[TokenizerFamily] = st.sampled_from(["v1", "v2"])
TEXTS = st.text() | st.text(alphabet=" aA0.\n\té漢🙂")


@given(text=TEXTS, family=FAMILIES)
def test_no_text_has_more_tokens_than_bytes(text: str, family: TokenizerFamily) -> None:
    assert 0 <= estimate_text_tokens(text, family) <= len(text.encode("utf-8", "surrogatepass"))


@given(text=TEXTS, more=TEXTS, family=FAMILIES)
def test_a_longer_text_never_has_fewer_tokens(text: str, more: str, family: TokenizerFamily) -> None:
    assert estimate_text_tokens(text + more, family) >= estimate_text_tokens(text, family) - 1e-9


@given(
    system=TEXTS,
    texts=st.lists(TEXTS, max_size=4),
    has_tools=st.booleans(),
    has_format=st.booleans(),
    is_forced=st.booleans(),
    model_id=st.sampled_from(["claude-haiku-5-5", "claude-opus-4-7", "claude-haiku-4-5", "unknown"]),
)
def test_the_upper_bound_is_above_the_estimate_of_any_request(
    system: str, texts: list[str], has_tools: bool, has_format: bool, is_forced: bool, model_id: str
) -> None:
    params: dict[str, Any] = {
        "model": model_id,
        "system": system,
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]} for text in texts],
    }
    if has_tools:
        params |= {"tools": [SQUARE_ROOT], "tool_choice": {"type": "any" if is_forced else "auto"}}
    if has_format:
        params["output_config"] = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    body = json.dumps(params, ensure_ascii=False).encode("utf-8", "surrogatepass")
    bound = upper_bound_tokens(len(body), has_tools=has_tools, has_output_format=has_format)
    assert estimate_params_tokens(params, find_model(model_id)) <= bound


def test_without_knowing_the_request_the_bound_leaves_room_for_tools_and_formats() -> None:
    assert upper_bound_tokens(1000) > upper_bound_tokens(1000, has_tools=False, has_output_format=False) > 1000


def test_inputs_without_a_bound_are_named() -> None:
    params = {
        "tools": [{"type": "web_search_20260318", "name": "web_search"}, SQUARE_ROOT],
        "mcp_servers": [{"name": "docs"}],
        "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}],
    }
    assert unbounded_inputs(params) == ("MCP servers", "image blocks", "the tool web_search_20260318")
    assert unbounded_inputs({"messages": [{"role": "user", "content": "x"}], "tools": [SQUARE_ROOT]}) == ()
