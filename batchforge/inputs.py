"""InputSpec and project files -> the job's rows in a stream, each with a stable key and the place where it stands."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec
from jinja2 import TemplateSyntaxError, UndefinedError, nodes

from batchforge.errors import BatchForgeError, Location, Problem, ProjectError
from batchforge.nearest import did_you_mean
from batchforge.requests.templating import make_environment
from batchforge.row_joins import joined_rows
from batchforge.row_shapes import InputRow, RowSource, chunks, distinct_rows, each_element, groups
from batchforge.source_tree import SourceTree
from batchforge.spec import InputSpec
from batchforge.spill import SpillCounter
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from batchforge.tables.text_files import read_text

SHOWN_KEYS = 5
"""How many bad keys an error names."""
SHOWN_PLACES = 3
CONTENT_KEY_HEX = 16
HASH_CHUNK_BYTES = 1 << 20
GENERATE_SEED = b"batchforge-generate-1"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SAMPLE_SEED = b"batchforge-sample-1"
"""Fixed: the same rows are chosen on every machine and in every release."""

_PLAIN_SETTINGS = (
    *("format", "header", "columns", "delimiter", "quote", "encoding", "hive_partitions"),
    *("key", "on_duplicate", "where", "limit", "sample"),
)

_canonical = msgspec.json.Encoder(order="sorted").encode
_compact = msgspec.json.Encoder().encode


PlacedRow: TypeAlias = tuple[str, dict[str, Any]]
PlacedRows: TypeAlias = Callable[[], Iterator[PlacedRow]]
UpstreamRows: TypeAlias = Callable[[str], Iterator[tuple[str, dict[str, Any]]]]
"""A job's name -> key and columns of each of its rows that were answered."""


def read_input(
    spec: InputSpec,
    tree: SourceTree,
    variables: Mapping[str, Any] | None = None,
    *,
    upstream: UpstreamRows | None = None,
    limit: int | None = None,
    sample: int | None = None,
) -> Iterator[InputRow]:
    """The rows of the spec; `limit` and `sample` narrow them further, for one run. Without `upstream`, other jobs have
    no rows.

    Raises:
        BatchForgeError: while the rows are read, at the first that is wrong.
    """
    source = _shaped(spec, _combined_rows(spec, tree, variables or {}, upstream or _no_rows))
    for rows_at_most, rows_sampled in ((spec.limit, spec.sample), (limit, sample)):
        source = _narrowed(source, rows_at_most, rows_sampled)
    return source()


def input_identity(spec: InputSpec, tree: SourceTree, variables: Mapping[str, Any] | None = None) -> str:
    """Changes when the rows could change: the files' content, how they are read, which rows are taken."""
    settings = {name: getattr(spec, name) for name in _PLAIN_SETTINGS}
    settings["types"] = dict(spec.types)
    settings["rows"] = None if spec.rows is None else [dict(row) for row in spec.rows]
    settings["files"] = [(path, _content_hash(tree, path)) for path in input_paths(spec, tree)]
    settings["vars"] = dict(variables or {}) if spec.where else {}
    return hashlib.sha256(_canonical(settings)).hexdigest()


def _content_hash(tree: SourceTree, path: str) -> str:
    digest = hashlib.sha256()
    with tree.open_binary(path) as binary:
        while chunk := binary.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# --- where rows come from -----------------------------------------------------------------------------------------


