"""What is to be written into a table, what the table is, and the difference between the two. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.json_text import encode_json, whole_characters

DELIVERY = "_delivery"
"""The column that tells which rows an append has written, so that it can be done again without doubling them."""

_FAMILIES = (
    ("list", r".*\[.*\]|array.*"),
    ("json", "json.*|variant|super"),
    ("boolean", "bool.*"),
    ("integer", r"(big|small|tiny|medium|huge|u|ubig|usmall|utiny)?(int|integer)\d?\b.*|(big|small)?serial.*"),
    ("decimal", "(numeric|decimal|number).*"),
    ("number", "(double|float|real).*"),
    ("time", "(date|time).*"),
    ("bytes", "(blob|bytea|binary|varbinary|long ?blob).*"),
    ("text", "(var|n|nvar|bp)?char.*|character.*|.*text.*|string.*|.*clob|uuid"),
)
_FITS = {
    "integer": {"integer", "decimal", "number", "text"},
    "decimal": {"decimal", "number", "text"},
    "number": {"number", "decimal", "text"},
    "boolean": {"boolean", "text"},
    "time": {"time", "text"},
    "json": {"json", "text"},
    "list": {"list", "json", "text"},
    "bytes": {"bytes", "text"},
    "text": {"text", "other", "time"},
}


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One that is there."""

    name: str
    type: str
    """In the database's words."""
    is_required: bool = False
    """Whether a row cannot do without a value of it."""

    @property
    def family(self) -> str:
        return family_of(self.type)


@dataclass(frozen=True, slots=True)
class TableWrite:
    table: str
    """Its name, or schema.name."""
    columns: Mapping[str, str]
    """Column -> type, in DuckDB's words."""
    certain: frozenset[str]
    """Columns whose type is known before there are rows: those of the answer."""
    optional: frozenset[str]
    """Columns that a table need not have."""
    key: tuple[str, ...]
    mode: Literal["upsert", "append", "replace"]
    create: bool
    delivery: str
    """Names these rows: the same rows of the same answers have the same name."""
    location: Location | None = None

    @property
    def parts(self) -> list[str]:
        return self.table.split(".")


def family_of(type_name: str) -> str:
    plain = type_name.strip().lower()
    return next((family for family, pattern in _FAMILIES if re.fullmatch(pattern, plain)), "other")


def columns_to_write(
    write: TableWrite, there: Sequence[TableColumn], *, checks_types: bool = True
) -> list[TableColumn]:
    """The table's columns that are written.

    Raises:
        BatchForgeError: BF707 the table is not what the output needs.
    """
    by_name = {column.name: column for column in there}
    problems = list(_differences(write, by_name, checks_types=checks_types))
    if problems:
        raise BatchForgeError(
            "BF707",
            f"the table {write.table} is not what the output needs: {'; '.join(problems)}",
            hint="Change the table (ALTER TABLE), or the output's `fields` or `columns`. Nothing was written.",
            location=write.location,
        )
    return [by_name[name] for name in write.columns if name in by_name]


def _differences(write: TableWrite, there: Mapping[str, TableColumn], *, checks_types: bool) -> Iterator[str]:
    for name, kind in write.columns.items():
        if name not in there:
            if name not in write.optional:
                yield f"it has no column '{name}' ({family_of(kind)})"
        elif checks_types and name in write.certain and there[name].family not in _FITS.get(family_of(kind), {"text"}):
            yield f"column '{name}' is {there[name].type}, and the answers hold {family_of(kind)}"
    for name, column in there.items():
        if column.is_required and name not in write.columns:
            yield f"its column '{name}' must have a value, and the output has none"


def not_there(write: TableWrite) -> BatchForgeError:
    hint = "Make it, or let it be made: `output: {create: true}`."
    return BatchForgeError("BF706", f"there is no table {write.table}", hint=hint, location=write.location)


def adapted(value: Any, family: str) -> Any:
    """A value of a row as a driver takes it for a column of this family; texts that no database holds are mended."""
    match value:
        case None:
            return None
        case str() if family == "bytes":
            return base64.b64decode(value)
        case _ if family == "json":
            return _mended(encode_json(value).decode())
        case str():
            return _mended(value)
        case list() | tuple() if family == "list":
            return [adapted(item, "text" if isinstance(item, list | dict) else family) for item in value]
        case list() | tuple() | dict():
            return _mended(encode_json(value).decode())
        case bool() if family == "text":
            return "true" if value else "false"
        case int() | float() if family == "text":
            return encode_json(value).decode()
    return value


def _mended(text: str) -> str:
    """U+0000 and halves of surrogate pairs are no text to a database."""
    return whole_characters(text.replace("\0", "\ufffd").replace("\\u0000", "\\ufffd"))
