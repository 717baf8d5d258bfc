"""State in one SQLite file: WAL, every step durable before it returns, readable while somebody writes."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from batchforge.clock import Clock, SystemClock, iso
from batchforge.errors import StateError, StateLocked
from batchforge.results import RequestResult, ResultKind, Usage
from batchforge.state.attempts import AttemptState, check_move
from batchforge.state.records import (
    AttemptMoved,
    AttemptRecord,
    BatchRecord,
    ClaimTaken,
    IntendedRequest,
    Intention,
    LiveClaim,
    Manifest,
    ManifestRow,
    OutputRow,
    RequestRecord,
    RunRecord,
    StoredAnswer,
    StoredResult,
    StoreReport,
)
from batchforge.state.schema import APPLICATION_ID, MIGRATIONS
from batchforge.streams import in_chunks
from batchforge.target import Origin

_ROWS_PER_STEP = 1_000
_RESULT_COLUMNS = (
    "request_id, ordinal, attempt_id, kind, max_tokens, input_tokens, output_tokens, cache_read_tokens, "
    "cache_write_5m_tokens, cache_write_1h_tokens, web_searches, inference_geo, model, message_id, stop_reason, error_type, error_message, "
    "cost_pico_usd, message_rowid, stored_at"
)
_USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "web_searches",
)
_PLAIN_RESULT_COLUMNS = (
    "message",
    "message_id",
    "inference_geo",
    "model",
    "stop_reason",
    "error_type",
    "error_message",
    "cost_pico_usd",
)
_MANIFEST_COLUMNS = "manifest_id, job, target, scope, run_id, created_at, digest, row_count, parts, columns, written_as"
_RUN_COLUMNS = "run_id, started_at, command, target, jobs, commit, started_by, status, ended_at, summary"
_ATTEMPT_COLUMNS = (
    "attempt_id, run_id, job, target, mode, state, request_count, holder, created_at, sent_at, batch_id, "
    "max_tokens, note"
)


class SqliteState:
    """A `StateStore` in a file. Safe to use from several threads and, for reading, while another process writes."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        lock_timeout_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """Opens the file, and unless `read_only` makes it or brings it up to the present schema.

        Raises:
            StateError: BF501 newer schema, BF503 damaged or not ours, BF505 not writable.
            StateLocked: BF502 another process holds it for longer than `lock_timeout_s`.
        """
        self.path = path
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        with self._named_errors():
            self._db = self._connect(read_only, lock_timeout_s)
            self._prepare(read_only)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ---- reading

    def origin(self) -> Origin | None:
        text = self._one("SELECT value FROM meta WHERE name = 'origin'")
        return Origin(**msgspec.json.decode(text[0])) if text else None

    def lookup(self, request_ids: Sequence[bytes]) -> dict[bytes, RequestRecord]:
        answers: dict[bytes, list[StoredAnswer]] = {}
        claims: dict[bytes, list[LiveClaim]] = {}
        for some in in_chunks(sorted(set(request_ids)), 500):
            marks = ",".join("?" * len(some))
            for row in self._all(
                "SELECT request_id, ordinal, kind, error_type, max_tokens, output_tokens, attempt_id FROM results "
                f"WHERE request_id IN ({marks}) ORDER BY attempt_id",
                some,
            ):
                answers.setdefault(row[0], []).append(StoredAnswer(row[1], ResultKind(row[2]), *row[3:]))
            for row in self._all(
                "SELECT c.request_id, c.ordinal, c.attempt_id, a.state, a.batch_id FROM claims c "
                f"JOIN attempts a USING (attempt_id) WHERE c.request_id IN ({marks})",
                some,
            ):
                claim = LiveClaim(row[1], row[2], AttemptState(row[3]), row[4])
                claims.setdefault(row[0], []).append(claim)
        return {
            request: RequestRecord(tuple(answers.get(request, ())), tuple(claims.get(request, ())))
            for request in answers.keys() | claims.keys()
        }

    def manifest(self, target: str, job: str, scope: str = "") -> Manifest | None:
        row = self._one(
            f"SELECT {_MANIFEST_COLUMNS} FROM manifests WHERE target = ? AND job = ? AND scope = ?",
            (target, job, scope),
        )
        return _manifest(row) if row else None

    def unwritten_manifests(self, target: str) -> list[Manifest]:
        rows = self._all(
            f"SELECT {_MANIFEST_COLUMNS} FROM manifests WHERE target = ? AND written_as IS NULL ORDER BY job, scope",
            (target,),
        )
        return [_manifest(row) for row in rows]

    def manifest_rows(self, manifest_id: int) -> Iterator[ManifestRow]:
        for row in self._stream(f"{_SELECT_ROWS} WHERE manifest_id = ? ORDER BY position", (manifest_id,)):
            yield ManifestRow(*row)

    def rows_by_key(self, manifest_id: int, keys: Sequence[str]) -> dict[str, ManifestRow]:
        found: dict[str, ManifestRow] = {}
        for some in in_chunks(keys, 500):
            marks = ",".join("?" * len(some))
            rows = self._all(f"{_SELECT_ROWS} WHERE manifest_id = ? AND key IN ({marks})", (manifest_id, *some))
            found |= {row[1]: ManifestRow(*row) for row in rows}
        return found

    def output_rows(self, manifest_id: int) -> Iterator[OutputRow]:
        for rows in in_chunks(self.manifest_rows(manifest_id), _ROWS_PER_STEP):
            stored = self._stored_results([(row.request_id, row.ordinal) for row in rows if row.request_id])
            for row in rows:
                yield OutputRow(row, stored.get((row.request_id or b"", row.ordinal)))

    def open_attempts(self, jobs: Sequence[str] | None = None) -> list[AttemptRecord]:
        states = [state.value for state in AttemptState if not state.is_final]
        marks = ",".join("?" * len(states))
        rows = self._all(
            f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE state IN ({marks}) ORDER BY attempt_id", states
        )
        attempts = [_attempt(row) for row in rows]
        return [a for a in attempts if jobs is None or a.job in jobs]

    def awaited_attempts(self, jobs: Sequence[str]) -> list[AttemptRecord]:
        attempts = self.open_attempts()
        others = {attempt.attempt_id for attempt in attempts if attempt.job not in jobs}
        if others:
            marks = ",".join("?" * len(jobs))
            rows = self._all(
                "SELECT DISTINCT c.attempt_id FROM manifests m JOIN manifest_rows r USING (manifest_id) "
                "JOIN claims c ON c.request_id = r.request_id AND c.ordinal = r.ordinal "
                f"WHERE m.job IN ({marks})",
                jobs,
            )
            others -= {row[0] for row in rows}
        return [attempt for attempt in attempts if attempt.attempt_id not in others]

    def attempt(self, attempt_id: int) -> AttemptRecord:
        row = self._one(f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE attempt_id = ?", (attempt_id,))
        if row is None:
            raise KeyError(attempt_id)
        return _attempt(row)

    def claimed(self, attempt_id: int) -> Iterator[tuple[bytes, int]]:
        yield from self._stream("SELECT request_id, ordinal FROM claims WHERE attempt_id = ?", (attempt_id,))

    def batch(self, batch_id: str) -> BatchRecord | None:
        row = self._one(
            "SELECT batch_id, attempt_id, status, processing, succeeded, errored, canceled, expired, created_at, "
            "expires_at, ended_at FROM batches WHERE batch_id = ?",
            (batch_id,),
        )
        return BatchRecord(*row) if row else None

    def known_batch_ids(self) -> set[str]:
        rows = self._all("SELECT batch_id FROM batches UNION SELECT batch_id FROM attempts WHERE batch_id IS NOT NULL")
        return {row[0] for row in rows}

    def runs(self, limit: int) -> list[RunRecord]:
        columns = _RUN_COLUMNS.replace("commit", "git_commit")
        rows = self._all(f"SELECT {columns} FROM runs ORDER BY started_at DESC, rowid DESC LIMIT ?", (limit,))
        return [_run(row) for row in rows]

    def counts(self) -> dict[str, int]:
        tables = ("runs", "requests", "attempts", "claims", "batches", "results", "manifests")
        return {table: self._one(f"SELECT count(*) FROM {table}")[0] for table in tables}

    # ---- writing

    def set_origin(self, origin: Origin) -> None:
        text = msgspec.json.encode(origin).decode()
        with self._transaction():
            self._db.execute("INSERT INTO meta (name, value) VALUES ('origin', ?)", (text,))

    def begin_run(self, run: RunRecord) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT INTO runs (run_id, started_at, ended_at, status, command, target, jobs, git_commit, "
                "started_by, summary) VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, '{}')",
                (
                    run.run_id,
                    run.started_at,
                    run.status,
                    run.command,
                    run.target,
                    _json(run.jobs),
                    run.commit,
                    run.started_by,
                ),
            )

    def end_run(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE runs SET ended_at = ?, status = ?, summary = ? WHERE run_id = ?",
                (self._stamp(), status, _json(summary), run_id),
            )

    def save_manifest(self, manifest: Manifest, rows: Iterable[ManifestRow]) -> int:
        with self._transaction():
            names = (manifest.target, manifest.job, manifest.scope)
            old = self._one("SELECT manifest_id FROM manifests WHERE target = ? AND job = ? AND scope = ?", names)
            if old is not None:
                self._db.execute("DELETE FROM manifest_rows WHERE manifest_id = ?", old)
                self._db.execute("DELETE FROM manifests WHERE manifest_id = ?", old)
            cursor = self._db.execute(
                "INSERT INTO manifests (target, job, scope, run_id, created_at, digest, row_count, parts, columns) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *names,
                    manifest.run_id,
                    manifest.created_at,
                    manifest.digest,
                    manifest.row_count,
                    _json(manifest.parts),
                    _json(manifest.columns),
                ),
            )
            manifest_id = cursor.lastrowid
            assert manifest_id is not None
            self._db.executemany(
                "INSERT INTO manifest_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", ((manifest_id, *row) for row in rows)
            )
        return manifest_id

    def mark_written(self, manifest_id: int, written_as: str) -> None:
        with self._transaction():
            self._db.execute("UPDATE manifests SET written_as = ? WHERE manifest_id = ?", (written_as, manifest_id))

    def intend(self, intention: Intention, requests: Sequence[IntendedRequest]) -> int:
        with self._transaction():
            attempt_id = self._insert_attempt(intention, len(requests))
            self._insert_claims(attempt_id, requests)
            self._db.execute(
                "INSERT OR IGNORE INTO skeletons VALUES (?, ?)",
                (intention.skeleton_id, zlib.compress(intention.skeleton)),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO requests VALUES (?, ?, ?)",
                ((r.request_id, intention.skeleton_id, b"\0".join(r.pieces)) for r in requests),
            )
        return attempt_id

    def move(
        self,
        attempt_id: int,
        from_state: AttemptState,
        to_state: AttemptState,
        *,
        batch_id: str | None = None,
        note: str = "",
    ) -> None:
        check_move(attempt_id, from_state, to_state)
        with self._transaction():
            if (state := self.attempt(attempt_id).state) is not from_state:
                raise AttemptMoved(f"attempt {attempt_id} is {state} by now, not {from_state}")
            try:
                self._db.execute(
                    "UPDATE attempts SET state = ?1, note = ?2, batch_id = coalesce(?3, batch_id), "
                    "sent_at = CASE WHEN ?1 = 'sending' THEN ?4 ELSE sent_at END WHERE attempt_id = ?5",
                    (to_state.value, note, batch_id, self._stamp(), attempt_id),
                )
            except sqlite3.IntegrityError as exc:
                raise AttemptMoved(f"batch {batch_id} belongs to another attempt by now") from exc
            if to_state is AttemptState.UNCERTAIN:
                # What it was taken for was not it.
                self._db.execute("UPDATE attempts SET batch_id = NULL WHERE attempt_id = ?", (attempt_id,))
            if to_state.is_final:
                self._db.execute("DELETE FROM claims WHERE attempt_id = ?", (attempt_id,))
                self._db.execute(
                    "UPDATE manifests SET written_as = NULL WHERE (target, job) = "
                    "(SELECT target, job FROM attempts WHERE attempt_id = ?)",
                    (attempt_id,),
                )
            self._db.execute(
                "INSERT INTO decisions (decided_at, attempt_id, from_state, to_state, note) VALUES (?, ?, ?, ?, ?)",
                (self._stamp(), attempt_id, from_state.value, to_state.value, note),
            )

    def save_batch(self, batch: BatchRecord) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO batches (batch_id, attempt_id, status, processing, succeeded, errored, "
                "canceled, expired, created_at, expires_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    batch.batch_id,
                    batch.attempt_id,
                    batch.status,
                    batch.processing,
                    batch.succeeded,
                    batch.errored,
                    batch.canceled,
                    batch.expired,
                    batch.created_at,
                    batch.expires_at,
                    batch.ended_at,
                ),
            )

    def disown_batch(self, batch_id: str, note: str) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO batches (batch_id, attempt_id, status, processing, succeeded, errored, "
                "canceled, expired, created_at, expires_at, note) "
                "VALUES (?, NULL, 'foreign', 0, 0, 0, 0, 0, '', '', ?)",
                (batch_id, note),
            )

    def store_results(self, attempt_id: int, results: Sequence[RequestResult]) -> StoreReport:
        from batchforge.fingerprint import parse_custom_id

        stored, unasked = [], []
        with self._transaction():
            max_tokens = self.attempt(attempt_id).max_tokens
            for result in results:
                name = parse_custom_id(result.custom_id)
                if name is None or not self._is_asked(attempt_id, name):
                    unasked.append(result.custom_id)
                elif self._insert_result(attempt_id, name, max_tokens, result):
                    stored.append(result)
        return StoreReport(stored, tuple(unasked))

    # ---- for maintenance

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows of a query, in steps."""
        return self._stream(sql, values)

    def change(self, *steps: tuple[str, Sequence[Any]]) -> None:
        """Statements, all or nothing."""
        with self._transaction():
            for sql, values in steps:
                self._db.execute(sql, values)

    @contextmanager
    def scratch(self, create: str, index: str) -> Iterator[None]:
        """A temporary table named `used`, outside the file, for as long as the block runs."""
        with self._lock, self._named_errors():
            self._db.execute(create)
            self._db.execute(index)
            try:
                yield
            finally:
                self._db.execute("DROP TABLE temp.used")

    def compact(self) -> None:
        with self._lock, self._named_errors():
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ---- inside

    def _connect(self, read_only: bool, lock_timeout_s: float) -> sqlite3.Connection:
        if read_only:
            address = f"file:{self.path}?mode=ro"
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)
            address = f"file:{self.path}"
        return sqlite3.connect(address, uri=True, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False)

    def _prepare(self, read_only: bool) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        version = self._one("PRAGMA user_version")[0]
        marked = self._one("PRAGMA application_id")[0]
        has_tables = self._one("SELECT count(*) FROM sqlite_master")[0] > 0
        if has_tables and marked != APPLICATION_ID:
            raise StateError(
                "BF503",
                f"{self.path} is an SQLite file, but not a BatchForge state",
                hint="Point the target's `state:` at another file.",
            )
        if version > len(MIGRATIONS):
            raise StateError(
                "BF501",
                f"the state {self.path} was written by a newer version of BatchForge (schema {version}; this one "
                f"knows {len(MIGRATIONS)})",
                hint="Upgrade BatchForge: pip install -U batchforge. Nothing was changed.",
            )
        if not read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate(version)

    def _migrate(self, version: int) -> None:
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            with self._transaction():
                if self._one("PRAGMA user_version")[0] >= number:
                    continue  # another process was faster
                for statement in script.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._named_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK") if self._db.in_transaction else None
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as exc:
            raise _named(exc, self.path) from exc

    def _one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        with self._lock, self._named_errors():
            return self._db.execute(sql, values).fetchone()

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._named_errors():
            return self._db.execute(sql, values).fetchall()

    def _stream(self, sql: str, values: Sequence[Any]) -> Iterator[Any]:
        """Rows in steps, so that memory stays flat and the lock is not held between them."""
        with self._named_errors(), closing(self._db.cursor()) as cursor:
            with self._lock:
                cursor.execute(sql, values)
            while True:
                with self._lock:
                    rows = cursor.fetchmany(_ROWS_PER_STEP)
                if not rows:
                    return
                yield from rows

    def _stamp(self) -> str:
        return iso(self._clock.now())

    def _insert_attempt(self, intention: Intention, request_count: int) -> int:
        cursor = self._db.execute(
            "INSERT INTO attempts (run_id, job, target, mode, model, max_tokens, state, request_count, ceiling_usd, "
            "holder, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                intention.run_id,
                intention.job,
                intention.target,
                intention.mode,
                intention.model,
                intention.max_tokens,
                AttemptState.INTENDED.value,
                request_count,
                intention.ceiling_usd,
                intention.holder,
                self._stamp(),
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _insert_claims(self, attempt_id: int, requests: Sequence[IntendedRequest]) -> None:
        try:
            self._db.executemany(
                "INSERT INTO claims VALUES (?, ?, ?)", ((r.request_id, r.ordinal, attempt_id) for r in requests)
            )
        except sqlite3.IntegrityError as exc:
            raise ClaimTaken(str(exc)) from exc

    def _is_asked(self, attempt_id: int, name: tuple[bytes, int]) -> bool:
        asked = self._db.execute("SELECT attempt_id FROM claims WHERE request_id = ? AND ordinal = ?", name).fetchone()
        return asked is not None and asked[0] == attempt_id

    def _insert_result(self, attempt_id: int, name: tuple[bytes, int], max_tokens: int, result: RequestResult) -> bool:
        """Whether it was new."""
        if self._db.execute(
            "SELECT 1 FROM results WHERE request_id = ? AND ordinal = ? AND attempt_id = ?", (*name, attempt_id)
        ).fetchone():
            return False
        message_rowid = None
        if result.message is not None:
            message_rowid = self._db.execute("INSERT INTO messages (body) VALUES (?)", (result.message,)).lastrowid
        usage = result.usage
        self._db.execute(
            f"INSERT INTO results ({_RESULT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *name,
                attempt_id,
                result.kind.value,
                max_tokens,
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens,
                usage.cache_write_5m_tokens,
                usage.cache_write_1h_tokens,
                usage.web_searches,
                result.inference_geo,
                result.model,
                result.message_id,
                result.stop_reason,
                result.error_type,
                result.error_message,
                result.cost_pico_usd,
                message_rowid,
                self._stamp(),
            ),
        )
        return True

    def _stored_results(self, names: Sequence[tuple[bytes, int]]) -> dict[tuple[bytes, int], StoredResult]:
        """The result that counts for each (request_id, ordinal): the billed one, else the last."""
        found: dict[tuple[bytes, int], StoredResult] = {}
        for some in in_chunks(sorted({request for request, _ in names}), 500):
            marks = ",".join("?" * len(some))
            columns = ", ".join(f"r.{column}" for column in _RESULT_COLUMNS.split(", "))
            rows = self._all(
                f"SELECT {columns}, m.body, a.batch_id, a.run_id FROM results r JOIN attempts a USING (attempt_id) "
                "LEFT JOIN messages m ON m.message_rowid = r.message_rowid "
                f"WHERE r.request_id IN ({marks}) ORDER BY r.request_id, r.ordinal, r.attempt_id",
                some,
            )
            for name, group in groupby(rows, key=lambda row: (row[0], row[1])):
                found[name] = _counting_result([_stored_result(row) for row in group])
        return found


