"""Texts of prompts, rows and models -> pieces of HTML that show them; the few forms that a report is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Literal

from batchforge.terminal.terminal_text import printable

Tone = Literal["", "good", "bad", "unsure"]
_MOST_CHARACTERS = 20_000


def shown(text: str) -> str:
    return escape(printable(cut(text)))


def cut(text: str) -> str:
    more = len(text) - _MOST_CHARACTERS
    return text if more <= 0 else f"{text[:_MOST_CHARACTERS]}… ({more:,} more characters)"


def badge(text: str, tone: Tone = "") -> str:
    return f'<span class="badge {tone}">{shown(text)}</span>'


def listed(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "<ul>" + "".join(f"<li>{shown(line)}</li>" for line in lines) + "</ul>"


def head_row(names: Sequence[str]) -> str:
    return "<thead><tr>" + "".join(f'<th scope="col">{shown(name)}</th>' for name in names) + "</tr></thead>"


def cells(values: Sequence[str]) -> str:
    """A row of a table; the values are HTML."""
    return "<tr>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>"
