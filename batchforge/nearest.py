"""A name that is not known, and those that are -> the one that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or nothing where none is near."""
    from difflib import get_close_matches

    folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    typed = name.lower().replace("-", "_")
    near = get_close_matches(typed, folded, n=5, cutoff=0.6)
    # Two letters that changed places are one slip: `modle` is `model` rather than `mode`.
    best = min(near, key=lambda candidate: _slips(typed, candidate), default=None)
    return f"Did you mean `{folded[best]}`?" if best is not None else ""


def _slips(typed: str, meant: str) -> tuple[int, bool]:
    """How many letters were added, left out, mistaken or swapped; among equals, the same letters win."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        last, before, row = before, row, [i]
        for j, wanted in enumerate(meant, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == meant[j - 2] and typed[i - 2] == wanted:
                slips = min(slips, last[j - 2] + 1)
            row.append(slips)
    return row[-1], sorted(typed) != sorted(meant)
