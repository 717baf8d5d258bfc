"""A name that is not known, and those that are -> the one that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or nothing where none is near."""
    from difflib import get_close_matches

    folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    near = get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f"Did you mean `{folded[near[0]]}`?" if near else ""
