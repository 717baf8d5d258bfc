"""A `prices:` setting of batchforge.yml -> model id -> its prices, or what is wrong with them and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batchforge.claude_models import find_model, price_table
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, ProblemList


def read_own_prices(
    node: ConfigNode, aliases: Mapping[str, str], problems: ProblemList
) -> Mapping[str, Mapping[str, Any]]:
    """Models may be named by id, by the API's alias or by the project's own; each is named by its id afterwards."""
    found: dict[str, Mapping[str, Any]] = {}
    named: dict[str, str] = {}
    for name, entry in node.entries.items():
        model_id = _id_of(aliases.get(name, name))
        if model_id in found:
            message = f"`{named[model_id]}` and `{name}` are the same model, {model_id}."
            hint = "Price it once."
            problems.add("BF440", message, location=entry.key_location, hint=hint)
        elif _is_sound(model_id, entry, problems):
            found[model_id], named[model_id] = entry.data, name
    return found


def _id_of(name: str) -> str:
    model = find_model(name)
    return model.id if model else name


def _is_sound(model_id: str, entry: ConfigNode, problems: ProblemList) -> bool:
    try:
        price_table({model_id: entry.data})
    except BatchForgeError as exc:
        problems.items += [replace(problem, location=entry.key_location) for problem in exc.problems]
        return False
    return True
