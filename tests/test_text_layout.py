"""Lines that fit into a terminal, whatever the script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.terminal.terminal_text import display_width
from batchforge.terminal.text_layout import joined, shortened, size_words, wrapped

TEXTS = st.text(st.sampled_from("abc dé 発送がまだです 🚲👍🏽👨‍👩‍👧\u0301\u200d❤️🇩🇪-.\t\x1b\u202e"), max_size=80)
COLUMNS = st.integers(20, 60)


@given(TEXTS, COLUMNS)
def test_no_line_is_wider_than_asked(text: str, columns: int) -> None:
    assert all(display_width(line) <= columns for line in wrapped(text, columns, "  "))


@given(st.lists(st.sampled_from("ab🚲発é"), max_size=80).map("".join), COLUMNS)
def test_breaking_loses_no_character(text: str, columns: int) -> None:
    assert "".join(line.removeprefix("  ") for line in wrapped(text, columns, "  ")) == text


@given(TEXTS, COLUMNS)
def test_a_shortened_text_is_one_line_that_fits(text: str, columns: int) -> None:
    line = shortened(text, columns)
    assert "\n" not in line
    assert display_width(line) <= columns


def test_lines_are_broken_at_spaces() -> None:
    assert list(wrapped("a red bicycle and a blue boat", 16)) == ["a red bicycle", "and a blue boat"]


def test_line_ends_of_the_text_stay() -> None:
    assert list(wrapped("one\n\n  two", 40, "> ")) == ["> one", ">", ">   two"]


@pytest.mark.parametrize("cluster", ["👨‍👩‍👧", "👍🏽", "é", "🇩🇪", "❤️"])
def test_what_belongs_together_is_not_torn_apart(cluster: str) -> None:
    lines = list(wrapped(cluster * 20, 20))
    assert all(len(line) % len(cluster) == 0 for line in lines)
    assert "".join(lines) == cluster * 20


def test_what_could_steer_the_terminal_is_shown_instead() -> None:
    assert shortened("red\x1b[2Jboat", 40) == "red\\x1b[2Jboat"


def test_short_text_stays_whole_and_long_text_says_that_it_was_cut() -> None:
    assert shortened("a red\n bicycle", 13) == "a red bicycle"
    assert shortened("a red bicycle", 10) == "a red bic…"


def test_parts_go_to_the_next_line_as_a_whole() -> None:
    assert list(joined(["answered", "", "12 tokens", "$0.01"], 22, "  ")) == ["  answered · 12 tokens", "  $0.01"]


def test_sizes_never_look_like_nothing() -> None:
    sizes = [size_words(size) for size in (0, 1, 999, 1_000, 999_499, 999_500, 12_345_678)]
    assert sizes == ["0 bytes", "1 byte", "999 bytes", "1 KB", "999 KB", "1.0 MB", "12.3 MB"]
