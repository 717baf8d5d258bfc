"""`sources:` and `exposures:` of batchforge.yml -> what jobs read, and who uses what they write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchforge.config.job_settings import input_of_source
from batchforge.config.job_tests import JobTestsReader, Lists
from batchforge.config.label_lists import read_label_list
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import Location, ProblemList
from batchforge.source_tree import SourceTree
from batchforge.spec import ExposureSpec, SourceSpec

_ABOUT_SOURCE = ("description", "tests", "tags", "meta")


def read_sources(
    entries: Mapping[str, ConfigNode], list_files: Mapping[str, ConfigNode], tree: SourceTree, problems: ProblemList
) -> dict[str, SourceSpec]:
    def lists() -> Lists:
        """Only for tests that name one; what is wrong with a list is told where the jobs are read."""
        return {name: read_label_list(tree, file.value, ProblemList()) for name, file in list_files.items()}

    tests = JobTestsReader(lists, tree, problems)
    return {name: _read_source(name, node, tests, problems) for name, node in entries.items()}


def _read_source(name: str, node: ConfigNode, tests: JobTestsReader, problems: ProblemList) -> SourceSpec:
    return SourceSpec(
        name=name,
        input=input_of_source(name, node, _ABOUT_SOURCE, problems),
        description=_text(node, "description"),
        tests=tests.read(node["tests"].elements) if "tests" in node else (),
        tags=_tags(node),
        meta=_mapping(node, "meta"),
        location=node.key_location,
    )


def read_exposures(entries: Mapping[str, ConfigNode]) -> dict[str, ExposureSpec]:
    return {name: _read_exposure(name, node) for name, node in entries.items()}


def _read_exposure(name: str, node: ConfigNode) -> ExposureSpec:
    parents = [(each.get("source"), each) for each in node["depends_on"].elements]
    return ExposureSpec(
        name=name,
        type=node["type"].value,
        jobs=tuple(each.value for source, each in parents if source is None),
        sources=tuple(source.value for source, _ in parents if source is not None),
        label=_text(node, "label"),
        description=_text(node, "description"),
        owner=_mapping(node, "owner"),
        url=_text(node, "url"),
        tags=_tags(node),
        meta=_mapping(node, "meta"),
        location=node.key_location,
        parent_locations=dict(_named_at(source, each) for source, each in parents),
    )


def _named_at(source: ConfigNode | None, node: ConfigNode) -> tuple[str, Location]:
    return (node.value, node.location) if source is None else (f"source:{source.value}", source.location)


def _text(node: ConfigNode, name: str) -> str:
    return str(node[name].value) if name in node else ""


def _mapping(node: ConfigNode, name: str) -> dict[str, Any]:
    return dict(node[name].data) if name in node else {}


def _tags(node: ConfigNode) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node["tags"].data)) if "tags" in node else ()