def _no_rows(job: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return iter(())


def _combined_rows(
    spec: InputSpec, tree: SourceTree, variables: Mapping[str, Any], upstream: UpstreamRows
) -> RowSource:
    """The rows with their keys, with joined columns, one for each element of a list, without those left out."""
    condition = None if spec.where is None else _Condition(spec, spec.where, tree, variables)
    is_early = condition is not None and not spec.joins and spec.each is None
    source = _keyed_rows(spec, tree, upstream, condition if is_early else None)
    for join in spec.joins:
        others = _combined_rows(join.input, tree, variables, upstream)
        source = partial(joined_rows, source, others, join)
    if spec.each is not None:
        source = partial(each_element, source, spec.each, spec.location)
    if condition is not None and not is_early:
        source = partial(_rows_that_hold, source, condition)
    return source


def _shaped(spec: InputSpec, source: RowSource) -> RowSource:
    """As the rows are asked: each by itself, or together."""
    if spec.distinct:
        return partial(distinct_rows, source, spec.distinct, spec.location)
    if spec.chunk is not None:
        return partial(chunks, source, spec.chunk)
    if spec.group_by is not None:
        return partial(groups, source, spec.group_by, spec.location)
    return source


def _keyed_rows(spec: InputSpec, tree: SourceTree, upstream: UpstreamRows, condition: _Condition | None) -> RowSource:
    if spec.ref is not None and not spec.key:  # rows keep the names that they have in the job they come from
        source: RowSource = partial(_upstream_rows, spec.ref, upstream)
        return source if condition is None else partial(_rows_that_hold, source, condition)
    placed = _placed_rows(spec, tree, upstream)
    return partial(
        _with_keys, spec, placed if condition is None else partial(_placed_rows_that_hold, placed, condition)
    )


def _placed_rows(spec: InputSpec, tree: SourceTree, upstream: UpstreamRows) -> PlacedRows:
    if spec.ref is not None:
        return partial(_placed_upstream_rows, spec.ref, upstream)
    if spec.rows is not None:
        return partial(_inline_rows, spec)
    if spec.generate is not None:
        return partial(_generated_rows, spec, spec.generate)
    if spec.text_files is not None:
        return partial(_text_rows, spec, tree)
    if spec.needs_snapshot and spec.snapshot is None:
        raise never_fetched(spec)
    if spec.rows_are_files:
        return partial(_file_rows, spec, tree)
    return partial(_table_rows, spec, tree)


def _placed_rows_that_hold(read: PlacedRows, condition: _Condition) -> Iterator[PlacedRow]:
    return (placed for placed in read() if condition.holds(*placed))


def _rows_that_hold(source: RowSource, condition: _Condition) -> Iterator[InputRow]:
    taken = (row for row in source() if condition.holds(row.place, row.values))
    return (row._replace(position=position) for position, row in enumerate(taken))


def _upstream_rows(job: str, upstream: UpstreamRows) -> Iterator[InputRow]:
    for position, (key, values) in enumerate(upstream(job)):
        yield InputRow(position, key, values, f"{job}[{key}]")


def _placed_upstream_rows(job: str, upstream: UpstreamRows) -> Iterator[PlacedRow]:
    return ((f"{job}[{key}]", values) for key, values in upstream(job))


def _generated_rows(spec: InputSpec, count: int) -> Iterator[PlacedRow]:
    file = spec.location.path if spec.location else "generate"
    for index in range(count):
        seed = hashlib.blake2b(f"{spec.seed}:{index}".encode(), digest_size=6, key=GENERATE_SEED).digest()
        yield f"{file}:row {index}", {"index": index, "seed": int.from_bytes(seed)}


def _table_rows(spec: InputSpec, tree: SourceTree) -> Iterator[PlacedRow]:
    for path, shown_as in _table_files(spec, tree):
        options = _table_options(spec, path)
        mark = ":" if options.counts_lines else ":row "
        of_folders = _hive_values(shown_as) if spec.hive_partitions else {}
        for number, values in read_rows(tree.local_path(path), shown_as, options):
            yield f"{shown_as}{mark}{number}", values | of_folders


def _table_files(spec: InputSpec, tree: SourceTree) -> Iterator[tuple[str, str]]:
    """Each file with the name by which it is shown."""
    if spec.snapshot is not None:
        return ((file.path, file.shown_as) for file in spec.snapshot)
    return ((path, path) for path in _own_paths(spec, tree))


def _hive_values(path: str) -> dict[str, str | None]:
    """The columns that folders such as `lang=en` give, as text."""
    steps = (step.partition("=") for step in path.split("/")[:-1])
    return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, mark, value in steps if mark}


