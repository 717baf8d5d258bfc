"""Values of every type: into PostgreSQL, through a query and a prompt, into a Parquet file and another table."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from batchforge import pipeline
from batchforge.project import Project
from batchforge.requests.request import MessageRequest
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.spec import JobSpec
from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
from tests.postgres_server import PostgresServer
from tests.project_files import load, write_files

PROJECT = """\
name: types
version: 1
targets:
  local: {type: emulator, connections: {warehouse: {url: "URL"}}}
defaults: {model: claude-haiku-5-5, max_tokens: 4000, thinking: disabled}
"""
JOB = """\
input: {sql: select * from given, connection: warehouse, key: id}
user: "{{ row | json }}"
output:
  fields: {label: {one_of: [x, y]}}
  file: outputs/out.parquet
  table: taken
  connection: warehouse
  create: true
  mode: replace
"""

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "a bigint": st.integers(-(2**63), 2**63 - 1),
    "b numeric(12, 3)": st.decimals(-999_999_999, 999_999_999, places=3),
    "c numeric": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=25),
    "d double precision": st.floats(allow_nan=False, allow_infinity=False),
    "e boolean": st.booleans(),
    "f text": TEXT,
    "g date": st.dates(date(1, 1, 1)),
    "h timestamp": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    "i timestamptz": INSTANTS,
    "j time": st.times(),
    "k jsonb": JSON_VALUES.filter(lambda value: value is not None).map(Jsonb),
    "l bigint[]": st.lists(st.none() | st.integers(-(2**53), 2**53), max_size=4),
    "m text[]": st.lists(st.none() | TEXT, max_size=4),
    "n bytea": st.binary(max_size=20),
    "o uuid": st.uuids(),
    "p real": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda value: _Real(value)),
    "q smallint": st.integers(-(2**15), 2**15 - 1),
}


class _Real(float):
    """A float of 32 bits, which is to its owner the shortest number that gives it."""

    def shortest(self) -> float:
        found = (float(f"{self:.{digits}g}") for digits in range(1, 10))
        return next(value for value in found if _as_32_bits(value) == float(self))


def _as_32_bits(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf")


ROWS = st.lists(st.tuples(*(st.none() | strategy for strategy in COLUMNS.values())), min_size=1, max_size=16)


def _as_prompted(value: Any) -> Any:
    """How a value of Python's must stand in the prompt."""
    match value:
        case Decimal():
            return f"{value:f}"
        case _Real():
            return value.shortest()
        case datetime() if value.tzinfo:
            return _iso(value.replace(tzinfo=None)) + "Z"
        case datetime():
            return _iso(value)
        case date() | uuid.UUID():
            return str(value)
        case time():
            return _without_zeros(value.isoformat())
        case Jsonb():
            return value.obj
        case bytes():
            import base64

            return base64.b64encode(value).decode()
    return value


def _differences(rows: list[Any], expected: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    pairs = zip(rows, expected, strict=True)
    return [(name, row[name], wanted[name]) for row, wanted in pairs for name in wanted if row[name] != wanted[name]]


def _iso(value: datetime) -> str:
    return _without_zeros(value.isoformat())


def _without_zeros(text: str) -> str:
    return text.rstrip("0") if "." in text else text


class _Around:
    """One project and one database, filled anew for each example."""

    def __init__(self, root: Path, url: str) -> None:
        write_files(root, {"batchforge.yml": PROJECT.replace("URL", url), "jobs/types.yml": JOB})
        self.root, self.database = root, psycopg.connect(url, autocommit=True)

    def fill(self, rows: list[tuple[Any, ...]]) -> None:
        columns = ", ".join(COLUMNS)
        self.database.execute("DROP TABLE IF EXISTS given, taken")
        (self.root / "target/local/outputs/out.parquet").unlink(missing_ok=True)  # so that both are written again
        self.database.execute(f"CREATE TABLE given (id int PRIMARY KEY, {columns})".encode())
        marks = ", ".join(["%s"] * (len(COLUMNS) + 1))
        with self.database.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO given VALUES ({marks})".encode(), [(number, *row) for number, row in enumerate(rows)]
            )

    def loaded(self) -> tuple[Project, JobSpec]:
        project, jobs, problems = load(self.root)
        assert not problems
        return project, jobs["types"]

    def prompts(self) -> list[Any]:
        from batchforge.errors import ProblemList

        project, job = self.loaded()
        problems = ProblemList()
        (compiled,) = compile_jobs(project, [job], project.target(), RunOptions(), problems)
        problems.raise_if_any()
        rows = [row for row in compiled.requests() if isinstance(row, MessageRequest)]
        return [json.loads(compiled.params_of(row)["messages"][0]["content"][0]["text"]) for row in rows]


def test_every_type_goes_around(tmp_path: Path, postgres: PostgresServer) -> None:
    around = _Around(tmp_path, postgres.new_database())
    try:
        _check(around)
    finally:
        around.database.close()


def _check(around: _Around) -> None:
    @settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(ROWS)
    def goes_around(rows: list[tuple[Any, ...]]) -> None:
        around.fill(rows)
        project, job = around.loaded()
        summary = pipeline.run(project, [job], project.target())
        assert summary.status == "ok"
        names = [column.split()[0] for column in COLUMNS]
        expected = [
            {"id": number, **{name: _as_prompted(value) for name, value in zip(names, row, strict=True)}}
            for number, row in enumerate(rows)
        ]
        assert _differences(around.prompts(), expected) == []
        file = around.root / "target/local/outputs/out.parquet"
        read = [row for _, row in read_rows(file, "out", TableOptions("parquet"))]
        assert _differences(read, expected) == []
        differing = around.database.execute(
            "SELECT given.id FROM given LEFT JOIN taken USING (id) WHERE "
            + " OR ".join(f"given.{name} IS DISTINCT FROM taken.{name}" for name in names if name != "c")
            + " OR given.c IS DISTINCT FROM taken.c::numeric"
        )
        assert differing.fetchall() == []

    run: Callable[[], None] = goes_around
    run()
