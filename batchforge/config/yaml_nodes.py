"""YAML text -> a tree of `ConfigNode`s that know where they stand, or problems in plain words with their places.

The core schema of YAML 1.2, narrowed to what JSON calls a number: `yes`, `on`, `12:30`, `0o7`, `007` and `1_000` stay
the text that was typed. Tags, merge keys, second documents and alias bombs are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import yaml

from batchforge.errors import Location, ProblemList

Kind = Literal["mapping", "list", "text", "integer", "number", "boolean", "null", "unknown"]
"""`unknown` is what could not be read: its problem is listed, and nothing more is to be said about it."""
Place = tuple[int, int]

MAX_DEPTH = 64
_TOO_DEEP, _FLATTEN = f"This is nested more than {MAX_DEPTH} levels deep.", "Flatten the structure."
MAX_ALIAS_SIZE = 100_000
"""Values that aliases may add to a file. Each level of a bomb multiplies: ten lines make a billion values."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_INTEGER, _MIN_INTEGER, _MAX_DIGITS = 2**64 - 1, -(2**63), 20
# YAML 1.1 counts the last three as line breaks and rewrites them; YAML 1.2 and every editor do not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_API_KEY = re.compile(r"sk-ant-[A-Za-z0-9_-]+")
"""Never shown, not even to the one who put it into a file: what is shown ends up in logs."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class ConfigSource:
    """The file that a node stands in."""

    path: str
    text: str

    @cached_property
    def lines(self) -> Sequence[str]:
        return self.text.split("\n")

    def location(self, line: int, column: int) -> Location:
        excerpt = self.lines[line - 1] if line <= len(self.lines) else ""
        return Location(self.path, line, column, _API_KEY.sub(lambda key: "*" * len(key[0]), excerpt))


@dataclass(frozen=True, slots=True, eq=False)
class ConfigNode:
    """One value of a YAML file, with its place."""

    source: ConfigSource
    kind: Kind
    value: Any
    """Mappings hold `{name: ConfigNode}`, lists `[ConfigNode]`, scalars the Python value."""
    line: int
    column: int
    raw: str = ""
    """A scalar's text, exactly as typed (without quotes)."""
    text_line: int = 0
    """The line on which a scalar's text begins: one below the `|` of a block."""
    is_block: bool = False
    """A scalar written as a `|` or `>` block."""
    key_line: int = 0
    key_column: int = 0
    size: int = 1
    """How many nodes this is, aliases written out."""

    @property
    def location(self) -> Location:
        return self.source.location(self.line, self.column)

    @property
    def key_location(self) -> Location:
        """Where the setting's name stands; the value's place where there is no name."""
        return self.source.location(self.key_line, self.key_column) if self.key_line else self.location

    @property
    def entries(self) -> Mapping[str, ConfigNode]:
        """A mapping's settings by name; of anything else, nothing."""
        return self.value if self.kind == "mapping" else {}

    @property
    def elements(self) -> Sequence[ConfigNode]:
        """A list's values; of anything else, nothing."""
        return self.value if self.kind == "list" else ()

    def get(self, name: str) -> ConfigNode | None:
        return self.entries.get(name)

    def __getitem__(self, name: str) -> ConfigNode:
        return self.entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    @property
    def data(self) -> Any:
        """The value as plain Python."""
        if self.kind == "mapping":
            return {name: node.data for name, node in self.value.items()}
        if self.kind == "list":
            return [node.data for node in self.value]
        return self.value


def parse_yaml(text: str, path: str, problems: ProblemList) -> ConfigNode | None:
    """The file's only document. None if it is not YAML at all; other problems are listed and the tree is given."""
    source = ConfigSource(path, text)
    if bad := _FORBIDDEN.search(text):
        _refuse_character(source, bad.start(), problems)
        return None
    builder = _TreeBuilder(source, problems)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if not builder.take(event):
                break
    except yaml.MarkedYAMLError as exc:
        _explain_syntax(source, exc, problems)
        return None
    return builder.root


def parse_scalar(raw: str) -> Any:
    """A plain (unquoted) scalar by the core schema, narrowed to JSON's numbers."""
    if raw in _NULLS:
        return None
    if raw in _BOOLEANS:
        return _BOOLEANS[raw]
    if match := _NUMBER.fullmatch(raw):
        is_integer = match[1] is None and match[2] is None
        return _parse_integer(raw) if is_integer else float(raw)
    return raw


def _parse_integer(raw: str) -> float:
    return int(raw) if len(raw) <= _MAX_DIGITS else math.inf


def _is_out_of_range(value: Any) -> bool:
    if isinstance(value, float):
        return math.isinf(value)
    return isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER


def _kind_of(value: Any) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "text"