def _table_options(spec: InputSpec, path: str) -> TableOptions:
    options = TableOptions(
        format=format_of(path) if spec.format is None or spec.format == "document" else spec.format,
        header=spec.header,
        columns=spec.columns,
        delimiter=spec.delimiter,
        quote=spec.quote,
        encoding=spec.encoding,
        types=spec.types,
    )
    if spec.types and options.format not in ("csv", "tsv"):
        message = f"`types:` is for CSV and TSV; {options.format} files keep the types of their values"
        raise BatchForgeError("BF214", message, location=spec.location, hint="Leave `types:` out.")
    if spec.columns and spec.header:
        message = "`columns:` names the columns of a file without a header, but `header:` is true"
        raise BatchForgeError("BF214", message, location=spec.location, hint="Set `header: false`, or drop `columns:`.")
    return options


def _text_rows(spec: InputSpec, tree: SourceTree) -> Iterator[PlacedRow]:
    for path in _own_paths(spec, tree):
        text = read_text(tree.local_path(path), path, spec.encoding)
        yield path, {"path": path, "name": PurePosixPath(path).stem, "text": text}


def _file_rows(spec: InputSpec, tree: SourceTree) -> Iterator[PlacedRow]:
    """The files themselves are read where a block of the prompt names them."""
    for path, shown_as in _table_files(spec, tree):
        size_bytes = tree.local_path(path).stat().st_size
        yield shown_as, {"path": shown_as, "name": PurePosixPath(shown_as).stem, "size_bytes": size_bytes}


def _inline_rows(spec: InputSpec) -> Iterator[PlacedRow]:
    file = spec.location.path if spec.location else "rows"
    for number, row in enumerate(spec.rows or (), 1):
        place = f"{file}:row {number}"
        values = dict(row)
        _check_sendable(values, place)
        yield place, values


def _check_sendable(value: Any, place: str) -> None:
    """YAML can spell what JSON cannot send: .nan, .inf, and half of a surrogate pair."""
    match value:
        case dict():
            for key, item in value.items():
                _check_sendable(key, place)
                _check_sendable(item, place)
        case list() | tuple():
            for item in value:
                _check_sendable(item, place)
        case float() if not math.isfinite(value):
            message = f"{value} cannot be sent as JSON"
            raise BatchForgeError("BF215", message, location=_location(place), hint="Write null.")
        case str() if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            message = "a text holds half of a surrogate pair, which is no character"
            raise BatchForgeError("BF215", message, location=_location(place))


def _location(place: str) -> Location:
    path, _, line = place.rpartition(":")
    return Location(path, int(line)) if line.isdecimal() else Location(place)


def input_paths(spec: InputSpec, tree: SourceTree) -> Sequence[str]:
    """The files that hold the rows, those of joined inputs too, in the order in which they are read."""
    return (*_own_paths(spec, tree), *(path for join in spec.joins for path in input_paths(join.input, tree)))


def _own_paths(spec: InputSpec, tree: SourceTree) -> Sequence[str]:
    if spec.snapshot is not None:
        return [file.path for file in spec.snapshot]
    if spec.needs_snapshot:
        raise never_fetched(spec)
    pattern = spec.files or spec.text_files
    if pattern is None:
        return ()
    if tree.exists(pattern):
        return (pattern,)
    is_glob = any(mark in pattern for mark in "*?[")
    found = sorted(tree.glob(pattern)) if is_glob else []
    if not found:
        raise _nothing_there(pattern, is_glob, spec.location, tree)
    return found


def never_fetched(spec: InputSpec) -> BatchForgeError:
    what = "the query was" if spec.sql is not None else f"'{spec.files}' was"
    hint = "`batchforge fetch` takes a snapshot of it; everything offline reads that."
    return BatchForgeError("BF230", f"{what} never fetched for this target", location=spec.location, hint=hint)


def _nothing_there(pattern: str, is_glob: bool, location: Location | None, tree: SourceTree) -> BatchForgeError:
    if is_glob:
        hint = "Paths start at the project's folder; ** stands for any depth of folders."
        return BatchForgeError("BF201", f"no file matches '{pattern}'", location=location, hint=hint)
    hint = _nearest_file(pattern, tree) or "Paths start at the project's folder."
    return BatchForgeError("BF201", f"there is no file '{pattern}'", location=location, hint=hint)


