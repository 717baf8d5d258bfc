"""The text of a query -> what is known of it without a database: that it is one SELECT, its `:names`, its order.

The database's own read-only transaction is what keeps a query from writing; what is found here is said earlier, with
the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from batchforge.errors import BatchForgeError, Location

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    | (?P<name>(?<![:\w]):[A-Za-z_]\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<symbol>::|\d[\w.]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BEGINS = frozenset({"select", "with", "values", "from", "table", "("})
_WRITERS = frozenset({"insert", "update", "delete", "merge"})


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    depth: int
    """How many brackets are open around it."""

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else self.text


@dataclass(frozen=True)
class Query:
    text: str
    """Without a semicolon at its end."""
    shown_as: str
    """The file, or the job or source in which it stands."""
    location: Location | None = None

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(_tokens(self.text))

    @property
    def names(self) -> tuple[str, ...]:
        """Of its params, each once, as they come."""
        return tuple(dict.fromkeys(token.text[1:] for token in self.tokens if token.kind == "name"))

    @property
    def words(self) -> frozenset[str]:
        """Every name and keyword in it, without quotes, as written."""
        quoted = (token.text[1:-1] for token in self.tokens if token.kind == "quoted")
        return frozenset((*(token.text for token in self.tokens if token.kind == "word"), *quoted))

    @property
    def has_order(self) -> bool:
        words = [token.word for token in self.tokens if token.depth == 0]
        return any(one == "order" and other == "by" for one, other in pairwise(words))

    def with_placeholders(self, placeholder: Callable[[str], str]) -> str:
        """The text with what a driver takes in place of each `:name`."""
        parts, at = [], 0
        for token in self.tokens:
            if token.kind == "name":
                parts += [self.text[at : token.start], placeholder(token.text[1:])]
                at = token.start + len(token.text)
        return "".join([*parts, self.text[at:]])


def read_query(text: str, shown_as: str, location: Location | None) -> Query:
    """
    Raises:
        BatchForgeError: BF231 it is not one SELECT.
    """
    tokens = list(_tokens(text))
    end = len(text)
    while tokens and tokens[-1].text == ";":
        end = tokens.pop().start
    query = Query(text[:end], shown_as, location)
    reason = _why_refused(query.tokens)
    if reason is not None:
        message, token = reason
        hint = "A query that is read must be one SELECT, which may begin with WITH."
        raise BatchForgeError("BF231", message, location=_place(query, token), hint=hint)
    return query


def _why_refused(tokens: tuple[Token, ...]) -> tuple[str, Token | None] | None:
    """What is wrong, and where."""
    if not tokens:
        return "the query is empty", None
    for token in tokens:
        if token.text == ";":
            return "there is more than one statement", token
    if tokens[0].word not in _BEGINS:
        return f"`{tokens[0].text.upper()}` does not read rows", tokens[0]
    for before, token in zip((None, *tokens), tokens, strict=False):
        is_first = before is not None and before.text == "("
        if token.word in _WRITERS and (is_first or token.depth == 0):
            return f"the query would write: `{token.text.upper()}`", token
        if token.word == "into" and token.depth == 0:
            return "the query would write: `INTO`", token
    return None


def _place(query: Query, token: Token | None) -> Location | None:
    """In a file the line of the token; a query inside YAML is known by the place of its input."""
    if not query.shown_as.endswith(".sql"):
        return query.location
    line = 1 if token is None else query.text.count("\n", 0, token.start) + 1
    return Location(query.shown_as, line)


def _tokens(text: str) -> Iterator[Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup or "", match.group()
        kind = "text" if kind == "tag" else kind
        if kind == "blank":
            continue
        if found in ("(", "[", "{"):
            depth += 1
            yield Token(kind, found, match.start(), depth - 1)
            continue
        if found in (")", "]", "}"):
            depth -= 1
        yield Token(kind, found, match.start(), depth)
