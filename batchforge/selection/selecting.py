"""A graph and a selection -> ids of the nodes that it selects, and warnings where a word selects none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_, sub

from batchforge.errors import ProblemList, UsageError
from batchforge.graph import reach
from batchforge.nearest import did_you_mean
from batchforge.selection.criteria import Combined, Criterion, Selection
from batchforge.selection.methods import Facts, matches
from batchforge.selection.nodes import NodeGraph

_COMBINE: Mapping[str, Callable[[set[str], set[str]], set[str]]] = {
    "union": or_,
    "intersection": and_,
    "difference": sub,
}


@dataclass(slots=True)
class Selector:
    """Evaluates selections on one graph."""

    graph: NodeGraph
    facts: Facts = field(default_factory=Facts)
    problems: ProblemList = field(default_factory=ProblemList)
    """Gets a warning for each word that selects nothing."""
    disabled: Mapping[str, str] = field(default_factory=dict)
    """Jobs that no word selects, and their files, for saying so."""

    def select(self, selection: Selection) -> set[str]:
        """
        Raises:
            UsageError: BF921 there is no such selector.
        """
        if isinstance(selection, Criterion):
            return self._near(selection, self._matching(selection))
        if not selection.parts:
            return set()
        found = reduce(_COMBINE[selection.how], [self.select(part) for part in selection.parts])
        if selection.word and not found:
            self._warn(selection)
        return found

    def _matching(self, criterion: Criterion) -> set[str]:
        if criterion.method == "selector":
            return self.select(find_selector(criterion.value, self.facts))
        return {node.id for node in self.graph.nodes.values() if matches(node, criterion, self.facts)}

    def _near(self, criterion: Criterion, found: set[str]) -> set[str]:
        graph, near = self.graph, set(found)
        if criterion.is_around:
            near |= reach(reach(found, graph.children), graph.parents)
        if criterion.has_parents:
            near |= reach(found, graph.parents, criterion.parents_depth)
        if criterion.has_children:
            near |= reach(found, graph.children, criterion.children_depth)
        return graph.with_tests(near)

    def _warn(self, selection: Combined) -> None:
        hint = "`batchforge ls` lists what there is."
        if len(selection.parts) == 1 and isinstance(part := selection.parts[0], Criterion):
            hint = self._hint(part) or hint
        self.problems.warn("BF923", f"`{selection.word}` selects nothing.", hint=hint)

    def _hint(self, criterion: Criterion) -> str:
        if path := self.disabled.get(criterion.value):
            return f"The job is disabled: set `enabled: true` in {path}."
        return did_you_mean(criterion.value, self._known(criterion.method)) or ""

    def _known(self, method: str) -> set[str]:
        nodes = self.graph.nodes.values()
        if method == "tag":
            return {tag for node in nodes for tag in node.tags}
        if method == "group":
            return {node.group for node in nodes if node.group}
        if method == "path":
            return {node.path for node in nodes}
        return {node.name for node in nodes if method in ("fqn", "file") or node.kind == method}


def find_selector(name: str, facts: Facts) -> Selection:
    """
    Raises:
        UsageError: BF921
    """
    if name in facts.selectors:
        return facts.selectors[name]
    known = ", ".join(facts.selectors)
    hint = did_you_mean(name, facts.selectors) or (f"Selectors here: {known}." if known else "See selectors.yml.")
    raise UsageError("BF921", f"There is no selector `{name}`.", hint=hint)