def _nearest_file(path: str, tree: SourceTree) -> str:
    wanted = PurePosixPath(path)
    neighbours = tree.glob(str(wanted.parent / "*"))
    elsewhere = sorted(tree.glob(f"**/{wanted.name}"))
    return did_you_mean(path, neighbours) or (f"Did you mean `{elsewhere[0]}`?" if elsewhere else "")


# --- which rows are taken -----------------------------------------------------------------------------------------


class _Condition:
    """`where:`, compiled once."""

    def __init__(self, spec: InputSpec, text: str, tree: SourceTree, variables: Mapping[str, Any]) -> None:
        environment = make_environment(tree)
        self._variables = variables
        self._location = spec.location
        try:
            self._evaluate: Callable[..., Any] = environment.compile_expression(text, undefined_to_none=False)
            self._columns = _columns_used(environment.parse("{{ (" + text + ") }}"))
        except TemplateSyntaxError as exc:
            message = f"`where:` is not an expression: {exc.message}"
            raise BatchForgeError("BF213", message, location=spec.location, hint="Example: row.lang == 'en'") from exc

    def holds(self, place: str, values: dict[str, Any]) -> bool:
        try:
            return bool(self._evaluate(row=values, vars=self._variables))
        except UndefinedError as exc:
            raise self._undefined(place, values, exc) from exc
        except Exception as exc:
            hint = "CSV cells are text unless `types:` says otherwise, e.g. `types: {stars: integer}`."
            raise self._failed(place, f"{type(exc).__name__}: {exc}", hint) from exc

    def _undefined(self, place: str, values: dict[str, Any], exc: UndefinedError) -> BatchForgeError:
        for column in self._columns:
            if column not in values:
                return self._failed(place, f"the row has no column '{column}'", _nearest_column(column, values))
        # Jinja quotes the name last: "'dict object' has no attribute 'leest'".
        name = (str(exc).split("'")[1::2] or [str(exc)])[-1]
        hint = did_you_mean(name, [*self._variables, "row", "vars"]) or "Conditions see `row` and `vars`."
        return self._failed(place, f"'{name}' is not there", hint)

    def _failed(self, place: str, reason: str, hint: str) -> BatchForgeError:
        return BatchForgeError("BF213", f"`where:` fails at {place}: {reason}", location=self._location, hint=hint)


def _columns_used(template: nodes.Template) -> list[str]:
    named = [(node.node, node.attr) for node in template.find_all(nodes.Getattr)]
    named += [
        (node.node, node.arg.value)
        for node in template.find_all(nodes.Getitem)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
    ]
    return [name for holder, name in named if isinstance(holder, nodes.Name) and holder.name == "row"]


def _nearest_column(column: str, columns: Collection[str]) -> str:
    return did_you_mean(column, columns) or f"The columns are {', '.join(columns)}."


def _narrowed(source: RowSource, limit: int | None, sample: int | None) -> RowSource:
    if limit is not None:
        source = partial(_limited, source, limit)
    if sample is not None:
        source = partial(_sampled, source, sample)
    return source


def _limited(source: RowSource, size: int) -> Iterator[InputRow]:
    return islice(source(), size)


def _sampled(source: RowSource, size: int) -> Iterator[InputRow]:
    """The rows with the smallest hashes. Two passes, so that only the hashes are held, never the rows."""
    smallest: list[int] = []
    for row in source():
        if len(smallest) < size:
            heapq.heappush(smallest, -_sample_hash(row.key))
        elif size:
            heapq.heappushpop(smallest, -_sample_hash(row.key))
    if not smallest:
        return
    largest = -smallest[0]
    chosen = (row for row in source() if _sample_hash(row.key) <= largest)
    for position, row in enumerate(islice(chosen, size)):
        yield row._replace(position=position)


def _sample_hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, key=SAMPLE_SEED).digest())


# --- keys ---------------------------------------------------------------------------------------------------------


def _with_keys(spec: InputSpec, placed: PlacedRows) -> Iterator[InputRow]:
    if spec.key:
        return _with_declared_keys(spec, placed)
    if spec.generate is not None:
        return _with_declared_keys(replace(spec, key=("index",)), placed)
    if spec.rows_are_files:
        return _with_declared_keys(replace(spec, key=("path",)), placed)
    return _with_content_keys(placed)


