-- A state as the first version of the schema held it: one batch collected, one in flight.
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
INSERT INTO "attempts" VALUES(1,'r1','about','prod','batch','claude-haiku-5-5',400,'closed',1,'rest','{}','',30.0,123456,'host:1:1','2026-10-01T09:00:01Z','2026-10-01T09:00:02Z','msgbatch_1','',1,30,9,0,61000000);
INSERT INTO "attempts" VALUES(2,'r1','about','prod','batch','claude-haiku-5-5',400,'known',1,'rest','{}','',30.0,123456,'host:1:1','2026-10-01T09:10:01Z','2026-10-01T09:10:02Z','msgbatch_2','',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE batches (
        batch_id TEXT PRIMARY KEY, attempt_id INTEGER, status TEXT NOT NULL,
        processing INTEGER NOT NULL, succeeded INTEGER NOT NULL, errored INTEGER NOT NULL,
        canceled INTEGER NOT NULL, expired INTEGER NOT NULL,
        created_at TEXT NOT NULL, expires_at TEXT NOT NULL, ended_at TEXT, note TEXT NOT NULL DEFAULT '',
        -- When we deleted it at the API, or found that it was not there any more.
        deleted_at TEXT
    ) WITHOUT ROWID;
INSERT INTO "batches" VALUES('msgbatch_1',1,'ended',0,1,0,0,0,'2026-10-01T09:00:02Z','2026-10-02T09:00:02Z','2026-10-01T09:05:00Z','',NULL);
INSERT INTO "batches" VALUES('msgbatch_2',2,'in_progress',1,0,0,0,0,'2026-10-01T09:10:02Z','2026-10-02T09:10:02Z',NULL,'',NULL);
CREATE TABLE claims (
        request_id BLOB NOT NULL, ordinal INTEGER NOT NULL, attempt_id INTEGER NOT NULL,
        PRIMARY KEY (request_id, ordinal)
    ) WITHOUT ROWID;
INSERT INTO "claims" VALUES(X'0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20',0,2);
CREATE TABLE decisions (
        decision_id INTEGER PRIMARY KEY, decided_at TEXT NOT NULL, attempt_id INTEGER NOT NULL,
        from_state TEXT NOT NULL, to_state TEXT NOT NULL, note TEXT NOT NULL
    );
INSERT INTO "decisions" VALUES(1,'2026-10-01T09:00:03Z',1,'uncertain','adopted','found it');
CREATE TABLE manifest_rows (
        manifest_id INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, request_id BLOB,
        ordinal INTEGER NOT NULL, row_hashes BLOB NOT NULL, row_values BLOB NOT NULL,
        blocked_code TEXT, blocked_reason TEXT, place TEXT NOT NULL,
        PRIMARY KEY (manifest_id, position)
    ) WITHOUT ROWID;
INSERT INTO "manifest_rows" VALUES(1,0,'0',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',0,X'68',X'7B2274657874223A2241207265642062696379636C652E227D',NULL,NULL,'data/rows.jsonl:1');
INSERT INTO "manifest_rows" VALUES(1,1,'1',X'0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20',0,X'68',X'7B2274657874223A224120626C7565206F6E652E227D',NULL,NULL,'data/rows.jsonl:2');
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
INSERT INTO "manifests" VALUES(1,'about','prod','','r1','2026-10-01T09:00:00Z','d1',2,'{"model":"a"}','["text"]',NULL,NULL);
CREATE TABLE messages (message_rowid INTEGER PRIMARY KEY, body BLOB NOT NULL);
INSERT INTO "messages" VALUES(1,X'7B226964223A226D73675F31222C22636F6E74656E74223A5B7B2274797065223A2274657874222C2274657874223A224974206973207265642E227D5D2C2273746F705F726561736F6E223A22656E645F7475726E227D');
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('origin','{"kind":"claude","host":"api.anthropic.com","workspace":""}');
CREATE TABLE requests (
        request_id BLOB PRIMARY KEY, skeleton_id BLOB NOT NULL, pieces BLOB NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "requests" VALUES(X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',X'73737373737373737373737373737373',X'2241207265642062696379636C652E22');
INSERT INTO "requests" VALUES(X'0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20',X'73737373737373737373737373737373',X'2241207265642062696379636C652E22');
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
INSERT INTO "results" VALUES(X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',0,1,'answered',400,30,9,0,0,0,0,NULL,'claude-haiku-5-5','msg_1','end_turn',NULL,NULL,61000000,1,'2026-10-01T09:05:01Z');
CREATE TABLE row_requests (
        target TEXT NOT NULL, job TEXT NOT NULL, key TEXT NOT NULL, request_id BLOB NOT NULL, ordinal INTEGER NOT NULL,
        first_run_id TEXT NOT NULL, PRIMARY KEY (target, job, key, request_id, ordinal)
    ) WITHOUT ROWID;
INSERT INTO "row_requests" VALUES('prod','about','0',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',0,'r1');
INSERT INTO "row_requests" VALUES('prod','about','1',X'0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20',0,'r1');
CREATE TABLE runs (
        run_id TEXT PRIMARY KEY, started_at TEXT NOT NULL, ended_at TEXT, status TEXT NOT NULL,
        command TEXT NOT NULL, target TEXT NOT NULL, jobs TEXT NOT NULL, git_commit TEXT NOT NULL,
        started_by TEXT NOT NULL, summary TEXT NOT NULL
    );
INSERT INTO "runs" VALUES('r1','2026-10-01T09:00:00Z','2026-10-01T09:20:00Z','ok','run','prod','["about"]','3f2a','ada@host','{"exit_code":0}');
INSERT INTO "runs" VALUES('r0','2026-09-30T09:00:00Z','2026-09-30T09:01:00Z','failed','run','prod','["about"]','','ada@host','{"exit_code":1}');
CREATE TABLE skeletons (skeleton_id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO "skeletons" VALUES(X'73737373737373737373737373737373',X'7B226D65737361676573223A5B7B22636F6E74656E74223A5B7B2274657874223A0030002C2274797065223A2274657874227D5D2C22726F6C65223A2275736572227D5D7D');
CREATE INDEX attempts_by_state ON attempts (state);
CREATE INDEX claims_by_attempt ON claims (attempt_id);
CREATE INDEX manifest_rows_by_key ON manifest_rows (manifest_id, key);
