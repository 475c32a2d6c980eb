-- Sessions, their messages, and what makes a chat durable and repeatable.
-- depends:

CREATE TABLE operator_session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL UNIQUE CHECK (
        length(session_id) BETWEEN 1 AND 64 AND session_id NOT GLOB '*[^A-Za-z0-9._:-]*'
    ),
    epoch TEXT NOT NULL,
    user_id TEXT NOT NULL,
    source TEXT NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    message_count INTEGER NOT NULL DEFAULT 0 CHECK (message_count >= 0),
    metadata TEXT CHECK (metadata IS NULL OR json_valid(metadata)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    active_at TEXT NOT NULL
) STRICT;

CREATE INDEX operator_session_active ON operator_session (active_at DESC, id DESC);
CREATE INDEX operator_session_user_active ON operator_session (user_id, active_at DESC, id DESC);

CREATE TABLE operator_message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content TEXT NOT NULL,
    status TEXT NOT NULL
    CHECK (status IN ('streaming', 'complete', 'failed', 'cancelled', 'interrupted')),
    reply_to INTEGER REFERENCES operator_message (id) ON DELETE CASCADE,
    owner TEXT CHECK ((owner IS NOT NULL) = (status = 'streaming')),
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    metadata TEXT CHECK (metadata IS NULL OR json_valid(metadata)),
    created_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;

CREATE INDEX operator_message_session ON operator_message (session_id, id DESC);
CREATE INDEX operator_message_reply_to ON operator_message (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX operator_message_streaming ON operator_message (owner) WHERE status = 'streaming';
CREATE VIRTUAL TABLE operator_message_search
USING fts5 (content, content = 'operator_message', content_rowid = 'id');

CREATE TRIGGER operator_message_search_insert AFTER INSERT ON operator_message
WHEN new.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (rowid, content) VALUES (new.id, new.content);
END;

CREATE TRIGGER operator_message_search_finish AFTER UPDATE OF status ON operator_message
WHEN old.status = 'streaming' AND new.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (rowid, content) VALUES (new.id, new.content);
END;

CREATE TRIGGER operator_message_search_delete AFTER DELETE ON operator_message
WHEN old.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (operator_message_search, rowid, content)
    VALUES ('delete', old.id, old.content);
END;

CREATE TABLE operator_reply_chunk (
    reply_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    "offset" INTEGER NOT NULL CHECK ("offset" >= 0),
    content TEXT NOT NULL,
    PRIMARY KEY (reply_id, "offset")
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_event (
    session_id TEXT NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    event TEXT NOT NULL,
    ts TEXT NOT NULL,
    message_id INTEGER,
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_event_ts ON operator_event (ts);

CREATE TABLE operator_chat_key (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    session_id TEXT NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    reply_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_chat_key_session ON operator_chat_key (session_id);
CREATE INDEX operator_chat_key_message ON operator_chat_key (message_id);
CREATE INDEX operator_chat_key_reply ON operator_chat_key (reply_id);

CREATE TABLE operator_pod (
    pod_id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    lease_until TEXT NOT NULL
) STRICT, WITHOUT ROWID;
