"""Amounts of money in words: one form for all places, and nothing that was paid looks like nothing."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from batchforge.results import Brought
from batchforge.summaries import JobSummary, RunSummary
from batchforge.terminal.report import render_run
from batchforge.usd import at_least_cents, limit_words, paid_words, pico, usd_apart, usd_exact, usd_words
from tests.builders import TREE

PICO = 10**12
FORMATTED = re.compile(r"\$\{[^{}]*:[^{}]*f\}")
"""An amount with a form of its own, in an f-string."""


def test_small_sums_are_shown_with_more_digits() -> None:
    assert (usd_words(6_870_000_000_000), usd_words(4_900_000_000), usd_words(0)) == ("$6.87", "$0.0049", "$0.00")


def test_what_would_round_to_nothing_shows_its_first_two_digits() -> None:
    words = [usd_words(pico(usd)) for usd in (0.000_03, 0.000_012_4, 0.000_000_9)]
    assert words == ["$0.00003", "$0.000012", "$0.0000009"]


def test_what_was_paid_keeps_a_hundredth_of_a_cent() -> None:
    assert [paid_words(pico(usd)) for usd in (1234.5, 0.0017, 0)] == ["$1,234.5000", "$0.0017", "$0.0000"]


def test_a_sum_below_nothing_has_its_sign_first() -> None:
    assert (paid_words(-PICO), usd_words(-20_000_000)) == ("-$1.0000", "-$0.00002")


@given(st.integers(-(10**16), 10**16), st.sampled_from([None, 2, 4, 6]))
def test_words_are_near_the_amount_and_are_zero_only_for_nothing(pico_usd: int, decimals: int | None) -> None:
    words = usd_words(pico_usd, decimals)
    shown = Decimal(words.replace("$", "").replace(",", ""))
    assert (shown == 0) == (pico_usd == 0)
    assert abs(shown - Decimal(pico_usd).scaleb(-12)) <= Decimal("0.005")


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_two_sums_that_differ_are_told_apart(one: int, other: int) -> None:
    words = usd_apart(one, other)
    assert (words[0] == words[1]) == (one == other)


def test_limits_show_all_digits_that_were_written() -> None:
    assert [limit_words(usd) for usd in (10, 0.004, 0.125)] == ["$10.00", "$0.004", "$0.125"]
    assert [at_least_cents(Decimal(usd)) for usd in ("2.5", "0.125", "18")] == ["2.50", "0.125", "18.00"]
    assert [usd_exact(amount) for amount in (20_500_000_000, 1, 0)] == ["0.0205", "0.000000000001", "0"]


def test_a_summary_shows_what_a_tiny_run_has_cost() -> None:
    job = JobSummary("answers", rows=1, requests_sent=1, brought=Brought(1, 1, 1, cost_pico_usd=30_000_000))
    summary = RunSummary("1", "local", False, "run", "ok", "2026-11-24T12:00:00Z", "2026-11-24T12:00:01Z", [job])
    assert "1 result for $0.00003;" in render_run(summary)


def test_no_other_place_gives_amounts_a_form() -> None:
    sources = {path: path.read_text() for path in (TREE / "batchforge").rglob("*.py") if path.name != "usd.py"}
    assert [f"{path.name}: {found}" for path, text in sources.items() for found in FORMATTED.findall(text)] == []
