"""Lines of a file and the keys of their rows -> the same lines in the order of the keys, in little memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

_AT_ONCE = 5_000
_CACHE_KIB = 16 * 1024
_BIGGEST = 2**63 - 1


class SpoolOrder:
    """Where each line stands, by its key: numbers by size, text by its bytes, what is null at the end."""

    def __init__(self, file: Path, kinds: Sequence[str | None]) -> None:
        """`kinds` are the types of the key's columns, in DuckDB's words, as far as they are known."""
        self._file, self._scales = file, [_scale(kind) for kind in kinds]
        self._waiting: list[tuple[Any, ...]] = []
        file.unlink(missing_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            self._db.execute(f"PRAGMA {setting}")
        file.chmod(0o600)
        self._columns = [f"k{number}" for number in range(len(kinds))]
        self._db.execute(f"CREATE TABLE lines ({', '.join(self._columns)}, start, size)")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._file.unlink(missing_ok=True)

    def add(self, key: Sequence[Any], start: int, size_bytes: int) -> None:
        values = [_comparable(value, scale) for value, scale in zip(key, self._scales, strict=True)]
        self._waiting.append((*values, start, size_bytes))
        if len(self._waiting) == _AT_ONCE:
            self._save()

    def places(self) -> Iterator[tuple[int, int]]:
        """Start and size of each line, in order."""
        self._save()
        order = ", ".join(f"{column} IS NULL, {column}" for column in self._columns)
        yield from self._db.execute(f"SELECT start, size FROM lines ORDER BY {order}, start")  # noqa: S608

    def _save(self) -> None:
        marks = ", ".join("?" * (len(self._columns) + 2))
        self._db.executemany(f"INSERT INTO lines VALUES ({marks})", self._waiting)  # noqa: S608
        self._waiting.clear()


def _scale(kind: str | None) -> int | None:
    """Of a decimal's type: its digits behind the point."""
    return int(kind.rstrip(")").rpartition(",")[2]) if kind is not None and kind.startswith("DECIMAL(") else None


def _comparable(value: Any, scale: int | None) -> Any:
    """What SQLite compares as the value itself is compared."""
    if scale is not None and value is not None:
        return _scaled(value, scale)
    match value:
        case None | float() | str():
            return value
        case int() if abs(value) <= _BIGGEST:
            return int(value)
    return str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()


def _scaled(value: Any, scale: int) -> Any:
    try:
        number = int(Decimal(str(value)).scaleb(scale))
    except (InvalidOperation, ValueError, OverflowError):
        return str(value)
    return number if abs(number) <= _BIGGEST else float(number)
