-- Idempotency keys of sessions that were made without a chat. A call that brings none has one of its own, which stands
-- until it is answered.
-- depends: 0021.words_of_more_scripts

CREATE TABLE operator_session_key (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    session_id TEXT NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_session_key_session ON operator_session_key (session_id);
