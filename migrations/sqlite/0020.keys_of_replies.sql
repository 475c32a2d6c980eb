-- An idempotency key goes with its reply, which goes with its message and its session: one reference says so, and
-- a chat with a key writes two indexes less.
-- SQLite drops no reference, so the table is made anew.
-- depends: 0019.repeated_calls

CREATE TABLE operator_chat_key_new (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    session_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    reply_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    repeated INTEGER NOT NULL DEFAULT 0 CHECK (repeated IN (0, 1)),
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

INSERT INTO operator_chat_key_new (
    scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
)
SELECT scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
FROM operator_chat_key;

DROP TABLE operator_chat_key;

ALTER TABLE operator_chat_key_new RENAME TO operator_chat_key;

CREATE INDEX operator_chat_key_reply ON operator_chat_key (reply_id);

-- Older code finds all that it reads and writes.
UPDATE operator_schema SET serves_from = '0006.oldest_code';
