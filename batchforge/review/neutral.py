"""Texts of prompts, rows and models -> texts that Markdown and HTML show and never obey."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from batchforge.terminal.terminal_text import printable

_BACKTICKS = re.compile("`+")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")
# What makes a name a mention, and an address a link, also where every mark is escaped.
_REFERENCES = re.compile(r"@|://|\bwww\.|\b(?:GH|gh)-(?=\d)")
_MOST_CHARACTERS = 600
_INVISIBLE = "\u200b"


def code(text: str, *, in_table: bool = False) -> str:
    """A code span, in which nothing is a mention, a link or markup."""
    shown = _short(text) or " "
    ticks = "`" * (max((len(run) for run in _BACKTICKS.findall(shown)), default=0) + 1)
    if shown[0] == "`" or shown[-1] == "`":
        shown = f" {shown} "
    if in_table:
        shown = shown.replace("|", "\\|")
    return f"{ticks}{shown}{ticks}"


def prose(text: str) -> str:
    """Plain words on one line."""
    shown = _short(text)
    shown = _REFERENCES.sub(lambda found: found[0] + _INVISIBLE, shown)
    shown = _MARKS.sub(r"\\\1", shown.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", shown)


def fenced(lines: Iterable[str], language: str = "") -> str:
    """A fence that no line can close."""
    shown = [printable(line) for line in lines]
    longest = max((len(run) for line in shown for run in _BACKTICKS.findall(line)), default=0)
    ticks = "`" * max(3, longest + 1)
    return "\n".join([f"{ticks}{language}", *shown, ticks])


def summary(text: str) -> str:
    """For between the tags of <summary>."""
    return f"<code>{html.escape(_short(text))}</code>"


def _short(text: str) -> str:
    """On one line, of a length that a line may have."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
