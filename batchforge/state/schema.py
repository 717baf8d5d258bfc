"""The tables of a state, as SQLite's words for them, and the steps from each version of them to the next."""

from __future__ import annotations

APPLICATION_ID = 0x42466F31
"""Marks the file as ours ("BFo1"), so that another SQLite file is not taken for a state."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY, started_at TEXT NOT NULL, ended_at TEXT, status TEXT NOT NULL,
        command TEXT NOT NULL, target TEXT NOT NULL, jobs TEXT NOT NULL, git_commit TEXT NOT NULL,
        started_by TEXT NOT NULL, summary TEXT NOT NULL
    );

    -- A request is a skeleton (stored once for each job and revision) and the texts of its row.
    CREATE TABLE skeletons (skeleton_id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE requests (
        request_id BLOB PRIMARY KEY, skeleton_id BLOB NOT NULL, pieces BLOB NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE attempts (
        attempt_id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, job TEXT NOT NULL, target TEXT NOT NULL,
        mode TEXT NOT NULL, model TEXT NOT NULL, max_tokens INTEGER NOT NULL, state TEXT NOT NULL,
        request_count INTEGER NOT NULL, phase TEXT NOT NULL, caching TEXT NOT NULL,
        shape TEXT NOT NULL DEFAULT '', estimated_input_tokens REAL NOT NULL, ceiling_pico_usd INTEGER,
        holder TEXT NOT NULL, created_at TEXT NOT NULL, sent_at TEXT, batch_id TEXT UNIQUE,
        note TEXT NOT NULL DEFAULT '',
        -- What its results came to, once they are stored.
        billed_results INTEGER, prompt_tokens INTEGER, output_tokens INTEGER, cache_hits INTEGER,
        cost_pico_usd INTEGER
    );
    CREATE INDEX attempts_by_state ON attempts (state);

    -- At most one attempt asks for an answer at a time.
    CREATE TABLE claims (
        request_id BLOB NOT NULL, ordinal INTEGER NOT NULL, attempt_id INTEGER NOT NULL,
        PRIMARY KEY (request_id, ordinal)
    ) WITHOUT ROWID;
    CREATE INDEX claims_by_attempt ON claims (attempt_id);

    CREATE TABLE batches (
        batch_id TEXT PRIMARY KEY, attempt_id INTEGER, status TEXT NOT NULL,
        processing INTEGER NOT NULL, succeeded INTEGER NOT NULL, errored INTEGER NOT NULL,
        canceled INTEGER NOT NULL, expired INTEGER NOT NULL,
        created_at TEXT NOT NULL, expires_at TEXT NOT NULL, ended_at TEXT, note TEXT NOT NULL DEFAULT '',
        -- When we deleted it at the API, or found that it was not there any more.
        deleted_at TEXT
    ) WITHOUT ROWID;

    -- Messages apart, so that what is looked up for every row stays small and close together.
    CREATE TABLE messages (message_rowid INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE results (
        request_id BLOB NOT NULL, ordinal INTEGER NOT NULL, attempt_id INTEGER NOT NULL,
        kind TEXT NOT NULL, max_tokens INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
        cache_write_5m_tokens INTEGER NOT NULL, cache_write_1h_tokens INTEGER NOT NULL,
        web_searches INTEGER NOT NULL, inference_geo TEXT,
        model TEXT, message_id TEXT, stop_reason TEXT, error_type TEXT, error_message TEXT, cost_pico_usd INTEGER,
        message_rowid INTEGER, stored_at TEXT NOT NULL,
        PRIMARY KEY (request_id, ordinal, attempt_id)
    ) WITHOUT ROWID;

    CREATE TABLE manifests (
        manifest_id INTEGER PRIMARY KEY, job TEXT NOT NULL, target TEXT NOT NULL, scope TEXT NOT NULL,
        run_id TEXT NOT NULL,
        created_at TEXT NOT NULL, digest TEXT NOT NULL, row_count INTEGER NOT NULL, parts TEXT NOT NULL,
        columns TEXT NOT NULL,
        -- How its output was written; NULL while that has yet to be done.
        written_as TEXT,
        -- By what a later run sees that there is nothing to do; NULL while that is not known.
        settled TEXT, UNIQUE (target, job, scope)
    );
    CREATE TABLE manifest_rows (
        manifest_id INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, request_id BLOB,
        ordinal INTEGER NOT NULL, row_hashes BLOB NOT NULL, row_values BLOB NOT NULL,
        blocked_code TEXT, blocked_reason TEXT, place TEXT NOT NULL,
        PRIMARY KEY (manifest_id, position)
    ) WITHOUT ROWID;
    CREATE INDEX manifest_rows_by_key ON manifest_rows (manifest_id, key);

    -- Every request that a row ever had: manifests are replaced, this is not.
    CREATE TABLE row_requests (
        target TEXT NOT NULL, job TEXT NOT NULL, key TEXT NOT NULL, request_id BLOB NOT NULL, ordinal INTEGER NOT NULL,
        first_run_id TEXT NOT NULL, PRIMARY KEY (target, job, key, request_id, ordinal)
    ) WITHOUT ROWID;

    CREATE TABLE decisions (
        decision_id INTEGER PRIMARY KEY, decided_at TEXT NOT NULL, attempt_id INTEGER NOT NULL,
        from_state TEXT NOT NULL, to_state TEXT NOT NULL, note TEXT NOT NULL
    );
    """,
    """
    -- Files that lie at the API, by their content: each is uploaded once, and again when it is gone.
    CREATE TABLE uploaded_files (
        file_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, workspace TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        uploaded_at TEXT NOT NULL, expires_at TEXT NOT NULL, used_at TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploaded_files_by_content ON uploaded_files (sha256);
    """,
    """
    -- Who may do what only one does at a time.
    CREATE TABLE leases (
        name TEXT PRIMARY KEY, fence INTEGER NOT NULL, holder TEXT NOT NULL, started_by TEXT NOT NULL,
        job_url TEXT NOT NULL, purpose TEXT NOT NULL, acquired_at TEXT NOT NULL, renewed_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    );

    -- The order in which runs began, also where their clocks differ.
    ALTER TABLE runs ADD COLUMN serial INTEGER NOT NULL DEFAULT 0;
    UPDATE runs SET serial = numbered.place FROM (
        SELECT run_id AS id, row_number() OVER (ORDER BY started_at, run_id) AS place FROM runs
    ) numbered WHERE numbered.id = runs.run_id;
    CREATE INDEX runs_by_serial ON runs (serial);
    """,
    """
    -- What the API calls the request that a result came with, for its operators: where it says so.
    ALTER TABLE results ADD COLUMN api_request_id TEXT;
    """,
    """
    -- The process of a run, by which one that was killed can be told from one that goes on.
    ALTER TABLE runs ADD COLUMN holder TEXT NOT NULL DEFAULT '';
    """,
    """
    -- In the order in which they come, with their names in an index. In the order of their hashes each request meets
    -- another page: beside 1,000,000 others it cost 13 KB of writing instead of 5.
    CREATE TABLE requests_as_they_came (
        request_id BLOB PRIMARY KEY, skeleton_id BLOB NOT NULL, pieces BLOB NOT NULL
    );
    INSERT INTO requests_as_they_came SELECT request_id, skeleton_id, pieces FROM requests;
    DROP TABLE requests;
    ALTER TABLE requests_as_they_came RENAME TO requests;

    CREATE TABLE results_as_they_came (
        request_id BLOB NOT NULL, ordinal INTEGER NOT NULL, attempt_id INTEGER NOT NULL,
        kind TEXT NOT NULL, max_tokens INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
        cache_write_5m_tokens INTEGER NOT NULL, cache_write_1h_tokens INTEGER NOT NULL,
        web_searches INTEGER NOT NULL, inference_geo TEXT,
        model TEXT, message_id TEXT, stop_reason TEXT, error_type TEXT, error_message TEXT, cost_pico_usd INTEGER,
        message_rowid INTEGER, stored_at TEXT NOT NULL, api_request_id TEXT,
        PRIMARY KEY (request_id, ordinal, attempt_id)
    );
    INSERT INTO results_as_they_came SELECT request_id, ordinal, attempt_id, kind, max_tokens, input_tokens,
        output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, web_searches, inference_geo,
        model, message_id, stop_reason, error_type, error_message, cost_pico_usd, message_rowid, stored_at,
        api_request_id FROM results;
    DROP TABLE results;
    ALTER TABLE results_as_they_came RENAME TO results;
    """,
)
