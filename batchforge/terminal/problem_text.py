"""Problems -> text for people (code, place, the line with a caret, what to do) and plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from batchforge.errors import Location, Problem, Severity
from batchforge.terminal.terminal_text import display_width, printable

_RED, _YELLOW, _BOLD, _CYAN, _DIM, _END = "\x1b[31;1m", "\x1b[33;1m", "\x1b[1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
_WHOLE, _BEFORE, _AFTER = 100, 60, 40
"""A line of up to so many characters is shown whole; of a longer one, so many before and after the caret."""


def render_problems(problems: Iterable[Problem], color: bool = False) -> str:
    """One block a problem, by file and line, with an empty line between blocks."""
    return "\n\n".join(_render(problem, color) for problem in in_order(problems))


def problems_to_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [_to_json(problem) for problem in in_order(problems)]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By path, line and column; what has no place comes first."""
    return sorted(problems, key=_order)


def _order(problem: Problem) -> tuple[str, int, int]:
    place = problem.location
    return (place.path, place.line or 0, place.column or 0) if place else ("", 0, 0)


def _render(problem: Problem, color: bool) -> str:
    return "\n".join(_lines(problem, color))


def _lines(problem: Problem, color: bool) -> Iterator[str]:
    is_warning = problem.severity is Severity.WARNING
    code = _painted(problem.code, _YELLOW if is_warning else _RED, color)
    place = _painted(printable(str(problem.location)), _BOLD, color) + ": " if problem.location else ""
    yield f"{code} {place}{'warning: ' if is_warning else ''}{printable(problem.message)}"
    if problem.location and problem.location.excerpt and problem.location.line:
        yield from _excerpt(problem.location, color)
    if problem.hint:
        yield f"  {_painted(printable(problem.hint), _CYAN, color)}"


def _excerpt(place: Location, color: bool) -> Iterator[str]:
    number = str(place.line)
    column = (place.column or 1) - 1
    is_long = len(place.excerpt) > _WHOLE
    start = max(0, column - _BEFORE) if is_long else 0
    end = column + _AFTER if is_long else len(place.excerpt)
    shown = _flat(("..." if start else "") + place.excerpt[start:column])
    after = _flat(place.excerpt[column:end]) + ("..." if end < len(place.excerpt) else "")
    gutter = _painted(f"  {number} | ", _DIM, color)
    blank = _painted(f"  {' ' * len(number)} | ", _DIM, color)
    yield f"{gutter}{shown}{after}"
    if place.column:
        yield f"{blank}{' ' * display_width(shown)}{_painted('^', _RED, color)}"


def _flat(text: str) -> str:
    return printable(text.replace("\t", " "))


def _painted(text: str, paint: str, color: bool) -> str:
    return f"{paint}{text}{_END}" if color else text


def _to_json(problem: Problem) -> dict[str, Any]:
    place = problem.location
    return {
        "code": problem.code,
        "severity": problem.severity.value,
        "message": problem.message,
        "path": place.path if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "hint": problem.hint or None,
    }
