"""What people see of a problem: code, place, line, caret, hint, and nothing that could steer the terminal."""

from __future__ import annotations

from batchforge.errors import Location, Problem, Severity
from batchforge.terminal.problem_text import problems_to_json, render_problems
from batchforge.terminal.terminal_text import display_width, printable

PROBLEM = Problem(
    "BF101", "`modle` is wrong.", Location("jobs/x.yml", 14, 3, "  modle: cheap"), "Did you mean `model`?"
)


def test_a_problem_shows_its_line_with_a_caret() -> None:
    assert render_problems([PROBLEM]) == (
        "BF101 jobs/x.yml:14:3: `modle` is wrong.\n  14 |   modle: cheap\n     |   ^\n  Did you mean `model`?"
    )


def test_a_problem_without_a_place_is_a_line() -> None:
    assert render_problems([Problem("BF901", "No.")]) == "BF901 No."
    assert render_problems([Problem("BF118", "No.", Location("a.yml"))]) == "BF118 a.yml: No."


def test_a_warning_says_so() -> None:
    assert render_problems([Problem("BF401", "Hm.", severity=Severity.WARNING)]) == "BF401 warning: Hm."


def test_problems_come_by_file_and_line() -> None:
    places = [Location("b.yml", 1, 1), Location("a.yml", 10, 1), Location("a.yml", 9, 5), None]
    text = render_problems([Problem("BF101", "x", place) for place in places])
    assert text == "BF101 x\n\nBF101 a.yml:9:5: x\n\nBF101 a.yml:10:1: x\n\nBF101 b.yml:1:1: x"


def test_the_caret_stands_below_its_character_also_after_wide_ones() -> None:
    line = "  漢😀é\te\u0301: x"
    problem = Problem("BF101", "m", Location("x.yml", 7, line.index("x") + 1, line))
    _, shown, caret = render_problems([problem]).split("\n")
    assert shown == "  7 |   漢😀é e\u0301: x"
    assert display_width(shown[: shown.index("x")]) == caret.index("^")


def test_control_characters_are_written_out() -> None:
    line = "a: \x1b[31m\x07\u202eb"
    problem = Problem("BF101", "m\x1b]0;t\x07", Location("x\x1b.yml", 1, len(line), line), "h\r\n")
    text = render_problems([problem])
    assert text == (
        "BF101 x\\x1b.yml:1:11: m\\x1b]0;t\\x07\n  1 | a: \\x1b[31m\\x07\\u202eb\n    | " + " " * 21 + "^\n  h\\r\\n"
    )


def test_a_long_line_is_cut_around_the_caret() -> None:
    line = "x" * 500 + "!" + "y" * 500
    _, shown, caret = render_problems([Problem("BF101", "m", Location("x.yml", 1, 501, line))]).split("\n")
    assert len(shown) < 120
    assert shown[caret.index("^")] == "!"
    assert shown.startswith("  1 | ...x")
    assert shown.endswith("y...")


def test_colour_is_only_added() -> None:
    import re

    coloured = render_problems([PROBLEM], color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_problems([PROBLEM])
    assert coloured != render_problems([PROBLEM])


def test_problems_as_json() -> None:
    assert problems_to_json([PROBLEM, Problem("BF901", "No.")]) == [
        {
            "code": "BF901",
            "severity": "error",
            "message": "No.",
            "path": None,
            "line": None,
            "column": None,
            "hint": None,
        },
        {
            "code": "BF101",
            "severity": "error",
            "message": "`modle` is wrong.",
            "path": "jobs/x.yml",
            "line": 14,
            "column": 3,
            "hint": "Did you mean `model`?",
        },
    ]


def test_ordinary_text_is_left_alone() -> None:
    assert printable("é漢😀 👩\u200d👩 \\x") == "é漢😀 👩\u200d👩 \\x"
