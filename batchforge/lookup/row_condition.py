"""A condition in SQL over the columns of some rows -> the keys of those for which it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchforge.errors import UsageError
from batchforge.tables.duck import open_duckdb, quoted_name, quoted_text
from batchforge.tables.writing import open_writer

_KEY = "_batchforge_key"
_KEYS_PER_STEP = 10_000


class NoSuchColumn(Exception):
    """The condition names something that the rows do not have."""


def keys_where(columns: Sequence[str], rows: Iterable[tuple[str, Mapping[str, Any]]], condition: str) -> set[str]:
    """The keys of the rows, given with their values, for which the condition is true.

    Raises:
        NoSuchColumn
        UsageError: BF942 the condition cannot be read or worked out.
    """
    with tempfile.TemporaryDirectory(prefix="batchforge-") as folder:
        path = Path(folder) / "rows.parquet"
        with open_writer(path, [_KEY, *columns], kinds={_KEY: "text"}) as table:
            for key, values in rows:
                table.write({_KEY: key, **{column: values.get(column) for column in columns}})
        return _query(path, condition)


def _query(path: Path, condition: str) -> set[str]:
    import duckdb

    with open_duckdb() as connection:
        file = quoted_text(str(path))
        connection.execute(f"CREATE VIEW rows AS FROM read_parquet({file})")
        # The condition sees these rows and nothing else of this machine.
        connection.execute(f"SET allowed_paths = [{file}]")
        connection.execute("SET enable_external_access = false")
        query = f"SELECT {quoted_name(_KEY)} FROM rows WHERE (\n{condition}\n)"  # noqa: S608
        try:
            if len(connection.extract_statements(query)) != 1:
                raise _not_worked_out(condition, "it is more than a condition")
            cursor = connection.execute(query)
            keys: set[str] = set()
            while some := cursor.fetchmany(_KEYS_PER_STEP):
                keys.update(row[0] for row in some)
        except duckdb.BinderException as exc:
            raise NoSuchColumn(_first_line(exc)) from exc
        except duckdb.Error as exc:
            raise _not_worked_out(condition, _first_line(exc)) from exc
    return keys


def _not_worked_out(condition: str, reason: str) -> UsageError:
    hint = "It is SQL, as after WHERE. Cells of CSV files are text: customer_id = '7'."
    return UsageError("BF942", f"the condition `{condition}` cannot be worked out: {reason}", hint=hint)


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0]
