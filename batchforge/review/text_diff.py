"""Two texts -> the lines that differ, with the words that differ in them, and a little of what stands around."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

CONTEXT_LINES = 2
_MOST_LINES = 4_000
"""Longer texts, once what they share at both ends is set aside, are shown as one replaced by the other."""
_MOST_WORDS = 2_000
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_ALIKE = 0.4
"""Lines less alike than this are two lines, not one with other words."""

Kind = Literal["same", "old", "new", "gap"]


class Span(NamedTuple):
    text: str
    is_changed: bool


class DiffLine(NamedTuple):
    kind: Kind
    """`gap` stands for lines that are left out."""
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)


def diff_texts(old: str, new: str) -> list[DiffLine]:
    """Empty where they are equal."""
    return diff_lines(old.split("\n"), new.split("\n"))


def diff_lines(old: Sequence[str], new: Sequence[str]) -> list[DiffLine]:
    if old == new:
        return []
    return list(_with_little_context(list(_all_lines(old, new))))


def added_lines(new: Iterable[str]) -> list[DiffLine]:
    return [_line("new", text) for text in new]


def _all_lines(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    start = _common(old, new)
    end = min(_common(old[::-1], new[::-1]), min(len(old), len(new)) - start)
    yield from (_line("same", text) for text in old[:start])
    yield from _middle(old[start : len(old) - end], new[start : len(new) - end])
    yield from (_line("same", text) for text in old[len(old) - end :])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _middle(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    if len(old) + len(new) > _MOST_LINES:
        yield from _replaced(old, new)
        return
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from (_line("same", text) for text in old[i1:i2])
        else:
            yield from _replaced(old[i1:i2], new[j1:j2])


def _replaced(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    """Lines side by side are compared by words where they are alike."""
    olds, news = [], []
    for number in range(max(len(old), len(new))):
        left = old[number] if number < len(old) else None
        right = new[number] if number < len(new) else None
        pair = _by_words(left, right) if left is not None and right is not None else None
        if left is not None:
            olds.append(DiffLine("old", pair[0]) if pair else _line("old", left))
        if right is not None:
            news.append(DiffLine("new", pair[1]) if pair else _line("new", right))
    yield from olds
    yield from news


def _by_words(old: str, new: str) -> tuple[tuple[Span, ...], tuple[Span, ...]] | None:
    one, other = _WORDS.findall(old), _WORDS.findall(new)
    if len(one) + len(other) > _MOST_WORDS:
        return None
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return None
    olds: list[Span] = []
    news: list[Span] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        is_changed = tag != "equal"
        olds += [Span("".join(one[i1:i2]), is_changed)] if i2 > i1 else []
        news += [Span("".join(other[j1:j2]), is_changed)] if j2 > j1 else []
    return tuple(olds), tuple(news)


def _line(kind: Kind, text: str) -> DiffLine:
    return DiffLine(kind, (Span(text, False),))


def _with_little_context(lines: Sequence[DiffLine]) -> Iterator[DiffLine]:
    kept: set[int] = set()
    for number, line in enumerate(lines):
        if line.kind != "same":
            kept.update(range(number - CONTEXT_LINES, number + CONTEXT_LINES + 1))
    last = -1
    for number, line in enumerate(lines):
        if number not in kept:
            continue
        if number > last + 1:
            yield _line("gap", f"{number - last - 1} lines")
        yield line
        last = number
    if last < len(lines) - 1:
        yield _line("gap", f"{len(lines) - 1 - last} lines")
