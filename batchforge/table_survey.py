"""A data file not seen before -> how it is to be read, its columns, a column that names rows, one that holds text."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from batchforge.errors import BatchForgeError, UsageError
from batchforge.tables.options import DELIMITERS, FORMATS_BY_ENDING, TableFormat, TableOptions, format_of
from batchforge.tables.reading import read_rows

_PLAIN_ENDINGS = frozenset({"", ".txt", ".dat", ".log"})
"""Endings that tell no format: such a file is taken for delimited text."""
_DELIMITERS = (",", ";", "\t", "|")
_KEY_NAME = re.compile(r"(^|[\W_])(id|key|uuid|guid|number|nr|no|ref)$|Id$|ID$", re.IGNORECASE)
_TEXT_NAME = re.compile(r"text|body|message|content|review|comment|description|question|prompt|abstract", re.IGNORECASE)
_LOOKED_AT = 1_000
_LONGEST_KEY = 60
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class TableSurvey:
    options: TableOptions
    columns: tuple[str, ...]
    row_count: int
    key: str | None
    """A column that is never empty and never the same; None where there is none."""
    text: str
    """The column that most likely holds what is to be read."""
    always_there: frozenset[str]
    """Columns that every row has; in JSON rows may lack some."""
    is_named_by_ending: bool = True
    """Whether the ending tells the format."""
    header_line: Mapping[str, str] = field(default_factory=dict)
    """A header that cannot be used is read as a row; this is what it holds."""

    @property
    def settings(self) -> dict[str, Any]:
        """What `input:` has to say besides the file, in the order in which one writes it."""
        options = self.options
        found: dict[str, Any] = {} if self.is_named_by_ending else {"format": options.format}
        if not options.header:
            found |= {"header": False, "columns": list(self.columns)}
        if options.delimiter not in (None, DELIMITERS.get(options.format)):
            found["delimiter"] = options.delimiter
        if options.quote is None:
            found["quote"] = None
        if options.encoding != "utf-8":
            found["encoding"] = options.encoding
        return found


def survey_table(path: Path) -> TableSurvey:
    """Read the whole file once, in a stream.

    Raises:
        BatchForgeError: it cannot be read as a table. UsageError: BF931 it holds no rows.
    """
    shown = path.name
    options = _delimited(path, _plain_format(path)) if _is_delimited(path) else TableOptions(format_of(shown))
    header: dict[str, str] = {}
    try:
        columns = _Columns.of(row for _, row in read_rows(path, shown, options))
    except BatchForgeError as exc:
        if exc.problems[0].code != "BF204" or not options.header:
            raise
        options, header = _without_header(path, options)
        columns = _Columns.of(row for _, row in read_rows(path, shown, options) if row != header)
    if not columns.row_count:
        raise UsageError("BF931", f"{path} holds no rows.", hint="Name a file with at least one row.")
    return TableSurvey(
        options=options,
        columns=tuple(columns.seen),
        row_count=columns.row_count,
        key=columns.key(),
        text=columns.text(),
        always_there=frozenset(name for name, count in columns.seen.items() if count == columns.row_count),
        is_named_by_ending=path.suffix.lower() in FORMATS_BY_ENDING,
        header_line=header,
    )


# ---- delimited text


def _is_delimited(path: Path) -> bool:
    ending = path.suffix.lower()
    return ending in _PLAIN_ENDINGS or FORMATS_BY_ENDING.get(ending) in DELIMITERS


def _plain_format(path: Path) -> TableFormat:
    return FORMATS_BY_ENDING.get(path.suffix.lower(), "csv")


def _delimited(path: Path, table_format: TableFormat) -> TableOptions:
    """The way of reading under which the first lines make a table."""
    encoding = _encoding(path)
    text = _first_lines(path, encoding)
    usual = DELIMITERS[table_format]
    delimiter, quote = _best_way(text, usual, is_sure=path.suffix.lower() in FORMATS_BY_ENDING)
    first = next(csv.reader(text, **_dialect(delimiter, quote)), [])
    return TableOptions(
        format=table_format,
        header=not _looks_like_data(first),
        delimiter=None if delimiter == usual else delimiter,
        quote=quote,
        encoding=encoding,
    )


def _encoding(path: Path) -> str:
    with path.open("rb") as binary:
        start = binary.read(2)
        if start in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
    try:
        with path.open(encoding="utf-8", newline="\n") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _first_lines(path: Path, encoding: str) -> list[str]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="\n", errors="replace") as text:
        return list(islice(text, _LOOKED_AT))


def _best_way(lines: list[str], usual: str, is_sure: bool) -> tuple[str, str | None]:
    """(delimiter, quote): the one that makes the widest table, else one column, else what the ending says."""
    ways = [(delimiter, quote) for quote in ('"', None) for delimiter in (usual, *_DELIMITERS)]
    widths = {way: _width(lines, *way) for way in ways}
    best = max(ways, key=lambda way: widths[way])
    if widths[best] > 1 or not is_sure or usual not in "".join(lines[:1]):
        return best
    return usual, '"'


def _width(lines: list[str], delimiter: str, quote: str | None) -> int:
    """How many cells each row has; 0 where they differ."""
    widths: list[int] = []
    try:
        widths.extend(len(cells) for cells in csv.reader(lines, **_dialect(delimiter, quote)) if cells)
    except csv.Error as exc:
        if len(lines) < _LOOKED_AT or "unexpected end" not in str(exc):  # else the last row was cut by us
            return 0
    return widths[0] if len(set(widths)) == 1 else 0


def _dialect(delimiter: str, quote: str | None) -> dict[str, Any]:
    quoting = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
    return {"delimiter": delimiter, "quotechar": quote, "quoting": quoting, "strict": True}


def _looks_like_data(cells: list[str]) -> bool:
    """Names of columns are no numbers and no sentences."""
    return any(len(cell) > _LONGEST_NAME or re.fullmatch(r"\s*-?\d+([.,]\d+)?\s*", cell) for cell in cells)


def _without_header(path: Path, options: TableOptions) -> tuple[TableOptions, dict[str, str]]:
    """A header in which a name is missing or stands twice: the columns get names here, and its line is left out."""
    lines = _first_lines(path, options.encoding)
    cells = next(csv.reader(lines, **_dialect(options.delimiter or DELIMITERS[options.format], options.quote)))
    names: list[str] = []
    for number, cell in enumerate(cells, 1):
        name = cell or f"column_{number}"
        names.append(name if name not in names else f"{name}_{number}")
    changed = TableOptions(
        format=options.format,
        header=False,
        columns=tuple(names),
        delimiter=options.delimiter,
        quote=options.quote,
        encoding=options.encoding,
    )
    return changed, dict(zip(names, cells, strict=True))


# ---- columns


@dataclass(slots=True)
class _Columns:
    row_count: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    unique: dict[str, set[int]] = field(default_factory=dict)
    """Columns that may still name rows -> hashes of their values."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Column -> characters of text in all rows."""

    @classmethod
    def of(cls, rows: Iterator[Mapping[str, Any]]) -> _Columns:
        columns = cls()
        for row in rows:
            columns._add(row)
        return columns

    def _add(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name not in self.seen:
                self.seen[name], self.lengths[name] = 0, 0
                if not self.row_count:
                    self.unique[name] = set()
            self.seen[name] += 1
            if isinstance(value, str):
                self.lengths[name] += len(value)
        self.row_count += 1
        for name in [name for name, values in self.unique.items() if not _is_new(row.get(name), values)]:
            del self.unique[name]

    def key(self) -> str | None:
        """One that is called like a key, else the first one; never long texts."""
        longest, text = _LONGEST_KEY * self.row_count, self.text()
        fitting = [name for name in self.unique if self.lengths[name] <= longest and name != text]
        return next((name for name in fitting if _KEY_NAME.search(name)), next(iter(fitting), None))

    def text(self) -> str:
        return max(self.seen, key=lambda name: self.lengths[name] * (3 if _TEXT_NAME.search(name) else 1))


def _is_new(value: Any, values: set[int]) -> bool:
    if value is None or value == "" or not isinstance(value, str | int) or isinstance(value, bool):
        return False
    before = len(values)
    values.add(hash(str(value)))
    return len(values) > before
