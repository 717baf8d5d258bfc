"""Cutting a stream into pieces, so that memory holds one piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items each, the last one shorter. Nothing is read ahead."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
