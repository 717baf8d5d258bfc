"""Rows -> the rows that are asked: one for each element of a list, each distinct value, each chunk, each group.

Keys stay the same where what they name stays the same, so that one changed row reruns only what it is part of.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import msgspec

from batchforge.errors import BatchForgeError, Location
from batchforge.nearest import did_you_mean
from batchforge.spec import EachSpec, GroupSpec
from batchforge.spill import SpillCounter
from batchforge.token_estimate import estimate_text_tokens

PARENT, KEYS, PART, COUNT = "_parent", "_keys", "_part", "_count"
"""Columns that shapes add: the key of the row that a row was taken from; of all rows that a row was made of; which part
of a large group it is; how many rows have a distinct value."""
NAME_LENGTH = 60
"""A longer element is named by its hash."""
NAME_HEX = 16
CHUNK_SEED = b"batchforge-chunk-1"

_canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class InputRow(NamedTuple):
    position: int
    """From 0, in input order, after where, limit and sample."""
    key: str
    values: dict[str, Any]
    place: str
    """Where the row stands, e.g. data/tickets.tsv:14."""
    rows: tuple[dict[str, Any], ...] = ()
    """What templates see as `rows`: the rows of a chunk or a group."""
    blocked: str = ""
    """Why nothing can be asked about it."""
    said: tuple[tuple[str, str], ...] = ()
    """What was answered before and was not accepted, each with what is said to it: the `said` of templates."""


RowSource: TypeAlias = Callable[[], Iterator[InputRow]]


def each_element(source: RowSource, spec: EachSpec, location: Location | None) -> Iterator[InputRow]:
    """A row for each element of a list. The fields of an object become columns; anything else stands in the list's
    column. `_parent` holds the key of the row that had the list.

    Raises:
        BatchForgeError: BF220 there is no such column, or it holds no list; BF221 two columns have one name.
    """
    position = 0
    for row in source():
        seen: Counter[str] = Counter()
        others = {column: value for column, value in row.values.items() if column != spec.field}
        for element in _elements(row, spec, location):
            values = _joined(others, element, spec, row.place, location) | {PARENT: row.key}
            name = _element_name(element, spec)
            seen[name] += 1
            key = f"{row.key}/{name}" + (f"#{seen[name]}" if seen[name] > 1 else "")
            yield InputRow(position, key, values, row.place)
            position += 1


def _elements(row: InputRow, spec: EachSpec, location: Location | None) -> Sequence[Any]:
    if spec.field not in row.values:
        hint = did_you_mean(spec.field, row.values) or f"The columns are {', '.join(row.values)}."
        message = f"`each: {spec.field}` names a column that {row.place} does not have"
        raise BatchForgeError("BF220", message, location=location, hint=hint)
    value = row.values[spec.field]
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        hint = "Name a field of the type `list`; for CSV, say `types: {column: json}`."
        message = f"`each: {spec.field}`: {row.place} holds {type(value).__name__}, not a list, there"
        raise BatchForgeError("BF220", message, location=location, hint=hint)
    return value


def _joined(
    others: Mapping[str, Any], element: Any, spec: EachSpec, place: str, location: Location | None
) -> dict[str, Any]:
    if not isinstance(element, dict):
        return {**others, spec.field: element}
    both = [column for column in element if column in others]
    if both:
        hint = "Give the field another name, or leave the column out of the upstream job's `output: {columns: [...]}`."
        message = f"`each: {spec.field}`: the elements of {place} have `{both[0]}`, and so has the row itself"
        raise BatchForgeError("BF221", message, location=location, hint=hint)
    return {**others, **element}


def _element_name(element: Any, spec: EachSpec) -> str:
    """No name holds a /, so that the last / of a key always stands before the element."""
    named = [element.get(column) for column in spec.key] if spec.key and isinstance(element, dict) else element
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    text = named if isinstance(named, str) else _canonical(named).decode()
    if not text or len(text) > NAME_LENGTH or isinstance(named, list | dict):
        return hashlib.sha256(_canonical(named)).hexdigest()[:NAME_HEX]
    return text.replace("%", "%25").replace("/", "%2F")


def distinct_rows(source: RowSource, columns: Sequence[str], location: Location | None) -> Iterator[InputRow]:
    """A row for each combination of values, in the order in which they come first; `_count` says how many rows have it.

    Raises:
        BatchForgeError: BF220 a row has no such column.
    """
    with private_table() as table, SpillCounter() as names:
        table.execute("CREATE TABLE found (name BLOB PRIMARY KEY, first INTEGER, n INTEGER, place TEXT) WITHOUT ROWID")
        for row in source():
            name = _encode(_values_of(row, columns, "distinct", location))
            table.execute(
                "INSERT INTO found VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET n = n + 1",
                (name, row.position, row.place),
            )
        for position, (name, count, place) in enumerate(
            table.execute("SELECT name, n, place FROM found ORDER BY first")
        ):
            values = _decode(name)
            row_values = dict(zip(columns, values, strict=True)) | {COUNT: count}
            yield InputRow(position, _group_key(values, names), row_values, place)


def _values_of(row: InputRow, columns: Sequence[str], setting: str, location: Location | None) -> list[Any]:
    try:
        return [row.values[column] for column in columns]
    except KeyError as exc:
        column = exc.args[0]
        hint = did_you_mean(column, row.values) or f"The columns are {', '.join(row.values)}."
        message = f"`{setting}: {column}` names a column that {row.place} does not have"
        raise BatchForgeError("BF220", message, location=location, hint=hint) from exc


def _group_key(values: Sequence[Any], names: SpillCounter) -> str:
    """The value itself; values of different types that read the same are numbered."""
    one = values[0] if len(values) == 1 else values
    key = one if isinstance(one, str) and one else _encode(one).decode()
    before = names.add(key.encode())
    return f"{key}#{before + 1}" if before else key


def chunks(source: RowSource, size: int) -> Iterator[InputRow]:
    """Rows of at most `size` rows each, at least half of it but for the last. Where one ends is told by the rows' keys,
    not by counting, so that a row more or less moves only the borders near to it. The first row's key names it.
    """
    held: list[InputRow] = []
    position = 0
    for row in source():
        held.append(row)
        if len(held) > size:
            end = _chunk_end(held, size)
            yield _chunk(position, held[:end])
            position, held = position + 1, held[end:]
    if held:
        yield _chunk(position, held)


def _chunk_end(held: Sequence[InputRow], size: int) -> int:
    """Before the row of the smallest hash among those at which it may end."""
    smallest = max(1, (size + 1) // 2)
    return min(range(smallest, size + 1), key=lambda index: _chunk_hash(held[index].key))


def _chunk_hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8, key=CHUNK_SEED).digest()


def _chunk(position: int, held: Sequence[InputRow]) -> InputRow:
    values: dict[str, Any] = {KEYS: [row.key for row in held]}
    return InputRow(position, held[0].key, values, held[0].place, tuple(row.values for row in held))


def groups(source: RowSource, spec: GroupSpec, location: Location | None) -> Iterator[InputRow]:
    """A row for each combination of values, in the order in which they come first, with its rows in their order.

    A group whose rows have more tokens than `max_tokens` is blocked, or comes in parts where `split` is set.

    Raises:
        BatchForgeError: BF220 a row has no such column.
    """
    with private_table() as table, SpillCounter() as names:
        table.execute("CREATE TABLE rows (position INTEGER PRIMARY KEY, name BLOB, key TEXT, place TEXT, body BLOB)")
        table.executemany(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?)",
            (
                (
                    row.position,
                    _encode(_values_of(row, spec.columns, "group_by", location)),
                    row.key,
                    row.place,
                    _encode(row.values),
                )
                for row in source()
            ),
        )
        table.execute("CREATE TABLE names AS SELECT name, min(position) AS first FROM rows GROUP BY name")
        for position, part in enumerate(_parts(table, spec)):
            values = dict(zip(spec.columns, part.values, strict=True)) | {KEYS: list(part.keys)}
            if part.number == 1:
                name = _group_key(part.values, names)
            key = f"{name}/{part.number}" if spec.split else name
            if spec.split:
                values[PART] = part.number
            yield InputRow(position, key, values, part.place, tuple(part.rows), part.blocked)


class _Part:
    """The rows of a group, or of the part of it that fits."""

    def __init__(self, values: Sequence[Any], place: str, number: int) -> None:
        self.values, self.place, self.number = values, place, number
        self.keys: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.tokens = 0.0
        self.blocked = ""


def _parts(table: sqlite3.Connection, spec: GroupSpec) -> Iterator[_Part]:
    part: _Part | None = None
    name = b""
    for next_name, key, place, body in table.execute(
        "SELECT name, key, place, body FROM rows JOIN names USING (name) ORDER BY first, position"
    ):
        if part is None or next_name != name:
            if part is not None:
                yield part
            part, name = _Part(_decode(next_name), place, 1), next_name
        if part.blocked:
            continue
        tokens = estimate_text_tokens(body, "v2")
        if (part.rows or not spec.split) and part.tokens + tokens > spec.max_tokens:
            if spec.split:
                yield part
                part = _Part(part.values, place, part.number + 1)
            else:
                part.blocked = (
                    f"the group has more than {spec.max_tokens:,} tokens; `group_by: {{split: true}}` asks about it in "
                    "parts, which a second job can merge"
                )
                part.rows.clear()
                part.keys.clear()
                continue
        part.keys.append(key)
        part.rows.append(_decode(body))
        part.tokens += tokens
    if part is not None:
        yield part


@contextmanager
def private_table() -> Iterator[sqlite3.Connection]:
    """A database in a private temporary file that goes with it; it need not survive anything."""
    connection = sqlite3.connect("", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -8192")
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
