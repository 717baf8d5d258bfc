"""A file of labels -> `Label`s, each exactly as the user typed it: `no`, `1.10` and `007` are labels like any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batchforge.config.config_files import read_yaml_file
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import Location, ProblemList
from batchforge.source_tree import SourceTree
from batchforge.spec import Label

_SHAPE = "Write one label a line, `label: meaning` or `- label`."


def read_label_list(tree: SourceTree, path: str, problems: ProblemList) -> tuple[Label, ...]:
    """The labels of a file: a mapping `label: meaning`, a list of labels, or a list of such mappings of one."""
    node = read_yaml_file(tree, path, problems)
    if node is None:
        return ()
    if node.kind not in ("mapping", "list"):
        problems.add("BF157", "This is not a list of labels.", location=node.location, hint=_SHAPE)
        return ()
    return tuple(label for label, _ in unique_labels(_labels(node, problems), problems))


def inline_labels(node: ConfigNode, problems: ProblemList) -> tuple[Label, ...]:
    """Labels written where they are used: `one_of: [yes, no]`."""
    found = ((Label(child.raw), child.location) for child in node.elements)
    return tuple(label for label, _ in unique_labels(found, problems))


def _labels(node: ConfigNode, problems: ProblemList) -> Iterator[tuple[Label, Location]]:
    for name, child in node.entries.items():
        yield _label(name, child, problems), child.key_location
    for child in node.elements:
        if child.kind == "list" or (child.kind == "mapping" and len(child.entries) != 1):
            problems.add("BF157", "This is not a label.", location=child.location, hint=_SHAPE)
        elif child.kind == "mapping":
            yield from _labels(child, problems)
        else:
            yield Label(child.raw), child.location


def _label(name: str, meaning: ConfigNode, problems: ProblemList) -> Label:
    if meaning.kind in ("mapping", "list"):
        message = f"The meaning of `{name}` must be text."
        problems.add("BF157", message, location=meaning.location, hint=_SHAPE)
    return Label(name, " ".join(meaning.raw.split()))


def unique_labels(labels: Iterable[tuple[Label, Location]], problems: ProblemList) -> Iterator[tuple[Label, Location]]:
    """Claude may answer a label in another case, so two that differ only in case could not be told apart."""
    seen: dict[str, str] = {}
    for label, location in labels:
        first = seen.get(label.name.casefold())
        if not label.name.strip():
            problems.add("BF157", "A label is empty.", location=location, hint=_SHAPE)
        elif first is not None:
            message = (
                f"The label `{label.name}` stands twice."
                if first == label.name
                else (f"The labels `{first}` and `{label.name}` differ only in case.")
            )
            problems.add("BF157", message, location=location, hint="Keep one of them, or give them different words.")
        else:
            yield label, location
        seen.setdefault(label.name.casefold(), label.name)
