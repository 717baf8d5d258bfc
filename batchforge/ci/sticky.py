"""The one comment of a review: found by its hidden first line, written only by its owner, never by an older run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchforge.ci.forge_http import ForgeRefused

_FIRST_LINE = re.compile(r"<!-- batchforge (\{[^\n]*\}) -->(?:\r?\n|$)")
_LENGTHS = (60_000, 30_000, 12_000, 4_000)
"""A body that the forge finds too long is made shorter."""


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    author: str
    body: str


class Thread(Protocol):
    """Where comments of a change stand: a pull request, a merge request."""

    def author(self) -> str:
        """Whom the token belongs to."""
        ...

    def comments(self) -> Iterable[Comment]: ...

    def create(self, body: str) -> Comment: ...

    def update(self, comment: Comment, body: str) -> None: ...

    def delete(self, comment: Comment) -> None: ...


@dataclass(frozen=True, slots=True)
class Marker:
    """What the first line of the comment says, which is not shown."""

    key: str
    """Which review it is: a repository may hold several projects."""
    run: tuple[int, int]
    """The run that wrote it, and its attempt; larger ones are newer."""
    plan_hash: str = ""
    job: str = ""
    """The pipeline's job that keeps the plan, where it is found by that."""

    def line(self) -> str:
        text = json.dumps({"key": self.key, "run": list(self.run), "plan": self.plan_hash, "job": self.job})
        # No text can end the comment that this stands in.
        return f"<!-- batchforge {text.replace('-', chr(92) + 'u002d').replace('>', chr(92) + 'u003e')} -->"

    @classmethod
    def of(cls, body: str) -> Marker | None:
        """Only of the first line: further down stand words of prompts and rows."""
        found = _FIRST_LINE.match(body)
        if found is None:
            return None
        try:
            value = json.loads(found[1])
            run = value["run"]
            return cls(str(value["key"]), (int(run[0]), int(run[1])), str(value["plan"]), str(value["job"]))
        except (ValueError, KeyError, TypeError, IndexError):
            return None


def post(thread: Thread, marker: Marker, render: Callable[[int], str]) -> str:
    """Write the comment, by `render` with the most characters that it may have; returns what was done, in words.

    Raises:
        ForgeRefused: the forge does not take it.
    """
    own = _own(thread, marker.key)
    if own and own[-1][0].run > marker.run:
        return "a newer run has written the comment; it stays as it is"
    if own:
        comment = own[-1][1]
        _written(lambda body: thread.update(comment, body), marker, render)
        done = "the comment was updated"
    else:
        _written(thread.create, marker, render)
        done = "the comment was posted"
    for _, older in _own(thread, marker.key)[:-1]:
        thread.delete(older)  # two runs at once can both find no comment, and both write one
    return done


def find(thread: Thread, key: str) -> Marker | None:
    """What the newest comment of ours says."""
    own = _own(thread, key)
    return own[-1][0] if own else None


def _own(thread: Thread, key: str) -> Sequence[tuple[Marker, Comment]]:
    """The newest last. Who else writes our marker into a comment is not asked."""
    author = thread.author().casefold()
    found = []
    for comment in thread.comments():
        marker = Marker.of(comment.body)
        if marker is not None and marker.key == key and comment.author.casefold() == author:
            found.append((marker, comment))
    return sorted(found, key=lambda each: (each[0].run, each[1].id))


def _written(write: Callable[[str], object], marker: Marker, render: Callable[[int], str]) -> None:
    for place, length in enumerate(_LENGTHS):
        head = marker.line() + "\n"
        try:
            write(head + render(length - len(head)))
        except ForgeRefused as exc:
            is_too_long = exc.status in (400, 413, 422)
            if not is_too_long or place == len(_LENGTHS) - 1:
                raise
        else:
            return
