"""How much work and text one rendering of a template may be: the sandbox keeps it from the machine's files, and this
from the machine's time and memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError

LONGEST_TEXT = 32_000_000
"""Characters: more than the API takes in one request."""
LONGEST_S = 20.0
_STEPS_PER_LOOK = 1_000
_LARGEST_POWER = 1_000_000
"""Digits, about."""
_WIDTH = re.compile(r"%[^%a-zA-Z]*?(\d{5,}|\*)")
OPERATORS = frozenset({"+", "*", "**", "%"})
IN_LIMITS, JOINED = "batchforge_in_limits", "batchforge_joined"
"""Filters that stand in every loop and before every `~`."""


class RenderLimits:
    """Of one rendering at a time."""

    def __init__(self) -> None:
        self._until, self._steps = float("inf"), 0

    def start(self) -> None:
        self._until, self._steps = time.monotonic() + LONGEST_S, 0

    def take(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps >= _STEPS_PER_LOOK:
            self._steps = 0
            if time.monotonic() > self._until:
                raise SecurityError(f"it takes longer than {LONGEST_S:.0f} s")

    # ---- filters

    def in_limits(self, value: Any) -> Any:
        """What a loop goes over."""
        if isinstance(value, Sized):
            self.take(len(value))
            return value
        return self._counted(value)

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.take()
            yield value

    def joined(self, values: Iterable[Any]) -> str:
        texts = [str(value) for value in values]
        check_size(sum(map(len, texts)))
        return "".join(texts)


def check_size(size: float) -> None:
    if size > LONGEST_TEXT:
        raise SecurityError(f"it makes a text of more than {LONGEST_TEXT:,} characters")


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Before it is carried out."""
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        if right > 0 and left.bit_length() * right > _LARGEST_POWER:
            raise SecurityError("it makes a number too large")
    elif operator == "%" and isinstance(left, str) and _WIDTH.search(left):
        raise SecurityError("it fills a text up to a width")
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        check_size(len(left) + len(right))
    elif operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int):
                check_size(len(one) * other)


def check_method(function: Any, arguments: Iterable[Any]) -> None:
    """A text's method is not asked for more text than one may be."""
    owner = getattr(function, "__self__", None)
    if not isinstance(owner, str):
        return
    check_widths(arguments)
    if function.__name__ == "replace":
        check_replacement(owner, arguments)


def check_widths(arguments: Iterable[Any]) -> None:
    check_size(max((each for each in arguments if isinstance(each, int)), default=0))


def check_replacement(text: str, arguments: Iterable[Any]) -> None:
    check_size(len(text) * max((len(each) for each in arguments if isinstance(each, str)), default=1))


def check_width_of_format(text: Any) -> None:
    if isinstance(text, str) and _WIDTH.search(text):
        raise SecurityError("it fills a text up to a width")


def with_limits(tree: nodes.Template) -> nodes.Template:
    """The template with its loops counted and its joins measured."""
    for loop in tree.find_all(nodes.For):
        loop.iter = _filtered(loop.iter, IN_LIMITS)
    _replace_joins(tree)
    if tree.environment is not None:
        tree.set_environment(tree.environment)
    return tree


def _replace_joins(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, name, [_joined(each) if isinstance(each, nodes.Node) else each for each in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _joined(value))


def _joined(node: nodes.Node) -> nodes.Node:
    _replace_joins(node)
    if not isinstance(node, nodes.Concat):
        return node
    return _filtered(nodes.List(node.nodes, lineno=node.lineno), JOINED)


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
