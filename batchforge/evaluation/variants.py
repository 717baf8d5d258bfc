"""A job and what is to be compared -> its variants, each a job spec of its own."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import product
from typing import Any

from batchforge.errors import UsageError
from batchforge.evaluation.comparison import Variant
from batchforge.row_shapes import InputRow
from batchforge.source_tree import SourceTree
from batchforge.spec import ContentTree, JobSpec, MessageSpec, TemplateSource
from batchforge.target import Mode

MOST_STRATA = 200
"""With more labels than this, rows are drawn from all of them together."""
_SEED = b"batchforge-strata-1"


@dataclass(frozen=True, slots=True)
class Axes:
    """What is compared; an empty axis has the job's own value."""

    models: Sequence[str] = ()
    modes: Sequence[Mode] = ()
    prompts: Sequence[str] = ()
    efforts: Sequence[str] = ()
    asks_twice: bool = False
    """The first variant once more, to see how often it agrees with itself."""


def make_variants(
    spec: JobSpec, axes: Axes, aliases: Mapping[str, str], tree: SourceTree, mode: Mode
) -> list[tuple[Variant, JobSpec]]:
    """Every combination. Variants that ask the same requests are numbered, so that each has answers of its own.

    Raises:
        UsageError: BF940 there is nothing to compare, BF941 a prompt cannot be read.
    """
    found: list[tuple[Variant, JobSpec]] = []
    numbers: Counter[tuple[str, str, str, str]] = Counter()
    models = axes.models or (spec.models if spec.ladder is not None else ("",))
    combinations = list(product(models, axes.prompts or ("",), axes.efforts or ("",), axes.modes or (mode,)))
    if axes.asks_twice:
        combinations.append(combinations[0])
    if len(combinations) < 2:
        hint = "Give --models a,b, or --prompts, --effort, --modes, or --aa."
        raise UsageError("BF940", "there is only one variant, so nothing can be compared.", hint=hint)
    for index, (model, prompt, effort, way) in enumerate(combinations):
        is_noise = axes.asks_twice and index == len(combinations) - 1
        name = _name(model, prompt, effort, way if axes.modes else "", is_noise) or "as it is"
        asked, alike = (model, prompt, effort, ""), (model, prompt, effort, way)
        variant = Variant(
            name, model or spec.model, way, prompt, effort, numbers[alike], numbers[asked], is_noise=is_noise
        )
        numbers.update([asked, alike])
        found.append((variant, _spec_of(spec, variant, aliases, tree)))
    return found


def _name(model: str, prompt: str, effort: str, mode: str, is_noise: bool) -> str:
    parts = [model, prompt.rpartition("/")[2], effort and f"effort {effort}", mode]
    name = ", ".join(part for part in parts if part)
    return f"{name or 'as it is'} again" if is_noise else name


def _spec_of(spec: JobSpec, variant: Variant, aliases: Mapping[str, str], tree: SourceTree) -> JobSpec:
    model = aliases.get(variant.model, variant.model)
    params = _params_of(spec, model)
    if variant.effort:
        params["output_config"] = {**params.get("output_config", {}), "effort": variant.effort}
    messages = spec.messages
    if variant.prompt:
        if not tree.exists(variant.prompt):
            hint = "Paths start at the project's folder."
            raise UsageError("BF941", f"there is no prompt {variant.prompt}.", hint=hint)
        text = TemplateSource(tree.read_text(variant.prompt), variant.prompt)
        content: ContentTree = {"type": TemplateSource("text", spec.path), "text": text}
        messages = (*messages[:-1], MessageSpec("user", (content,)))
    return replace(
        spec,
        # Requests of a variant are counted apart from the job's own, and answers are shared by what was asked.
        name=f"{spec.name}@{variant.name}",
        model=model,
        ladder=None,
        answers=1 if spec.ladder is not None else spec.answers,
        messages=messages,
        params=params,
        mode=variant.mode,
        canary=0,
        tests=(),
    )


def _params_of(spec: JobSpec, model: str) -> dict[str, Any]:
    """As the job asks this model, where it is one of several."""
    ladder = spec.ladder
    if ladder is not None and model in ladder.models:
        return dict(ladder.params[ladder.models.index(model)])
    return dict(spec.params)


def stratified_keys(rows: Iterable[InputRow], size: int, label: str) -> tuple[list[str], int]:
    """Keys of so many rows, the same ones every time, of each label as many as its share; and how many rows there are.

    Holds `size` keys for each label, never the rows.
    """
    counts: Counter[str] = Counter()
    held: dict[str, list[tuple[int, str]]] = {}
    total = 0
    for row in rows:
        total += 1
        stratum = str(row.values.get(label)) if label else ""
        if stratum not in counts and len(counts) >= MOST_STRATA:
            stratum = ""
        counts[stratum] += 1
        heap = held.setdefault(stratum, [])
        entry = -_hash(row.key), row.key
        if len(heap) < size:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    wanted = _allotted(counts, min(size, total))
    return [key for name, heap in held.items() for _, key in heapq.nlargest(wanted[name], heap)], total


def _allotted(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """As many of each as its share, the largest remainders first."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()} if total else {}
    given = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    for name in by_remainder[: size - sum(given.values())]:
        given[name] += 1
    return given


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8, key=_SEED).digest())


def field_that_decides(columns: Sequence[str], labels: tuple[str, str] | None, spec: JobSpec) -> tuple[str, str]:
    """(field, label column): as given, else as the job's own tests compare them, else the first field."""
    if labels is not None:
        return labels
    for test in spec.tests:
        if test.kind in ("accuracy", "f1", "confusion"):
            return str(test.args["column"]), str(test.args["label"])
    return columns[0], ""