def _with_content_keys(placed: PlacedRows) -> Iterator[InputRow]:
    """The row's content names it: equal rows of any key order have equal keys, and are numbered."""
    with SpillCounter() as seen:
        for position, (place, values) in enumerate(placed()):
            digest = hashlib.sha256(_canonical(values)).hexdigest()[:CONTENT_KEY_HEX]
            before = seen.add(digest.encode())
            yield InputRow(position, f"{digest}-{before + 1}" if before else digest, values, place)


def _with_declared_keys(spec: InputSpec, placed: PlacedRows) -> Iterator[InputRow]:
    position = 0
    with SpillCounter() as seen:
        for place, values in placed():
            key = _declared_key(spec.key, values, place)
            before = seen.add(key.encode()) if key else 0
            if not key or (before and spec.on_duplicate == "error"):
                raise _bad_keys(spec, placed)
            if before and spec.on_duplicate == "first":
                continue
            yield InputRow(position, _suffixed(key, before + 1, seen) if before else key, values, place)
            position += 1


def _declared_key(columns: tuple[str, ...], values: dict[str, Any], place: str) -> str:
    """Empty if the row has no value in one of the columns."""
    try:
        parts = [values[column] for column in columns]
    except KeyError as exc:
        column = exc.args[0]
        message = f"the row has no column '{column}', which `key:` names"
        hint = _nearest_column(column, values)
        raise BatchForgeError("BF210", message, location=_location(place), hint=hint) from exc
    if None in parts or "" in parts:
        return ""
    if len(parts) > 1:
        return _compact(parts).decode()
    return parts[0] if isinstance(parts[0], str) else _compact(parts[0]).decode()


def _suffixed(key: str, number: int, seen: SpillCounter) -> str:
    """The first of key#2, key#3, ... that no row has yet: a file may hold such a key itself."""
    while seen.add(f"{key}#{number}".encode()):
        number += 1
    return f"{key}#{number}"


def _bad_keys(spec: InputSpec, placed: PlacedRows) -> BatchForgeError:
    """Reads all rows once more, so that one error tells how many keys are bad and where the first ones stand."""
    columns = " and ".join(f"'{column}'" for column in spec.key)
    empty, repeated, repeats = _survey_keys(spec, placed)
    problems = []
    if empty:
        message = f"{_rows(empty.count)} no value in key column {columns}: {empty}"
        hint = "Fill the cells, choose another key, or leave such rows out with `where:`."
        problems.append(Problem("BF212", message, spec.location, hint))
    if repeats and spec.on_duplicate == "error":
        named = "; ".join(f"{key!r} in {places}" for key, places in repeated.items())
        message = f"{_rows(repeats)} a key that an earlier row has (key column {columns}), e.g. {named}"
        hint = "Add a column to `key:`, or set `on_duplicate: first` (keep the first row) or `suffix` (number them)."
        problems.append(Problem("BF211", message, spec.location, hint))
    return ProjectError.of(problems)


class _Places:
    """The first few of many places, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, place: str) -> None:
        self.count += 1
        if self.count <= SHOWN_PLACES:
            self._first.append(place)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = self.count - len(self._first)
        return ", ".join(self._first) + (f" and {more} more" if more else "")


def _survey_keys(spec: InputSpec, placed: PlacedRows) -> tuple[_Places, dict[str, _Places], int]:
    """Rows without a key; the first repeated keys with their rows; how many rows repeat a key."""
    empty, repeated, repeats = _Places(), dict[str, _Places](), 0
    with SpillCounter() as seen:
        for place, values in placed():
            key = _declared_key(spec.key, values, place)
            if not key:
                empty.add(place)
            elif seen.add(key.encode()):
                repeats += 1
                if len(repeated) < SHOWN_KEYS:
                    repeated.setdefault(key, _Places())
    for place, values in placed() if repeated else ():
        key = _declared_key(spec.key, values, place)
        if key in repeated:
            repeated[key].add(place)
    return empty, repeated, repeats


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"
