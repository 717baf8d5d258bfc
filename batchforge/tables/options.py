"""How a table file is to be read: what `read_rows` takes besides the path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from batchforge.errors import BatchForgeError

TableFormat: TypeAlias = Literal["csv", "tsv", "jsonl", "json", "parquet"]

FORMATS_BY_ENDING: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
COMPRESSED_ENDINGS = (".gz", ".zst")
DELIMITERS = {"csv": ",", "tsv": "\t"}

MAX_ROW_CHARS = 256 * 1024 * 1024
"""The API takes no batch above 256 MB, so a longer cell or row is a mistake (mostly a quote that is never closed)."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    format: TableFormat
    header: bool = True
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    """None: comma for csv, tab for tsv."""
    quote: str | None = '"'
    """None: quotes are ordinary characters."""
    encoding: str = "utf-8"
    types: Mapping[str, str] = field(default_factory=dict)
    """column -> text | integer | number | boolean | json, for CSV and TSV."""

    @property
    def counts_lines(self) -> bool:
        """Whether the number of a row is its line in the file; Parquet counts rows."""
        return self.format != "parquet"


def format_of(path: str) -> TableFormat:
    """The format by the file's ending; that of a compressed file stands before the one of the compression."""
    name = PurePosixPath(path)
    is_packed = name.suffix.lower() in COMPRESSED_ENDINGS
    ending = PurePosixPath(name.stem).suffix.lower() if is_packed else name.suffix.lower()
    if ending == ".parquet" and is_packed:
        hint = "Parquet compresses by itself: unpack the file."
        raise BatchForgeError("BF202", f"'{path}' is a Parquet file that is packed once more", hint=hint)
    if ending in FORMATS_BY_ENDING:
        return FORMATS_BY_ENDING[ending]
    raise BatchForgeError(
        "BF202",
        f"'{path}' has no ending that tells its format",
        hint=f"Set `format:` (csv, tsv, jsonl, json or parquet; document makes each file a row), or use one of "
        f"{', '.join(FORMATS_BY_ENDING)}.",
    )
