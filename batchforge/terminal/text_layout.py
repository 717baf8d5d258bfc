"""Text -> lines that fit into a terminal, counted in its columns, so that CJK and emoji do not run over the edge."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence

from batchforge.terminal.terminal_text import display_width, printable

_JOINER = "\u200d"
# A character with what belongs to it: marks, variation selectors, skin tones, flags, and what a joiner ties to it.
_CLUSTER = re.compile(
    "(?:[\U0001f1e6-\U0001f1ff]{2}|.)(?:[\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]"
    "|\u200d.)*",
    re.DOTALL,
)


def terminal_columns() -> int:
    """Of the terminal, or COLUMNS; 80 where there is none."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def wrapped(text: str, columns: int, indent: str = "") -> Iterator[str]:
    """The text in lines that fit, broken at spaces where there are any; its own line ends stay."""
    room = max(10, columns - display_width(indent))
    for line in text.split("\n"):
        yield from ((indent + part).rstrip() for part in _broken(printable(line), room))


def shortened(text: str, columns: int) -> str:
    """The text on one line, its end cut off where it is too long for it."""
    line = printable(" ".join(text.split()))
    if display_width(line) <= columns:
        return line
    kept, width = [], 0
    for cluster in _CLUSTER.findall(line):
        width += display_width(cluster)
        if width > columns - 1:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + "…"


def joined(parts: Sequence[str], columns: int, indent: str = "") -> Iterator[str]:
    """Parts with a dot between them, on as many lines as they need; a part is broken only if it is too long alone."""
    line = ""
    for part in filter(None, parts):
        longer = f"{line} · {part}" if line else part
        if line and display_width(indent + longer) > columns:
            yield from wrapped(line, columns, indent)
            longer = part
        line = longer
    if line:
        yield from wrapped(line, columns, indent)


def _broken(line: str, room: int) -> Iterator[str]:
    while display_width(line) > room:
        end = _fitting(line, room)
        space = line.rfind(" ", 1, end + 1)
        cut = space if space > 0 else end
        yield line[:cut]
        line = line[cut:].lstrip(" ") if space > 0 else line[cut:]
    yield line


def _fitting(line: str, room: int) -> int:
    """How many characters of the line fit; at least one cluster."""
    width = end = 0
    for match in _CLUSTER.finditer(line):
        width += display_width(match[0])
        if width > room and end:
            break
        end = match.end()
        if width > room:
            break
    return end


def size_words(size_bytes: int) -> str:
    """
    >>> size_words(842), size_words(12_300), size_words(1_289_000_000)
    ('842 bytes', '12 KB', '1,289.0 MB')
    """
    if size_bytes < 1_000:
        return f"{size_bytes:,} byte{'' if size_bytes == 1 else 's'}"
    return f"{size_bytes / 1e3:,.0f} KB" if size_bytes < 999_500 else f"{size_bytes / 1e6:,.1f} MB"
