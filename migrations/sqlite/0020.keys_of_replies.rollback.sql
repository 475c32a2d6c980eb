CREATE TABLE operator_chat_key_old (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    session_id TEXT NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    reply_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    repeated INTEGER NOT NULL DEFAULT 0 CHECK (repeated IN (0, 1)),
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

INSERT INTO operator_chat_key_old (
    scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
)
SELECT scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
FROM operator_chat_key;

DROP TABLE operator_chat_key;

ALTER TABLE operator_chat_key_old RENAME TO operator_chat_key;

CREATE INDEX operator_chat_key_session ON operator_chat_key (session_id);
CREATE INDEX operator_chat_key_message ON operator_chat_key (message_id);
CREATE INDEX operator_chat_key_reply ON operator_chat_key (reply_id);
