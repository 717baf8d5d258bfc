"""Two inputs -> one: each row with the columns of the row that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from batchforge.errors import BatchForgeError
from batchforge.nearest import did_you_mean
from batchforge.row_shapes import InputRow, RowSource, private_table
from batchforge.spec import JoinSpec
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 500

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def joined_rows(rows: RowSource, others: RowSource, spec: JoinSpec) -> Iterator[InputRow]:
    """Each row with the other's columns; `how: inner` leaves out rows without one, `left` gives them nulls.

    Raises:
        BatchForgeError: BF222 a column of `on` is missing; BF223 two rows of the other input have equal values there;
            BF221 two columns have one name; BF224 no row finds another.
    """
    with private_table() as table:
        table.execute("CREATE TABLE others (name BLOB PRIMARY KEY, place TEXT, body BLOB) WITHOUT ROWID")
        columns: dict[str, None] = {}
        others_on = spec.others_on or spec.on
        for row in others():
            name = _encode(_values_at(row, others_on, spec))
            body = {f"{spec.prefix}{c}": value for c, value in row.values.items() if c not in others_on}
            columns.update(dict.fromkeys(body))
            added = table.execute("INSERT OR IGNORE INTO others VALUES (?, ?, ?)", (name, row.place, _encode(body)))
            if not added.rowcount:
                raise _twice(table.execute("SELECT place FROM others WHERE name = ?", (name,)).fetchone()[0], row, spec)
        position = found = seen = 0
        for some in in_chunks(rows(), _ROWS_PER_LOOKUP):
            names = [_encode(_values_at(row, spec.on, spec)) for row in some]
            marks = ",".join("?" * len(names))
            query = f"SELECT name, body FROM others WHERE name IN ({marks})"  # noqa: S608 - placeholders only
            bodies = dict(table.execute(query, names))
            for row, name in zip(some, names, strict=True):
                _check_columns(row, columns, spec)
                seen += 1
                if name in bodies:
                    found += 1
                elif spec.how == "inner":
                    continue
                values = dict.fromkeys(columns) | (_decode(bodies[name]) if name in bodies else {})
                yield row._replace(position=position, values={**row.values, **values})
                position += 1
        if seen and columns and not found:
            raise _nothing_found(spec)


def _values_at(row: InputRow, columns: Sequence[str], spec: JoinSpec) -> Sequence[Any]:
    try:
        return [row.values[column] for column in columns]
    except KeyError as exc:
        column = exc.args[0]
        hint = did_you_mean(column, row.values) or f"The columns are {', '.join(row.values)}."
        message = f"`join`: {row.place} has no column '{column}', which `on` names"
        raise BatchForgeError("BF222", message, location=spec.input.location, hint=hint) from exc


def _twice(first: str, row: InputRow, spec: JoinSpec) -> BatchForgeError:
    columns = spec.others_on or spec.on
    values = ", ".join(f"{column} = {row.values[column]!r}" for column in columns)
    return BatchForgeError(
        "BF223",
        f"`join`: {first} and {row.place} both have {values}, so it is not told which of them a row belongs to",
        location=spec.input.location,
        hint="Join the other way round: the input with many rows for one value comes first, and the other is joined.",
    )


def _check_columns(row: InputRow, columns: dict[str, None], spec: JoinSpec) -> None:
    both = [column for column in columns if column in row.values]
    if both:
        raise BatchForgeError(
            "BF221",
            f"`join`: both inputs have a column '{both[0]}'",
            location=spec.input.location,
            hint="Say e.g. `prefix: customer_`, which goes before the names of the joined input's columns.",
        )


def _nothing_found(spec: JoinSpec) -> BatchForgeError:
    return BatchForgeError(
        "BF224",
        f"`join`: no row finds another by {', '.join(spec.on)}",
        location=spec.input.location,
        hint="Are the values of one type? CSV cells are text unless `types:` says otherwise; JSON may hold numbers.",
    )