class _Frame:
    """A mapping or list that is still being read."""

    __slots__ = ("anchor", "children", "is_key", "is_mapping", "is_unknown", "key", "mark", "size")

    def __init__(self, mark: Place, is_mapping: bool, anchor: str | None) -> None:
        self.mark = mark
        self.is_mapping = is_mapping
        self.anchor = anchor
        self.children: list[tuple[ConfigNode | None, ConfigNode]] = []
        self.key: ConfigNode | None = None
        self.is_key = False
        """It stands where a setting's name should be."""
        self.is_unknown = False
        self.size = 1


class _TreeBuilder:
    """Parser events in, one tree out. Keeps its own stack, so that depth is a number and not a crash."""

    def __init__(self, source: ConfigSource, problems: ProblemList) -> None:
        self.source = source
        self.problems = problems
        self.root: ConfigNode | None = None
        self.frames: list[_Frame] = []
        self.anchors: dict[str, ConfigNode | None] = {}
        self.alias_size = 0
        self.documents = 0

    def take(self, event: Any) -> bool:
        """Take one event; False when the rest of the file should not be looked at."""
        match event:
            case yaml.ScalarEvent():
                self._add(self._scalar(event), event.anchor)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                return self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.DocumentStartEvent():
                return self._begin_document(event)
        return True

    def _begin_document(self, event: Any) -> bool:
        self.documents += 1
        if self.documents == 1:
            return True
        hint = "Keep one document in a file: remove the `---`, or move what follows into a file of its own."
        self._problem("BF109", "The file holds a second YAML document.", event, hint)
        return False

    def _open(self, event: Any) -> bool:
        if len(self.frames) >= MAX_DEPTH:
            self._problem("BF110", _TOO_DEEP, event, _FLATTEN)
            return False
        self._refuse_tag(event)
        frame = _Frame(_place(event), isinstance(event, yaml.MappingStartEvent), event.anchor)
        frame.is_key = self._is_key_expected()
        if frame.anchor:
            self.anchors[frame.anchor] = None
        self.frames.append(frame)
        return True

    def _is_key_expected(self) -> bool:
        return bool(self.frames) and self.frames[-1].is_mapping and self.frames[-1].key is None

    def _close(self) -> None:
        frame = self.frames.pop()
        value: Any = self._mapping(frame) if frame.is_mapping else [node for _, node in frame.children]
        kind: Kind = "mapping" if frame.is_mapping else "list"
        if frame.is_unknown:
            kind, value = "unknown", None
        node = ConfigNode(self.source, kind, value, *frame.mark, size=frame.size)
        if frame.is_key:
            self._refuse_key(node)
        self._add(node, frame.anchor)

    def _mapping(self, frame: _Frame) -> dict[str, ConfigNode]:
        entries: dict[str, ConfigNode] = {}
        for key, node in frame.children:
            if key is None or key.kind in ("mapping", "list", "unknown"):
                frame.is_unknown = True
                continue
            if first := entries.get(key.raw):
                hint = f"The first one is on line {first.key_line}. Keep one of them."
                self.problems.add("BF106", f"`{key.raw}` is given twice.", location=key.location, hint=hint)
                continue
            if self._is_merge(key):
                hint = "Write the settings out, or put shared ones in `defaults` or a folder's `_defaults.yml`."
                self.problems.add("BF113", "Merge keys (`<<`) are not used here.", location=key.location, hint=hint)
                frame.is_unknown = True
                continue
            entries[key.raw] = replace(node, key_line=key.line, key_column=key.column)
        return entries

    def _scalar(self, event: Any) -> ConfigNode:
        self._refuse_tag(event)
        line, column = _place(event)
        raw: str = event.value
        value: Any = parse_scalar(raw) if event.implicit[0] else raw
        kind = _kind_of(value)
        if _is_out_of_range(value):
            hint = "Write it in quotes if it is a name rather than a quantity."
            self._problem("BF115", f"The number {raw[:40]} is too large to keep exactly.", event, hint)
            kind = "unknown"
        is_block = event.style in ("|", ">")
        size = 1 + len(raw) // 64
        return ConfigNode(self.source, kind, value, line, column, raw, line + is_block, is_block=is_block, size=size)

    def _alias(self, event: Any) -> bool:
        node = self.anchors.get(event.anchor)
        if node is None:
            is_known = event.anchor in self.anchors
            message = "refers to the very thing it stands in" if is_known else "has no anchor above it"
            hint = f"Define `&{event.anchor}` before it is used, or put the text in quotes if no alias is meant."
            self._problem("BF108", f"The alias `*{event.anchor}` {message}.", event, hint)
            node = ConfigNode(self.source, "unknown", None, *_place(event))
        self.alias_size += node.size
        if self.alias_size > MAX_ALIAS_SIZE:
            message = f"Written out, the aliases of this file make more than {MAX_ALIAS_SIZE:,} values."
            self._problem("BF108", message, event, "Write the values out, or keep them in a data file.")
            return False
        self._add(node, None)
        return True

    def _add(self, node: ConfigNode, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.frames:
            self.root = self.root or node
            return
        frame = self.frames[-1]
        frame.size += node.size
        if not frame.is_mapping:
            frame.children.append((None, node))
        elif frame.key is None:
            frame.key = node
        else:
            frame.children.append((frame.key, node))
            frame.key = None

    def _is_merge(self, key: ConfigNode) -> bool:
        return key.raw == "<<" and self.source.lines[key.line - 1].startswith("<<", key.column - 1)

    def _refuse_key(self, key: ConfigNode) -> None:
        message = "A setting's name must be plain text."
        self.problems.add("BF116", message, location=key.location, hint=_TEMPLATE_HINT)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            hint = "Remove it. Quotes make a text, digits make a number."
            self._problem("BF107", f"The tag `{tag}` is not allowed.", event, hint)

    def _problem(self, code: str, message: str, event: Any, hint: str) -> None:
        self.problems.add(code, message, location=self.source.location(*_place(event)), hint=hint)


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _refuse_character(source: ConfigSource, offset: int, problems: ProblemList) -> None:
    line = source.text.count("\n", 0, offset) + 1
    column = offset - (source.text.rfind("\n", 0, offset) + 1) + 1
    code = ord(source.text[offset])
    escape = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    hint = f'Remove it, or write it as {escape} inside double quotes: "{escape}".'
    message = f"The file holds the invisible character U+{code:04X}."
    problems.add("BF111", message, location=source.location(line, column), hint=hint)


def _explain_syntax(source: ConfigSource, exc: yaml.MarkedYAMLError, problems: ProblemList) -> None:
    mark = exc.problem_mark or exc.context_mark
    # libyaml reports the end of the file as a line that is not there.
    line = min(mark.line + 1, max(len(source.lines), 1)) if mark else 1
    column = mark.column + 1 if mark and line == mark.line + 1 else 1
    code, message, hint = _syntax_words(exc, source.location(line, column))
    if _BARE_TEMPLATE.search(source.lines[line - 1]):
        hint = _TEMPLATE_HINT
    problems.add(code, message, location=source.location(line, column), hint=hint)


_BARE_TEMPLATE = re.compile(r"[:-] +\{[{%#]")
_TEMPLATE_HINT = 'A value that begins with `{{` must stand in quotes: "{{ ... }}".'
_QUOTE_HINT = "Put the whole value in double quotes."
_SYNTAX_WORDS = {
    "mapping values are not allowed": ("A colon stands where no setting can begin.", _QUOTE_HINT),
    "did not find expected ',' or ']'": ("A `[` is not closed, or a comma is missing.", "Close the list with `]`."),
    "did not find expected ',' or '}'": ("A `{` is not closed, or a comma is missing.", "Close it with `}`."),
    "found unexpected end of stream": ("A quote is opened and never closed.", "Close it on the line where it ends."),
    "did not find expected '-' indicator": (
        "Here a list item (`- ...`) was expected.",
        "Check the indentation: the items of a list stand below each other.",
    ),
    "did not find expected key": (
        "Here a setting (`name: value`) was expected.",
        "Check the indentation of this line and the one above, and that no text follows a closing quote.",
    ),
    "could not find expected ':'": (
        "A setting's name is not followed by a colon.",
        "Write `name: value`; a text of several lines is indented below `name: |`.",
    ),
    "unknown escape character": (
        "This backslash escape is not known.",
        "Write a backslash as \\\\ inside double quotes, or use single quotes.",
    ),
    "found invalid Unicode character escape code": (
        "This \\u escape is half of a character.",
        "Type the character itself, or write it as \\U with eight digits.",
    ),
    "block sequence entries are not allowed": ("A list item cannot begin here.", "Begin it on a line of its own."),
    "did not find expected <document start>": (
        "The file should have ended here.",
        "Check the closing brackets, and that each line of a mapping is `name: value` with a space after the colon.",
    ),
}


def _syntax_words(exc: yaml.MarkedYAMLError, location: Location) -> tuple[str, str, str]:
    problem = str(exc.problem or exc)
    character = location.excerpt[(location.column or 1) - 1 :][:1]
    if "cannot start any token" in problem:
        if character == "\t":
            return "BF114", "A tab indents this line.", "YAML is indented with spaces only."
        return "BF100", f"A value cannot begin with `{character}`.", _QUOTE_HINT
    if "nesting depth" in problem:  # a limit of libyaml's own, met where it looks far ahead
        return "BF110", _TOO_DEEP, _FLATTEN
    for known, (message, hint) in _SYNTAX_WORDS.items():
        if known in problem:
            return "BF100", message, hint
    return "BF100", f"This is not valid YAML: {problem}.", ""
