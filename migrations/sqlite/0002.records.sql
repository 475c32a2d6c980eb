-- Tool calls, browser tasks, changes of Switch, feedback, and what was adopted.
-- depends: 0001.conversations

CREATE TABLE operator_tool_call (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL REFERENCES operator_message (id) ON DELETE CASCADE,
    tool_name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'ok', 'error')),
    duration_ms INTEGER CHECK (duration_ms >= 0),
    arguments TEXT CHECK (arguments IS NULL OR json_valid(arguments)),
    result TEXT CHECK (result IS NULL OR json_valid(result)),
    error TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;

CREATE INDEX operator_tool_call_message ON operator_tool_call (message_id, id);

CREATE TABLE operator_browser_task (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    session_id TEXT REFERENCES operator_session (session_id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    url TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'timeout', 'blocked', 'cancelled')
    ),
    options TEXT NOT NULL CHECK (json_valid(options)),
    owner TEXT CHECK ((owner IS NOT NULL) = (status = 'running')),
    attempts INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    result TEXT CHECK (result IS NULL OR json_valid(result)),
    error TEXT,
    duration_ms INTEGER CHECK (duration_ms >= 0),
    created_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,
    screenshot_etag TEXT,
    screenshot BLOB,
    CHECK ((screenshot_etag IS NULL) = (screenshot IS NULL))
) STRICT;

CREATE INDEX operator_browser_task_session ON operator_browser_task (session_id, id DESC);
CREATE INDEX operator_browser_task_user ON operator_browser_task (user_id, id DESC);
CREATE INDEX operator_browser_task_status ON operator_browser_task (status, id DESC);
CREATE INDEX operator_browser_task_waiting ON operator_browser_task (not_before, id)
WHERE status = 'pending';
CREATE INDEX operator_browser_task_running ON operator_browser_task (owner)
WHERE status = 'running';
CREATE INDEX operator_browser_task_screenshot ON operator_browser_task (completed_at)
WHERE screenshot_etag IS NOT NULL;

CREATE TABLE operator_switch_adjustment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT REFERENCES operator_session (session_id) ON DELETE CASCADE,
    message_id INTEGER REFERENCES operator_message (id) ON DELETE CASCADE,
    before_config TEXT NOT NULL CHECK (json_valid(before_config)),
    after_config TEXT NOT NULL CHECK (json_valid(after_config)),
    reason TEXT NOT NULL,
    applied INTEGER NOT NULL DEFAULT 0 CHECK (applied IN (0, 1)),
    applied_at TEXT,
    reverted_at TEXT,
    error TEXT,
    owner TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX operator_switch_adjustment_session ON operator_switch_adjustment (session_id, id DESC);
CREATE INDEX operator_switch_adjustment_message ON operator_switch_adjustment (message_id);
CREATE INDEX operator_switch_adjustment_owner ON operator_switch_adjustment (owner)
WHERE owner IS NOT NULL;

CREATE TABLE operator_switch_feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT REFERENCES operator_session (session_id) ON DELETE CASCADE,
    message_id INTEGER REFERENCES operator_message (id) ON DELETE CASCADE,
    engine TEXT NOT NULL,
    success INTEGER NOT NULL CHECK (success IN (0, 1)),
    latency_ms INTEGER NOT NULL CHECK (latency_ms >= 0),
    tokens_used INTEGER NOT NULL CHECK (tokens_used >= 0),
    error_message TEXT,
    owner TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL,
    forwarded_at TEXT,
    given_up_at TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX operator_switch_feedback_session ON operator_switch_feedback (session_id)
WHERE session_id IS NOT NULL;
CREATE INDEX operator_switch_feedback_message ON operator_switch_feedback (message_id)
WHERE message_id IS NOT NULL;
CREATE INDEX operator_switch_feedback_window ON operator_switch_feedback
(engine, created_at, success, latency_ms, tokens_used);
CREATE INDEX operator_switch_feedback_outbox ON operator_switch_feedback (engine, id)
WHERE forwarded_at IS NULL AND given_up_at IS NULL;

CREATE TABLE operator_adopted (
    source TEXT NOT NULL,
    table_name TEXT NOT NULL,
    old_id TEXT NOT NULL,
    new_id TEXT NOT NULL,
    PRIMARY KEY (source, table_name, old_id)
) STRICT, WITHOUT ROWID;
