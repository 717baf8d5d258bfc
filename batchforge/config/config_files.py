"""A project's YAML file -> a checked `ConfigNode`, or every problem in it with file, line, column and hint.

Also the one place that knows where `schemas/` lies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from batchforge.config.schema_check import SchemaCheck
from batchforge.config.yaml_nodes import ConfigNode, parse_yaml
from batchforge.errors import BatchForgeError, Location, Problem, ProblemList
from batchforge.source_tree import SourceTree

_LEADING_TABS = re.compile(r"^[\t ]+", re.MULTILINE)


def schemas_folder() -> Path:
    """`batchforge/schemas` in a wheel; `schemas` beside the package in a checkout or an editable install."""
    package = Path(__file__).parent.parent
    in_wheel = package / "schemas"
    return in_wheel if in_wheel.is_dir() else package.parent / "schemas"


@cache
def load_schema(name: str) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = json.loads((schemas_folder() / name).read_bytes())
    return schema


class _Schemas(Mapping[str, Mapping[str, Any]]):
    """The schemas by file name, read when one is asked for."""

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return load_schema(name)

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in sorted(schemas_folder().glob("*.schema.json")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


SCHEMAS = _Schemas()


def read_config_file(tree: SourceTree, path: str, schema_name: str, problems: ProblemList) -> ConfigNode | None:
    """The file's settings, checked. None if anything is wrong with it; what is wrong is then in `problems`."""
    found = ProblemList()
    node = _read_yaml(tree, path, found)
    if node is not None:
        SchemaCheck(SCHEMAS, schema_name, found).check(node)
    problems.items.extend(found.items)
    return None if found.errors else node


def read_yaml_file(tree: SourceTree, path: str, problems: ProblemList) -> ConfigNode | None:
    """Any YAML (or JSON) file of the project, its places kept, its contents not yet checked."""
    found = ProblemList()
    node = _read_yaml(tree, path, found)
    problems.items.extend(found.items)
    return None if found.errors else node


def _read_yaml(tree: SourceTree, path: str, found: ProblemList) -> ConfigNode | None:
    """What can be read of the file, also where something in it is wrong."""
    node: ConfigNode | None = None
    try:
        text = tree.read_text(path)
        if path.endswith(".json"):
            # JSON is YAML but for the tabs that may indent it.
            text = _LEADING_TABS.sub(lambda tabs: " " * len(tabs[0]), text)
        node = parse_yaml(text, path, found)
    except BatchForgeError as exc:
        found.extend(exc)
    if node is None and not found.errors:
        hint = "Write its settings, or remove the file."
        found.add("BF118", "The file is empty.", location=Location(path, 1, 1), hint=hint)
    return node


def add_at(location: Location, found: Iterable[Problem], problems: ProblemList) -> None:
    """List what was found; a problem without a place of its own stands where the file was named."""
    problems.items.extend(problem if problem.location else replace(problem, location=location) for problem in found)
