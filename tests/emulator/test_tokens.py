"""Token counts: deterministic, plausible, additive, and never more than bytes."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchforge.emulator.models import EmulatedModel, find_model, list_models
from batchforge.emulator.tokens import (
    count_input_tokens,
    count_text,
    image_size,
    image_tokens,
    pdf_pages,
    tool_prompt_tokens,
)


def model(model_id: str) -> EmulatedModel:
    found = find_model(model_id)
    assert found is not None
    return found


OLD, NEW = model("claude-opus-4-6"), model("claude-opus-5-5")
ENGLISH = (
    "The committee met on Tuesday to talk about the new library. Most of the members liked the plan, but two of them "
    "asked for a larger reading room, and one wanted to know who would pay for the heating in winter. "
)
CODE = 'def total(rows):\n    """Sum of the prices."""\n    return sum(row["price"] * row["count"] for row in rows)\n'
JAPANESE = "図書館の新しい計画について、委員会は火曜日に話し合った。"
DIGITS = "3141592653589793238462643383279502884197"
RUSSIAN = "Комиссия собралась во вторник, чтобы обсудить новую библиотеку."


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (ENGLISH, 3.5, 5.0),
        (CODE, 2.4, 4.2),
        (JAPANESE, 0.7, 1.2),
        (DIGITS, 1.8, 3.5),
        (RUSSIAN, 1.4, 3.0),
    ],
)
def test_characters_per_token_of_the_older_tokenizer_are_plausible(text: str, least: float, most: float) -> None:
    assert least <= len(text) / count_text(text, OLD) <= most


@pytest.mark.parametrize("text", [ENGLISH, CODE, JAPANESE, DIGITS, RUSSIAN])
def test_the_newer_tokenizer_gives_about_a_third_more(text: str) -> None:
    assert 1.2 <= count_text(text * 10, NEW) / count_text(text * 10, OLD) <= 1.4


@pytest.mark.parametrize(
    ("model_id", "newer"),
    [
        ("claude-haiku-4-5", False), ("claude-opus-4-5", False), ("claude-sonnet-4-6", False),
        ("claude-opus-4-6", False), ("claude-opus-4-7", True), ("claude-opus-4-8", True), ("claude-sonnet-5", True),
        ("claude-haiku-5-5", True), ("claude-fable-5-2", True), ("claude-mythos-preview", True),
    ],
)  # fmt: skip
def test_models_from_opus_4_7_on_have_the_newer_tokenizer(model_id: str, newer: bool) -> None:
    expected = count_text(ENGLISH, NEW) if newer else count_text(ENGLISH, OLD)
    assert count_text(ENGLISH, model(model_id)) == expected


@given(st.text(alphabet=st.characters(), max_size=200), st.sampled_from([OLD, NEW]))
@settings(deadline=None)
def test_a_text_has_no_more_tokens_than_bytes_and_some_if_it_is_not_empty(text: str, model: EmulatedModel) -> None:
    tokens = count_text(text, model)
    assert tokens <= len(text.encode("utf-8", "surrogatepass"))
    assert (tokens > 0) == bool(text)


@given(st.text(max_size=60), st.text(max_size=60))
@settings(deadline=None)
def test_more_text_never_has_fewer_tokens_and_parts_never_fewer_than_the_whole(one: str, other: str) -> None:
    whole = count_text(one + other, NEW)
    assert count_text(one, NEW) <= whole <= count_text(one, NEW) + count_text(other, NEW)


def params(**changes: Any) -> dict[str, Any]:
    return {"model": OLD.id, "max_tokens": 10, "messages": [{"role": "user", "content": ENGLISH}], **changes}


def test_a_string_counts_as_one_text_block() -> None:
    block = {"type": "text", "text": ENGLISH}
    as_blocks = params(messages=[{"role": "user", "content": [block]}], system=[block])
    assert count_input_tokens(params(system=ENGLISH), OLD) == count_input_tokens(as_blocks, OLD)


def test_cache_marks_cost_no_tokens() -> None:
    block = {"type": "text", "text": ENGLISH}
    marked = {**block, "cache_control": {"type": "ephemeral"}}
    tool = {"name": "t", "input_schema": {"type": "object"}}
    plain = params(system=[block], messages=[{"role": "user", "content": [block]}], tools=[tool])
    with_marks = params(
        system=[marked],
        messages=[{"role": "user", "content": [marked]}],
        tools=[{**tool, "cache_control": {"type": "ephemeral"}}],
        cache_control={"type": "ephemeral"},
    )
    assert count_input_tokens(plain, OLD) == count_input_tokens(with_marks, OLD)


def test_each_part_of_a_prompt_adds_its_own_tokens() -> None:
    bare = count_input_tokens(params(), OLD)
    assert count_input_tokens(params(system=ENGLISH), OLD) == bare + count_text(ENGLISH, OLD)
    longer = params(messages=[{"role": "user", "content": ENGLISH}] * 2)
    assert count_input_tokens(longer, OLD) > bare + count_text(ENGLISH, OLD)


@pytest.mark.parametrize(
    ("model_id", "automatic", "forced"),
    [
        ("claude-opus-5", 286, 406),
        ("claude-opus-4-8", 290, 410),
        ("claude-opus-4-7", 675, 804),
        ("claude-sonnet-5", 354, 474),
        ("claude-opus-4-6", 497, 589),
        ("claude-sonnet-4-6", 497, 589),
        ("claude-opus-4-5", 496, 588),
        ("claude-sonnet-4-5", 496, 588),
        ("claude-haiku-4-5", 496, 588),
    ],
)
def test_tools_bring_their_hidden_prompt(model_id: str, automatic: int, forced: int) -> None:
    chosen = model(model_id)
    assert tool_prompt_tokens(chosen, forced=False) == automatic
    assert tool_prompt_tokens(chosen, forced=True) == forced
    tools = [{"name": "t", "input_schema": {"type": "object"}}]
    without, with_auto = (count_input_tokens(params(**more), chosen) for more in ({}, {"tools": tools}))
    with_any = count_input_tokens(params(tools=tools, tool_choice={"type": "any"}), chosen)
    assert automatic < with_auto - without < automatic + 60
    assert with_any - with_auto == forced - automatic


def test_an_output_schema_brings_hidden_tokens() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = params(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert count_input_tokens(asked, OLD) > count_input_tokens(params(), OLD) + 100


@pytest.mark.parametrize(
    ("width", "height", "old", "new"),
    [
        (28, 28, 1, 1),
        (29, 28, 2, 2),
        (200, 200, 64, 64),
        (1000, 1000, 1296, 1296),
        (1092, 1092, 1521, 1521),
        (1568, 28, 56, 56),
        (2576, 28, 56, 92),
    ],
)
def test_images_count_in_patches_of_28_pixels(width: int, height: int, old: int, new: int) -> None:
    assert image_tokens(width, height, OLD) == old
    assert image_tokens(width, height, NEW) == new


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_a_large_image_is_scaled_down_to_what_a_model_takes(width: int, height: int) -> None:
    assert 1 <= image_tokens(width, height, OLD) <= 1568
    assert 1 <= image_tokens(width, height, NEW) <= 4784


def test_a_large_image_uses_most_of_what_it_may() -> None:
    assert image_tokens(8000, 8000, OLD) > 1400
    assert image_tokens(8000, 8000, NEW) > 4500


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480),
        b"GIF89a" + struct.pack("<HH", 640, 480),
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 480, 640) + b"\x03\x01\x22\x00",
        b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480),
        b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 639 | 479 << 14),
        b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
    ],
)
def test_the_size_of_an_image_is_read_from_its_bytes(data: bytes) -> None:
    assert image_size(data) == (640, 480)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_image_have_no_size(data: bytes) -> None:
    assert image_size(b"not an image" + data) is None
    for start in (b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFF\0\0\0\0WEBP"):
        image_size(start + data)


def test_pages_of_a_pdf_are_its_page_objects() -> None:
    assert pdf_pages(b"%PDF-1.7 /Type /Pages /Type /Page\n/Type/Page\n") == 2
    assert pdf_pages(b"%PDF-1.7 compressed") == 1


def block_tokens(block: dict[str, Any]) -> int:
    asked = params(messages=[{"role": "user", "content": [block]}])
    empty = params(messages=[{"role": "user", "content": []}])
    return count_input_tokens(asked, OLD) - count_input_tokens(empty, OLD)


def test_images_count_by_their_size_or_by_a_usual_one() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 280, 280)
    source = {"type": "base64", "media_type": "image/png", "data": b64encode(png).decode()}
    assert block_tokens({"type": "image", "source": source}) == 100
    assert block_tokens({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}) == 37 * 37


def test_documents_count_by_their_text_or_their_pages() -> None:
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": ENGLISH}}
    assert block_tokens(plain) > count_text(ENGLISH, OLD)
    assert block_tokens({**plain, "title": ENGLISH}) > 2 * count_text(ENGLISH, OLD)

    def pdf(pages: int) -> dict[str, Any]:
        data = b64encode(b"%PDF-1.7" + b" /Type /Page " * pages).decode()
        return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}

    assert 1500 * 4 < block_tokens(pdf(5)) - block_tokens(pdf(1)) < 3500 * 4


def test_calls_and_their_results_count_with_what_is_in_them() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": ENGLISH}]}
    assert block_tokens(result) > count_text(ENGLISH, OLD)
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {"q": ENGLISH}}
    assert block_tokens(call) > count_text(ENGLISH, OLD)
    found = {
        "type": "search_result",
        "source": "s",
        "title": "t",
        "content": [{"type": "text", "text": ENGLISH}],
    }
    assert block_tokens(found) > count_text(ENGLISH, OLD)


def test_counts_stay_what_they_are() -> None:
    """Prices in tests of others rest on these; a change here is one that they must see."""
    assert [count_text(text, OLD) for text in (ENGLISH, CODE, JAPANESE, DIGITS)] == PINNED_OLD
    assert [count_text(text, NEW) for text in (ENGLISH, CODE, JAPANESE, DIGITS)] == PINNED_NEW


PINNED_OLD = [46, 30, 31, 17]
PINNED_NEW = [59, 39, 41, 22]


def test_every_model_counts_a_prompt_with_everything_in_it() -> None:
    asked = params(
        system=ENGLISH,
        tools=[{"name": "t", "description": ENGLISH, "input_schema": {"type": "object"}}],
        messages=[
            {"role": "user", "content": ENGLISH},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "x"}]},
            {"role": "user", "content": [{"type": "text", "text": json.dumps(ENGLISH)}]},
        ],
    )
    for each in list_models():
        assert count_input_tokens(asked, each) > 4 * count_text(ENGLISH, each)
