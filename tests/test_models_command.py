"""`batchforge models`, as it is called."""

from __future__ import annotations

import json
from datetime import date

from click.testing import CliRunner

from batchforge.claude_models import all_models, price_table
from batchforge.commands.models import COLUMNS, command, prices_note, rows


def test_every_model_has_a_line_of_limits_and_prices() -> None:
    lines = [line.split("\t") for line in CliRunner().invoke(command).output.splitlines()]
    assert lines[0] == list(COLUMNS)
    assert {model.id for model in all_models()} <= {line[0] for line in lines}


def test_a_second_price_tier_has_a_line_of_its_own() -> None:
    listed = rows(all_models(), price_table(), date(2026, 11, 24))
    first = next(number for number, row in enumerate(listed) if row[0] == "claude-haiku-5-5")
    assert listed[first][5:] == ("0.10", "0.50", "0.125", "0.20", "0.01")
    assert listed[first + 1] == ("  prompts over 100,000", "", "", "", "", "0.50", "2.50", "0.625", "1.00", "0.05")


def test_doubtful_prices_and_missing_ones_are_marked() -> None:
    by_name = {row[0]: row for row in rows(all_models(), price_table(), date(2026, 11, 24))}
    assert by_name["claude-fable-5-2"][5] == "8.00?"
    assert by_name["claude-mythos-preview"][5:] == ("-",) * 5


def test_a_day_of_retirement_is_shown_and_counts_once_it_has_come() -> None:
    def status_on(day: date) -> str:
        return next(row[1] for row in rows(all_models(), price_table(), day) if row[0] == "claude-sonnet-4-5-20250929")

    assert status_on(date(2026, 11, 29)) == "deprecated, ends 2026-11-30"
    assert status_on(date(2026, 11, 30)) == "retired 2026-11-30"


def test_json_holds_exact_prices_as_text_and_the_age_of_the_table() -> None:
    result = CliRunner().invoke(command, ["--output", "json"])
    value = json.loads(result.output)
    (haiku,) = [model for model in value["models"] if model["id"] == "claude-haiku-5-5"]
    assert haiku["prices"]["tiers"][0]["cache_write_5m"] == "0.125"
    assert value["as_of"] == price_table().as_of.isoformat()
    assert value["age_days"] >= 0


def test_the_note_says_how_old_prices_are() -> None:
    assert "(today)" in prices_note(price_table(), price_table().as_of)
    assert "(99 days ago)" in prices_note(price_table(), date(2027, 3, 3))