_SELECT_ROWS = (
    "SELECT position, key, request_id, ordinal, row_hashes, row_values, blocked_code, blocked_reason, place "
    "FROM manifest_rows"
)


def _attempt(row: Sequence[Any]) -> AttemptRecord:
    fields = dict(zip(_ATTEMPT_COLUMNS.split(", "), row, strict=True))
    return AttemptRecord(**fields | {"state": AttemptState(fields["state"])})


def _manifest(row: Sequence[Any]) -> Manifest:
    fields = dict(zip(_MANIFEST_COLUMNS.split(", "), row, strict=True))
    decoded = {"parts": msgspec.json.decode(fields["parts"]), "columns": tuple(msgspec.json.decode(fields["columns"]))}
    return Manifest(**fields | decoded)


def _run(row: Sequence[Any]) -> RunRecord:
    fields = dict(zip(_RUN_COLUMNS.split(", "), row, strict=True))
    decoded = {"jobs": tuple(msgspec.json.decode(fields["jobs"])), "summary": msgspec.json.decode(fields["summary"])}
    return RunRecord(**fields | decoded)


def _stored_result(row: Sequence[Any]) -> StoredResult:
    from batchforge.fingerprint import custom_id

    fields = dict(zip((*_RESULT_COLUMNS.split(", "), "message", "batch_id", "run_id"), row, strict=True))
    result = RequestResult(
        custom_id=custom_id(fields["request_id"], fields["ordinal"]),
        kind=ResultKind(fields["kind"]),
        usage=Usage(*(fields[name] for name in _USAGE_COLUMNS)),
        **{name: fields[name] for name in _PLAIN_RESULT_COLUMNS},
    )
    return StoredResult(result, fields["attempt_id"], fields["batch_id"], fields["run_id"], fields["stored_at"])


def _counting_result(results: Sequence[StoredResult]) -> StoredResult:
    return next((r for r in results if r.result.kind.is_billed), results[-1])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _named(exc: sqlite3.DatabaseError, path: Path) -> StateError | StateLocked:
    text = str(exc)
    if "locked" in text or "busy" in text:
        return StateLocked(
            "BF502",
            f"the state {path} is held by another process",
            hint="Wait until it has finished, or run again; nothing was lost.",
        )
    if "full" in text:
        return StateError("BF504", f"no room on the disk of {path}", hint="Free some space and run again.")
    if "readonly" in text or "unable to open" in text:
        return StateError(
            "BF505", f"the state {path} cannot be opened for writing: {text}", hint="Check its permissions."
        )
    return StateError(
        "BF503",
        f"the state {path} is damaged or not a state: {text}",
        hint="Move it away and keep it: what was paid is still to be had from the API for 29 days.",
    )
