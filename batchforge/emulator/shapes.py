"""Small checks of a JSON value's shape, composed into bigger ones; a refusal names its dotted path as the API does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from batchforge.emulator.json_bytes import json_bytes

Check = Callable[[Any], None]


class Refused(Exception):
    """The value is not what it should be. The path is filled in from the inside out, on the way up."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str | int] = list(path)
        self.details: Mapping[str, Any] | None = None

    def under(self, *steps: str | int) -> Refused:
        self.path[:0] = steps
        return self

    def __str__(self) -> str:
        return f"{'.'.join(str(step) for step in self.path)}: {self.message}" if self.path else self.message


def anything(value: Any) -> None:
    """A value that the API takes as it is."""


def string(value: Any) -> None:
    if not isinstance(value, str):
        raise Refused("Input should be a valid string")


def text(*, longest: int | None = None, shortest: int = 0, pattern: str = "") -> Check:
    matches = re.compile(pattern).search if pattern else None

    def check(value: Any) -> None:
        string(value)
        if longest is not None and len(value) > longest:
            raise Refused(f"String should have at most {longest} characters")
        if len(value) < shortest:
            raise Refused(f"String should have at least {shortest} character{'s' if shortest > 1 else ''}")
        if matches is not None and not matches(value):
            raise Refused(f"String should match pattern '{pattern}'")

    return check


def integer(*, least: int | None = None) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused("Input should be a valid integer")
        if least is not None and value < least:
            raise Refused(f"Input should be greater than or equal to {least}")

    return check


def number(*, least: float, most: float) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Refused("Input should be a valid number")
        if value < least:
            raise Refused(f"Input should be greater than or equal to {least:g}")
        if value > most:
            raise Refused(f"Input should be less than or equal to {most:g}")

    return check


def boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise Refused("Input should be a valid boolean")


def mapping(value: Any) -> None:
    if not isinstance(value, dict):
        raise Refused("Input should be a valid dictionary")


def one_of(*allowed: str) -> Check:
    quoted = [f"'{value}'" for value in allowed]
    listed = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]

    def check(value: Any) -> None:
        if value not in allowed:
            raise Refused(f"Input should be {listed}")

    return check


def nullable(inner: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


def list_of(inner: Check, *, most: int | None = None) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise Refused("Input should be a valid list")
        if most is not None and len(value) > most:
            raise Refused(f"List should have at most {most} items after validation, not {len(value)}")
        for index, item in enumerate(value):
            check_under(index, inner, item)

    return check


def string_or(inner: Check) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, str):
            inner(value)

    return check


def fields(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """An object with these fields and no others."""
    known = {**required, **optional}
    needed = required.keys()

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise Refused("Input should be an object")
        try:
            for name, item in value.items():
                known[name](item)
        except (KeyError, Refused):
            explain(value)
        if not needed <= value.keys():
            explain(value)

    def explain(value: Mapping[str, Any]) -> None:
        """Of several faults the API names the first in its own order of fields; an unknown field comes last."""
        for name, inner in known.items():
            if name in value:
                check_under(name, inner, value[name])
            elif name in needed:
                raise Refused("Field required", name)
        for name in value:
            if name not in known:
                raise Refused("Extra inputs are not permitted", name)

    return check


def check_under(step: str | int, inner: Check, value: Any) -> None:
    try:
        inner(value)
    except Refused as refused:
        raise refused.under(step) from None


def remembered(inner: Check, *, most: int = 256) -> Check:
    """Values that repeat from request to request are checked once, and known again by their bytes."""
    taken: set[bytes] = set()

    def check(value: Any) -> None:
        key = json_bytes(value)
        if key in taken:
            return
        inner(value)
        if len(taken) >= most:
            taken.clear()
        taken.add(key)

    return check


def tagged(variants: Mapping[str, Check], *, default: str | None = None) -> Check:
    """An object whose `type` says which of the variants it is; the variant's name becomes part of the path."""
    expected = ", ".join(f"'{tag}'" for tag in sorted(variants))

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise Refused("Input should be an object")
        tag = value.get("type", default)
        if tag is None:
            raise Refused("Field required", "type")
        variant = variants.get(tag) if isinstance(tag, str) else None
        if variant is None:
            raise Refused(f"Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}")
        check_under(str(tag), variant, value)

    return check
