"""A template -> what it is made of: the files it includes, and the values of `vars` and `lists` that it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jinja2 import TemplateNotFound, TemplateSyntaxError, meta, nodes

from batchforge.requests.templating import PromptEnvironment

_SHARED = ("vars", "lists")
Used: TypeAlias = frozenset[tuple[str, str]]
"""`vars` or `lists`, and a name in it; the name is empty where any may be used."""


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    used: Used
    """By its own text."""
    included: Mapping[str, str]
    """Path -> text of all that it includes, also through what it includes."""
    used_inside: Used
    """By what it includes."""


def template_facts(environment: PromptEnvironment, text: str) -> TemplateFacts:
    """Where a template cannot be read, what can be known of it; compiling says what is wrong."""
    included: dict[str, str] = {}
    tree = _parse(environment, text)
    if tree is None:
        return TemplateFacts(frozenset(), {}, frozenset())
    inner = list(_included(environment, tree, included))
    return TemplateFacts(frozenset(_used(tree)), included, frozenset(use for each in inner for use in _used(each)))


def _parse(environment: PromptEnvironment, text: str) -> nodes.Template | None:
    try:
        return environment.parse(text)
    except TemplateSyntaxError:
        return None


def _included(
    environment: PromptEnvironment, tree: nodes.Template, included: dict[str, str]
) -> Iterator[nodes.Template]:
    assert environment.loader is not None
    for name in meta.find_referenced_templates(tree):
        if name is None or f"prompts/{name}" in included:
            continue
        try:
            text, path, _ = environment.loader.get_source(environment, name)
        except TemplateNotFound:
            continue
        included[str(path)] = text
        inner = _parse(environment, text)
        if inner is not None:
            yield inner
            yield from _included(environment, inner, included)


def _used(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    named: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    known = [(each.node.name, name) for each in named if isinstance(each.node, nodes.Name) and (name := _name(each))]
    known = [(scope, name) for scope, name in known if scope in _SHARED]
    yield from known
    for scope in _SHARED:
        mentions = sum(1 for each in tree.find_all(nodes.Name) if each.name == scope)
        if mentions > sum(1 for each, _ in known if each == scope):
            yield scope, ""


def _name(node: nodes.Getattr | nodes.Getitem) -> str:
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else ""
