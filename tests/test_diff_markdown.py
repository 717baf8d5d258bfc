"""The comment of a review: every variant word for word, never too long, and nothing in it obeys a prompt or a row."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.review.diff_markdown import MAX_CHARACTERS, render_diff_markdown
from batchforge.review.diff_text import render_diff_text
from batchforge.review.neutral import code, fenced, prose, summary
from tests.diff_examples import EXAMPLES, HOSTILE
from tests.golden_files import check_golden

AWKWARD = st.text(st.sampled_from("`~|<>&@#*_[]()!\\\n\r\u202e\x1b ab:/.w-1"), max_size=60)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "long"])
def test_each_variant_of_the_comment(name: str) -> None:
    check_golden(f"diff_{name}.md", render_diff_markdown(EXAMPLES[name]))


@pytest.mark.parametrize(
    "name",
    ["modified", "several", "no_state", "samples", "unknown", "answers", "clusters", "unlabelled", "gates", "hostile"],
)
def test_each_variant_for_the_terminal(name: str) -> None:
    check_golden(f"diff_{name}.txt", render_diff_text(EXAMPLES[name]) + "\n")


@pytest.mark.parametrize("limit", [MAX_CHARACTERS, 30_000])
def test_a_long_comment_leaves_out_whole_details_and_says_so(limit: int) -> None:
    text = render_diff_markdown(EXAMPLES["long"], max_characters=limit)
    assert len(text) <= limit
    assert re.search(r"\d+ details were left out", text)
    assert text.count("<details>") == text.count("</details>") > 10
    assert len(re.findall("^```", text, re.MULTILINE)) % 2 == 0
    assert "… 30 more" in text


def test_texts_of_prompts_and_rows_stay_what_they_are() -> None:
    outside = _outside_of_code(render_diff_markdown(EXAMPLES["hostile"]))
    assert "<script" not in outside
    assert "<img" not in outside
    assert not re.search(r"@\w", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"https://\w", outside)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", render_diff_markdown(EXAMPLES["hostile"]))


def _outside_of_code(text: str) -> str:
    text = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


@given(AWKWARD)
def test_a_code_span_ends_where_it_should(text: str) -> None:
    span = code(text)
    assert "\n" not in span
    ticks = re.match("`+", span)
    assert ticks is not None
    inside = span[len(ticks[0]) : -len(ticks[0])]
    assert ticks[0] not in re.findall("`+", inside)
    assert "<" not in _outside_of_code(span)


@given(st.lists(AWKWARD, max_size=5))
def test_no_line_closes_a_fence(lines: list[str]) -> None:
    first, *inside, last = fenced(lines).split("\n")
    assert first == last
    assert not any(line.strip().startswith(last) for line in inside)


@given(AWKWARD)
def test_prose_holds_no_markup_and_no_mention(text: str) -> None:
    words = prose(text)
    assert "\n" not in words
    assert "<" not in words
    assert not re.search("@(?!\u200b)|://(?!\u200b)", words)
    assert not re.search(r"(?<!\\)[`*_\[\]]", words.replace("\\\\", ""))


def test_a_summary_is_text() -> None:
    assert "<script" not in summary(HOSTILE)
    assert summary("a") == "<code>a</code>"
