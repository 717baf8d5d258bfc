"""State in a database, every step durable before it returns. The statements are those that all databases take."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from batchforge.results import Brought, Learnt, RequestResult, ResultKind
from batchforge.state.attempts import UNSETTLED, AttemptState, check_move
from batchforge.state.database import Conflict
from batchforge.state.records import (
    TRIED,
    AttemptMoved,
    AttemptRecord,
    BatchRecord,
    ClaimTaken,
    CountTaken,
    Intended,
    Intention,
    LiveClaim,
    Manifest,
    ManifestRow,
    MonthBudgetTaken,
    OutputRow,
    RequestRecord,
    RunRecord,
    StoredAnswer,
    StoredResult,
    StoreReport,
    UploadedFile,
)
from batchforge.state.result_rows import NamedResult, asked_names, insert_results
from batchforge.state.sql_finding import SqlFinding
from batchforge.state.sql_records import (
    ATTEMPT_COLUMNS,
    BATCH_COLUMNS,
    BATCH_UPDATES,
    MANIFEST_COLUMNS,
    MANIFEST_ROW_COLUMNS,
    RESULT_COLUMNS,
    SELECT_ROWS,
    SELECT_ROWS_AND_RESULTS,
    attempt_of,
    counting_result,
    json_text,
    manifest_of,
    stored_result_of,
)
from batchforge.streams import in_chunks
from batchforge.target import Origin

_ROWS_PER_STEP = 1_000
_PAST_ALL_ROWS = 1 << 62

_RECOVERING = "being recovered"
"""Note of an attempt whose results are being read into a state that did not know it."""


class SqlState(SqlFinding):
    """A `StateStore` over a `Database`."""

    # ---- reading

    def origin(self) -> Origin | None:
        text = self._db.one("SELECT value FROM meta WHERE name = 'origin'")
        return Origin(**msgspec.json.decode(text[0])) if text else None

    def lookup(self, request_ids: Sequence[bytes]) -> dict[bytes, RequestRecord]:
        answers: dict[bytes, list[StoredAnswer]] = {}
        claims: dict[bytes, list[LiveClaim]] = {}
        for some in in_chunks(sorted(set(request_ids)), 500):
            is_one, ids = self._db.among(some)
            for row in self._db.all(
                "SELECT request_id, ordinal, kind, error_type, max_tokens, output_tokens, attempt_id FROM results "
                f"WHERE request_id {is_one} ORDER BY attempt_id",
                ids,
            ):
                answers.setdefault(row[0], []).append(StoredAnswer(row[1], ResultKind(row[2]), *row[3:]))
            for row in self._db.all(
                "SELECT c.request_id, c.ordinal, c.attempt_id, a.state, a.batch_id FROM claims c "
                f"JOIN attempts a USING (attempt_id) WHERE c.request_id {is_one}",
                ids,
            ):
                claim = LiveClaim(row[1], row[2], AttemptState(row[3]), row[4])
                claims.setdefault(row[0], []).append(claim)
        return {
            request: RequestRecord(tuple(answers.get(request, ())), tuple(claims.get(request, ())))
            for request in answers.keys() | claims.keys()
        }

    def manifest(self, target: str, job: str, scope: str = "") -> Manifest | None:
        row = self._db.one(
            f"SELECT {MANIFEST_COLUMNS} FROM manifests WHERE target = ? AND job = ? AND scope = ?",
            (target, job, scope),
        )
        return manifest_of(row) if row else None

    def uploaded_files(self, sha256: str | None = None) -> list[UploadedFile]:
        which: tuple[str, tuple[str, ...]] = ("", ()) if sha256 is None else ("WHERE sha256 = ? ", (sha256,))
        columns = ", ".join(UploadedFile._fields)
        rows = self._db.all(f"SELECT {columns} FROM uploaded_files {which[0]}ORDER BY uploaded_at, file_id", which[1])
        return [UploadedFile(*row) for row in rows]

    def unwritten_manifests(self, target: str) -> list[Manifest]:
        rows = self._db.all(
            f"SELECT {MANIFEST_COLUMNS} FROM manifests WHERE target = ? AND written_as IS NULL AND scope <> ? "
            "ORDER BY job, scope",
            (target, TRIED),
        )
        return [manifest_of(row) for row in rows]

    def manifest_rows(self, manifest_id: int) -> Iterator[ManifestRow]:
        for row in self._db.stream(f"{SELECT_ROWS} WHERE manifest_id = ? ORDER BY position", (manifest_id,)):
            yield ManifestRow(*row)

    def rows_by_key(self, manifest_id: int, keys: Sequence[str]) -> dict[str, ManifestRow]:
        found: dict[str, ManifestRow] = {}
        for some in in_chunks(keys, 500):
            is_one, values = self._db.among(some)
            rows = self._db.all(f"{SELECT_ROWS} WHERE manifest_id = ? AND key {is_one}", (manifest_id, *values))
            found |= {row[1]: ManifestRow(*row) for row in rows}
        return found

    def keys_between(self, manifest_id: int, first: int, last: int) -> dict[int, str]:
        sql = "SELECT position, key FROM manifest_rows WHERE manifest_id = ? AND position BETWEEN ? AND ?"
        return {row[0]: row[1] for row in self._db.all(sql, (manifest_id, first, last))}

    def output_rows(self, manifest_id: int) -> Iterator[OutputRow]:
        columns = len(ManifestRow._fields)
        joined = self._db.stream(
            f"{SELECT_ROWS_AND_RESULTS} WHERE m.manifest_id = ? ORDER BY m.position", (manifest_id,)
        )
        for _, group in groupby(joined, key=itemgetter(0)):
            first, *further = group
            row = ManifestRow(*first[:columns])
            if first[columns] is None:
                yield OutputRow(row, None)
            elif not further:
                yield OutputRow(row, stored_result_of(first[columns:]))
            else:
                stored = [stored_result_of(each[columns:]) for each in (first, *further)]
                yield OutputRow(row, counting_result(sorted(stored, key=lambda each: each.attempt_id)))

    def stored_results(self, names: Sequence[tuple[bytes, int]]) -> dict[tuple[bytes, int], StoredResult]:
        found: dict[tuple[bytes, int], StoredResult] = {}
        for some in in_chunks(sorted({request for request, _ in names}), 500):
            is_one, ids = self._db.among(some)
            columns = ", ".join(f"r.{column}" for column in RESULT_COLUMNS.split(", "))
            rows = self._db.all(
                f"SELECT {columns}, m.body, a.batch_id, a.run_id FROM results r JOIN attempts a USING (attempt_id) "
                "LEFT JOIN messages m ON m.message_rowid = r.message_rowid "
                f"WHERE r.request_id {is_one} ORDER BY r.request_id, r.ordinal, r.attempt_id",
                ids,
            )
            for name, group in groupby(rows, key=lambda row: (row[0], row[1])):
                found[name] = counting_result([stored_result_of(row) for row in group])
        return found

    def open_attempts(self, jobs: Sequence[str] | None = None) -> list[AttemptRecord]:
        states = [state.value for state in AttemptState if not state.is_final]
        marks = ",".join("?" * len(states))
        rows = self._db.all(
            f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE state IN ({marks}) ORDER BY attempt_id", states
        )
        attempts = [attempt_of(row) for row in rows]
        return [a for a in attempts if jobs is None or a.job in jobs]

    def awaited_attempts(self, jobs: Sequence[str]) -> list[AttemptRecord]:
        attempts = self.open_attempts()
        others = {attempt.attempt_id for attempt in attempts if attempt.job not in jobs}
        if others:
            marks = ",".join("?" * len(jobs))
            rows = self._db.all(
                "SELECT DISTINCT c.attempt_id FROM manifests m JOIN manifest_rows r USING (manifest_id) "
                "JOIN claims c ON c.request_id = r.request_id AND c.ordinal = r.ordinal "
                f"WHERE m.job IN ({marks})",
                jobs,
            )
            others -= {row[0] for row in rows}
        return [attempt for attempt in attempts if attempt.attempt_id not in others]

    def attempt(self, attempt_id: int) -> AttemptRecord:
        row = self._db.one(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE attempt_id = ?", (attempt_id,))
        if row is None:
            raise KeyError(attempt_id)
        return attempt_of(row)

    def claimed(self, attempt_id: int) -> Iterator[tuple[bytes, int]]:
        yield from self._db.stream("SELECT request_id, ordinal FROM claims WHERE attempt_id = ?", (attempt_id,))

    def batch(self, batch_id: str) -> BatchRecord | None:
        row = self._db.one(
            "SELECT batch_id, attempt_id, status, processing, succeeded, errored, canceled, expired, created_at, "
            "expires_at, ended_at FROM batches WHERE batch_id = ?",
            (batch_id,),
        )
        return BatchRecord(*row) if row else None

    def batch_spans(self, job: str, limit: int) -> list[tuple[str, str]]:
        rows = self._db.all(
            "SELECT b.created_at, b.ended_at FROM attempts a JOIN batches b ON b.batch_id = a.batch_id "
            "WHERE a.job = ? AND b.ended_at IS NOT NULL ORDER BY a.attempt_id DESC LIMIT ?",
            (job, limit),
        )
        return [(row[0], row[1]) for row in rows]

    def known_batch_ids(self) -> set[str]:
        rows = self._db.all(
            "SELECT batch_id FROM batches UNION SELECT batch_id FROM attempts WHERE batch_id IS NOT NULL"
        )
        return {row[0] for row in rows}

    def counts(self) -> dict[str, int]:
        tables = ("runs", "requests", "attempts", "claims", "batches", "results", "manifests")
        return {table: self._db.one(f"SELECT count(*) FROM {table}")[0] for table in tables}

    def learnt(self, job: str, model: str, mode: str) -> Learnt:
        row = self._db.one(
            "SELECT sum(billed_results), sum(prompt_tokens), sum(estimated_input_tokens), sum(output_tokens), "
            "sum(CASE caching WHEN 'cold' THEN cache_hits END), sum(CASE caching WHEN 'cold' THEN billed_results END), "
            "sum(CASE caching WHEN 'primed' THEN cache_hits END), "
            "sum(CASE caching WHEN 'primed' THEN billed_results END) FROM "
            "(SELECT * FROM attempts WHERE job = ? AND model = ? AND mode = ? AND billed_results > 0 "
            "ORDER BY attempt_id DESC LIMIT 50) last_ones",
            (job, model, mode),
        )
        results, prompt, estimated, output, cold_hits, cold, primed_hits, primed = row
        if not results:
            return Learnt()
        return Learnt(
            results=results,
            input_ratio=prompt / estimated if estimated else 1.0,
            output_tokens=output / results,
            cold_hit_rate=cold_hits / cold if cold else None,
            primed_hit_rate=primed_hits / primed if primed else None,
        )

    def has_answers(self, shape: str) -> bool:
        return (
            self._db.one("SELECT 1 FROM attempts WHERE shape = ? AND billed_results > 0 LIMIT 1", (shape,)) is not None
        )

    def has_sent(self) -> bool:
        return self._db.one("SELECT 1 FROM attempts WHERE job != '' LIMIT 1") is not None

    def last_attempt_id(self) -> int:
        return int(self._db.one("SELECT coalesce(max(attempt_id), 0) FROM attempts")[0])

    def committed_pico_usd(self, since: str) -> int:
        final = [state.value for state in AttemptState if state.is_final]
        marks = ",".join("?" * len(final))
        # Settled by its results; else reserved while it is under way; else it came to nothing.
        row = self._db.one(
            "SELECT sum(coalesce(cost_pico_usd, CASE WHEN state IN "
            f"({marks}) THEN 0 ELSE coalesce(ceiling_pico_usd, 0) END)) FROM attempts WHERE created_at >= ?",
            (*final, since),
        )
        return row[0] or 0

    def unfinished_recoveries(self) -> set[str]:
        return {row[0] for row in self._db.all("SELECT batch_id FROM attempts WHERE note = ?", (_RECOVERING,))}

    # ---- writing

    def set_origin(self, origin: Origin) -> None:
        text = msgspec.json.encode(origin).decode()
        with self._transaction():
            self._db.insert_many("meta", "name, value", [("origin", text)], skips_known=True)

    def begin_run(self, run: RunRecord) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT INTO runs (serial, run_id, started_at, ended_at, status, command, target, jobs, git_commit, "
                "started_by, holder, summary) VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, '{}')",
                (
                    self._next_id("runs", "serial"),
                    run.run_id,
                    run.started_at,
                    run.status,
                    run.command,
                    run.target,
                    json_text(run.jobs),
                    run.commit,
                    run.started_by,
                    run.holder,
                ),
            )

    def note_plan(self, run_id: str, summary: Mapping[str, Any]) -> None:
        with self._transaction():
            self._db.execute("UPDATE runs SET summary = ? WHERE run_id = ?", (json_text(summary), run_id))

    def end_run(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE runs SET ended_at = ?, status = ?, summary = ? WHERE run_id = ?",
                (self._stamp(), status, json_text(summary), run_id),
            )

    def save_manifest(self, manifest: Manifest, rows: Iterable[ManifestRow]) -> int:
        with self._transaction():
            names = (manifest.target, manifest.job, manifest.scope)
            old = self._db.one("SELECT manifest_id FROM manifests WHERE target = ? AND job = ? AND scope = ?", names)
            if old is not None:
                self._db.execute("DELETE FROM manifests WHERE manifest_id = ?", old)
            manifest_id = old[0] if old else self._next_id("manifests", "manifest_id")
            self._db.execute(
                "INSERT INTO manifests (manifest_id, target, job, scope, run_id, created_at, digest, row_count, parts, "
                "columns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    manifest_id,
                    *names,
                    manifest.run_id,
                    manifest.created_at,
                    manifest.digest,
                    manifest.row_count,
                    json_text(manifest.parts),
                    json_text(manifest.columns),
                ),
            )
            if old is None:
                self._db.insert_many("manifest_rows", MANIFEST_ROW_COLUMNS, ((manifest_id, *row) for row in rows))
                changed: Sequence[tuple[int, int]] = [(0, _PAST_ALL_ROWS)]
            else:
                changed = self._replace_rows(manifest_id, rows)
            for first, end in changed:
                # In the order of the table, so that each of its pages is touched once.
                self._db.execute(
                    "INSERT INTO row_requests (target, job, key, request_id, ordinal, first_run_id) "
                    "SELECT ?, ?, key, request_id, ordinal, ? FROM manifest_rows WHERE manifest_id = ? "
                    "AND position >= ? AND position < ? AND request_id IS NOT NULL ORDER BY key || '' "
                    "ON CONFLICT DO NOTHING",
                    (manifest.target, manifest.job, manifest.run_id, manifest_id, first, end),
                )
        return manifest_id

    def _replace_rows(self, manifest_id: int, rows: Iterable[ManifestRow]) -> list[tuple[int, int]]:
        """Rows that are as they were stay; returns the spans of positions, each up to its end, that were written anew.

        With one changed row of 30,000 it took 0.1 s of CPU; to write them all takes 0.3 s.
        """
        changed: list[tuple[int, int]] = []
        end = 0
        for some in in_chunks(rows, _ROWS_PER_STEP):
            # From where the last one ended: a further step of a ladder has the rows that are left to it, with gaps.
            first, last = end, some[-1].position
            span = (manifest_id, first, last)
            held = self._db.all(
                f"{SELECT_ROWS} WHERE manifest_id = ? AND position BETWEEN ? AND ? ORDER BY position", span
            )
            end = last + 1
            if [tuple(row) for row in held] == [tuple(row) for row in some]:
                continue
            self._db.execute("DELETE FROM manifest_rows WHERE manifest_id = ? AND position BETWEEN ? AND ?", span)
            self._db.insert_many("manifest_rows", MANIFEST_ROW_COLUMNS, ((manifest_id, *row) for row in some))
            if changed and changed[-1][1] == first:
                changed[-1] = (changed[-1][0], end)
            else:
                changed.append((first, end))
        self._db.execute("DELETE FROM manifest_rows WHERE manifest_id = ? AND position >= ?", (manifest_id, end))
        return changed

    def renew_manifest(self, manifest_id: int, run_id: str, created_at: str) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE manifests SET run_id = ?, created_at = ? WHERE manifest_id = ?",
                (run_id, created_at, manifest_id),
            )

    def mark_written(self, manifest: Manifest, written_as: str) -> None:
        self._mark(manifest, "written_as", written_as)

    def mark_settled(self, manifest: Manifest, settled: str) -> None:
        self._mark(manifest, "settled", settled)

    def _mark(self, manifest: Manifest, column: str, value: str) -> None:
        with self._transaction():
            self._db.execute(
                f"UPDATE manifests SET {column} = ? WHERE manifest_id = ? AND run_id = ? AND digest = ?",
                (value, manifest.manifest_id, manifest.run_id, manifest.digest),
            )

    def remember_file(self, file: UploadedFile) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM uploaded_files WHERE file_id = ?", (file.file_id,))
            self._db.insert_many("uploaded_files", ", ".join(UploadedFile._fields), [file])

    def forget_files(self, file_ids: Sequence[str]) -> None:
        with self._transaction():
            for file_id in file_ids:
                self._db.execute("DELETE FROM uploaded_files WHERE file_id = ?", (file_id,))

    def intend(self, intention: Intention, requests: Sequence[Intended]) -> int:
        with self._transaction():
            self._check_month(intention)
            attempt_id = self._insert_attempt(intention, len(requests))
            # In the order of the indexes, so that each of their pages is touched once.
            in_order = sorted(requests, key=attrgetter("request_id", "ordinal"))
            self._insert_claims(attempt_id, in_order)
            if intention.mode == "batch":
                self._check_unanswered(in_order)
            self._check_count(attempt_id, intention, len(requests))
            if intention.keeps_prompts:
                self._keep_texts(intention, in_order)
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
        sent_at = self._stamp() if to_state is AttemptState.SENDING else None
        with self._transaction():
            if (state := self.attempt(attempt_id).state) is not from_state:
                raise AttemptMoved(f"attempt {attempt_id} is {state} by now, not {from_state}")
            try:
                self._db.execute(
                    "UPDATE attempts SET state = ?, note = ?, batch_id = coalesce(?, batch_id), "
                    "sent_at = coalesce(?, sent_at) WHERE attempt_id = ?",
                    (to_state.value, note, batch_id, sent_at, attempt_id),
                )
            except Conflict as exc:
                raise AttemptMoved(f"batch {batch_id} belongs to another attempt by now") from exc
            if to_state is AttemptState.UNCERTAIN:
                # What it was taken for was not it.
                self._db.execute("UPDATE attempts SET batch_id = NULL WHERE attempt_id = ?", (attempt_id,))
            if to_state.is_final:
                self._unmark_written(attempt_id)
                self._db.execute("DELETE FROM claims WHERE attempt_id = ?", (attempt_id,))
            self._db.execute(
                "INSERT INTO decisions (decision_id, decided_at, attempt_id, from_state, to_state, note) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    self._next_id("decisions", "decision_id"),
                    self._stamp(),
                    attempt_id,
                    from_state.value,
                    to_state.value,
                    note,
                ),
            )

    def _unmark_written(self, attempt_id: int) -> None:
        """Outputs of rows that the attempt asked for are to be written again. Those of other rows stay, such
        as the whole output beside a few rows that were asked in another way."""
        self._db.execute(
            "UPDATE manifests SET written_as = NULL WHERE written_as IS NOT NULL "
            "AND (target, job) = (SELECT target, job FROM attempts WHERE attempt_id = ?) "
            # Its own run's without a look at their rows, of which there may be millions.
            "AND (run_id = (SELECT run_id FROM attempts WHERE attempt_id = ?) OR EXISTS ("
            "SELECT 1 FROM manifest_rows r JOIN claims c ON c.request_id = r.request_id AND c.ordinal = r.ordinal "
            "WHERE r.manifest_id = manifests.manifest_id AND c.attempt_id = ?))",
            (attempt_id, attempt_id, attempt_id),
        )

    def save_batch(self, batch: BatchRecord) -> None:
        with self._transaction():
            self._db.execute(
                f"INSERT INTO batches ({BATCH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (batch_id) DO UPDATE SET {BATCH_UPDATES}, note = '', deleted_at = NULL",
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

    def mark_deleted(self, batch_id: str) -> None:
        with self._transaction():
            self._db.execute("UPDATE batches SET deleted_at = ? WHERE batch_id = ?", (self._stamp(), batch_id))

    def disown_batch(self, batch_id: str, note: str) -> None:
        with self._transaction():
            self._db.execute(
                f"INSERT INTO batches ({BATCH_COLUMNS}, note) "
                "VALUES (?, NULL, 'foreign', 0, 0, 0, 0, 0, '', '', NULL, ?) "
                f"ON CONFLICT (batch_id) DO UPDATE SET {BATCH_UPDATES}, note = excluded.note, deleted_at = NULL",
                (batch_id, note),
            )

    def begin_recovery(self, run_id: str, batch: BatchRecord) -> int:
        with self._transaction():
            name = batch.batch_id or None
            begun = self._db.one("SELECT attempt_id FROM attempts WHERE batch_id = ?", (name,))
            if begun is not None:
                return int(begun[0])
            count = batch.succeeded + batch.errored + batch.canceled + batch.expired
            attempt_id = self._next_id("attempts", "attempt_id")
            self._db.execute(
                "INSERT INTO attempts (attempt_id, run_id, job, target, mode, model, max_tokens, state, request_count, "
                "phase, caching, estimated_input_tokens, holder, created_at, batch_id, note) "
                "VALUES (?, ?, '', '', 'batch', '', 0, ?, ?, 'rest', 'none', 0, '', ?, ?, ?)",
                (attempt_id, run_id, AttemptState.CLOSED.value, count, batch.created_at, name, _RECOVERING),
            )
            return attempt_id

    def store_recovered(self, attempt_id: int, results: Sequence[RequestResult]) -> list[RequestResult]:
        from batchforge.requests.fingerprint import parse_custom_id

        with self._transaction():
            new = []
            for result in results:
                name = parse_custom_id(result.custom_id)
                if name is not None and not self._holds_message(name, result.message_id):
                    # What it was asked under is not known. It was at least as much as came.
                    new.append(NamedResult(*name, result.usage.output_tokens, result))
            return insert_results(self._db, attempt_id, new, self._stamp())

    def _holds_message(self, name: tuple[bytes, int], message_id: str | None) -> bool:
        held = self._db.one(
            "SELECT 1 FROM results WHERE request_id = ? AND ordinal = ? AND message_id = ?", (*name, message_id)
        )
        return held is not None

    def end_recovery(self, attempt_id: int) -> None:
        with self._transaction():
            self._db.execute("UPDATE attempts SET note = 'recovered' WHERE attempt_id = ?", (attempt_id,))

    def record_usage(self, attempt_id: int, usage: Brought) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE attempts SET billed_results = ?, prompt_tokens = ?, output_tokens = ?, cache_hits = ?, "
                "cost_pico_usd = ? WHERE attempt_id = ?",
                (
                    usage.billed,
                    usage.usage.prompt_tokens,
                    usage.usage.output_tokens,
                    usage.cache_hits,
                    usage.cost_pico_usd,
                    attempt_id,
                ),
            )

    def store_results(self, attempt_id: int, results: Sequence[RequestResult]) -> StoreReport:
        from batchforge.requests.fingerprint import parse_custom_id

        names = [parse_custom_id(result.custom_id) for result in results]
        with self._transaction():
            max_tokens = self.attempt(attempt_id).max_tokens
            claimed = asked_names(self._db, attempt_id, (name[0] for name in names if name))
            asked, unasked = [], []
            for name, result in zip(names, results, strict=True):
                if name is None or name not in claimed:
                    unasked.append(result.custom_id)
                else:
                    asked.append(NamedResult(*name, max_tokens, result))
            stored = insert_results(self._db, attempt_id, asked, self._stamp())
        return StoreReport(stored, tuple(unasked))

    # ---- inside

    def _insert_attempt(self, intention: Intention, request_count: int) -> int:
        attempt_id = self._next_id("attempts", "attempt_id")
        self._db.execute(
            "INSERT INTO attempts (attempt_id, run_id, job, target, mode, model, max_tokens, state, request_count, "
            "phase, caching, shape, estimated_input_tokens, ceiling_pico_usd, holder, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                attempt_id,
                intention.run_id,
                intention.job,
                intention.target,
                intention.mode,
                intention.model,
                intention.max_tokens,
                AttemptState.INTENDED.value,
                request_count,
                intention.phase,
                intention.caching,
                intention.shape,
                intention.estimated_input_tokens,
                intention.ceiling_pico_usd,
                intention.holder,
                self._stamp(),
            ),
        )
        return attempt_id

    def _next_id(self, table: str, column: str) -> int:
        """In the transaction that uses it: only one writes at a time."""
        return int(self._db.one(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}")[0])

    def _keep_texts(self, intention: Intention, requests: Sequence[Intended]) -> None:
        skeleton = (intention.skeleton_id, zlib.compress(intention.skeleton))
        self._db.insert_many("skeletons", "skeleton_id, body", [skeleton], skips_known=True)
        self._db.insert_many(
            "requests",
            "request_id, skeleton_id, pieces",
            ((r.request_id, intention.skeleton_id, b"\0".join(r.pieces)) for r in requests),
            skips_known=True,
        )

    def _check_count(self, attempt_id: int, intention: Intention, request_count: int) -> None:
        """In the transaction that claims, so that two runners cannot both find the way free."""
        states = [state.value for state in (AttemptState.INTENDED, *sorted(UNSETTLED))]
        marks = ",".join("?" * len(states))
        if intention.mode == "batch" and self._db.one(
            "SELECT 1 FROM attempts WHERE mode = 'batch' AND request_count = ? AND attempt_id != ? "
            f"AND state IN ({marks})",
            (request_count, attempt_id, *states),
        ):
            raise CountTaken

    def _check_month(self, intention: Intention) -> None:
        """In the transaction that reserves, so that two runners cannot spend one budget twice."""
        if intention.month_limit_pico_usd is None:
            return
        month = f"{self._stamp()[:7]}-01"
        if self.committed_pico_usd(month) + (intention.ceiling_pico_usd or 0) > intention.month_limit_pico_usd:
            raise MonthBudgetTaken

    def _check_unanswered(self, requests: Sequence[Intended]) -> None:
        """What somebody got answered, and let go of, since it was planned is not paid a second time."""
        asked = {(request.request_id, request.ordinal) for request in requests}
        for some in in_chunks(requests, 500):
            is_one, ids = self._db.among([request.request_id for request in some])
            answered = self._db.all(
                "SELECT request_id, ordinal FROM results WHERE kind NOT IN ('errored', 'expired', 'canceled') "
                f"AND request_id {is_one}",
                ids,
            )
            for name in answered:
                if tuple(name) in asked:
                    raise ClaimTaken("answered since it was planned")

    def _insert_claims(self, attempt_id: int, requests: Sequence[Intended]) -> None:
        try:
            self._db.insert_many(
                "claims",
                "request_id, ordinal, attempt_id",
                ((r.request_id, r.ordinal, attempt_id) for r in requests),
            )
        except Conflict as exc:
            raise ClaimTaken(str(exc)) from exc
