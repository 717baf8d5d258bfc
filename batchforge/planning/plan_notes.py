"""Plans -> what is worth knowing before they are sent: what breaks caches silently, what would make them longer,
and prompts that come near the end of the model's context window."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from batchforge.documents.file_piece import identity_of
from batchforge.errors import Problem
from batchforge.planning.cache_order import proposed_orders
from batchforge.planning.planner import JobPlan
from batchforge.requests.context_window import ContextCheck
from batchforge.requests.request import FileHole, Hole, SharedFile
from batchforge.state.records import StateReader
from batchforge.usd import usd_words

_SHORTEST_SHARED_BYTES = 1_000
"""Two jobs that agree in fewer bytes were hardly meant to share a prefix."""
_SHOWN_CHARACTERS = 40

_CHANGING = re.compile(
    r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{2}:\d{2}(?::\d{2})?\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b\d{8}T\d{6}\b|\b1[5-9]\d{8}(?:\d{3})?\b",
    re.IGNORECASE,
)
"""Dates, times of day, UUIDs, and seconds since 1970: what a run puts into a prompt and the next one changes."""


def plan_notes(plans: Sequence[JobPlan], state: StateReader | None, target: str) -> dict[str, list[str]]:
    """Job -> notes, for jobs that have any."""
    found: dict[str, list[str]] = {plan.job: [] for plan in plans}
    for plan in plans:
        if not plan.requests_to_send:
            continue
        found[plan.job] += [f"{problem.code} {problem.message}" for problem in context_problems(plan)]
        found[plan.job] += _changing_notes(plan, state, target)
        found[plan.job] += _order_notes(plan)
    for one, other in combinations((plan for plan in plans if plan.requests_to_send), 2):
        found[other.job] += _pair_notes(one, other)
    return {job: notes for job, notes in found.items() if notes}


# ---- the context window


def context_problems(plan: JobPlan) -> Iterator[Problem]:
    """Rows that surely do not fit into the model's context window, or else that the largest one comes near to it."""
    check, template = ContextCheck(plan.compiled.spec), plan.compiled.template
    largest_tokens = plan.largest_body_bytes * plan.tokens_per_byte
    if not plan.requests_to_send or not check.is_near(largest_tokens):
        return
    for planned in plan.to_send():
        check.take(planned.row.key, planned.row.place, template.body_bytes(planned.pieces or ()))
    yield from check.warnings(largest_tokens)


# ---- what changes from run to run


def _changing_notes(plan: JobPlan, state: StateReader | None, target: str) -> Iterator[str]:
    """A shared text that differs from that of the last run in nothing but a date, a time or an id."""
    before = _asked_before(plan, state, target)
    if before is None:
        return
    now = _shared_texts(plan.compiled.empty_params())
    for then, text in zip(_shared_texts(before), now, strict=False):
        if then == text or _CHANGING.sub("\0", then) != _CHANGING.sub("\0", text):
            continue
        pairs = zip(_CHANGING.findall(then), _CHANGING.findall(text), strict=True)
        old, new = next((a, b) for a, b in pairs if a != b)
        yield (
            f"the shared prompt differs from the last run's only in `{old}`, now `{new}`: with each such change every "
            "row is asked again and no cache is found. Leave it out, or put it behind what all rows share."
        )
        return


def _asked_before(plan: JobPlan, state: StateReader | None, target: str) -> Mapping[str, Any] | None:
    manifest = state.manifest(target, plan.job) if state else None
    if state is None or manifest is None:
        return None
    for row in state.manifest_rows(manifest.manifest_id):
        asked = state.asked(row.request_id) if row.request_id else None
        return msgspec.json.decode(asked.body) if asked else None
    return None


def _shared_texts(params: Mapping[str, Any]) -> list[str]:
    """Texts of the system prompt and of the first message: there stands what all rows share."""
    blocks = [*params.get("system", ()), *params["messages"][0]["content"]]
    return [block["text"] for block in blocks if block.get("type") == "text"]


# ---- jobs that share a prefix


def _pair_notes(one: JobPlan, other: JobPlan) -> Iterator[str]:
    """Two jobs of one model whose prompts begin alike, and what keeps them from one cache entry."""
    if one.compiled.spec.model != other.compiled.spec.model:
        return
    first, second = _prefix(one), _prefix(other)
    common = next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    if common < _SHORTEST_SHARED_BYTES or common < min(len(first), len(second)) / 2:
        return
    if common < max(len(first), len(second)):
        yield (
            f"begins like {one.job} and differs from byte {common:,} of what its rows share on: "
            f"`{_shown(second, common)}`, there `{_shown(first, common)}`; each writes a cache entry of its own. "
            "End the block before that place, and they share one."
        )
        return
    differing = sorted(name for name in _settings(one) if _settings(one)[name] != _settings(other)[name])
    if differing:
        yield (
            f"shares its prompt with {one.job}, but not {', '.join(differing)}: "
            "with these the API reads a prompt differently, so neither finds what the other has cached."
        )


def _prefix(plan: JobPlan) -> bytes:
    """What all rows share, in the order in which the model reads it."""
    params = plan.compiled.empty_params()
    parts = [msgspec.json.encode(params.get(name)) for name in ("tools", "system")]
    texts: list[bytes] = []
    for text in _texts_before_the_row(plan):
        texts.append(text.encode())
    return b"\n".join([*parts, *texts])


def _texts_before_the_row(plan: JobPlan) -> Iterator[str]:
    for message in plan.compiled.template.messages:
        for block in message["content"]:
            if isinstance(block, FileHole):
                return
            text = identity_of(block.piece).decode() if isinstance(block, SharedFile) else block.get("text")
            if isinstance(text, Hole) or not isinstance(text, str):
                return
            yield text


def _settings(plan: JobPlan) -> dict[str, Any]:
    params = plan.compiled.empty_params()
    config = params.get("output_config", {})
    return {
        "thinking": params.get("thinking"),
        "effort": config.get("effort"),
        "output format": config.get("format"),
        "tool_choice": params.get("tool_choice"),
    }


def _shown(data: bytes, start: int) -> str:
    text = data[start : start + 4 * _SHOWN_CHARACTERS].decode(errors="ignore")
    return " ".join(text[:_SHOWN_CHARACTERS].split())


# ---- an order of blocks that would share more


def _order_notes(plan: JobPlan) -> Iterator[str]:
    for proposal in proposed_orders(plan):
        yield (
            f"{proposal.what} stands behind what differs by row, and holds {proposal.tokens:,.0f} tokens that all rows "
            f"share: before it, caching would save about {usd_words(proposal.saved_pico_usd)} of this run. "
            "That changes the prompt, so every row would be asked anew; nothing is reordered by itself."
        )
