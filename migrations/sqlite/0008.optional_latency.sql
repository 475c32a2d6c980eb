-- Feedback may leave its latency out; it counts for the success rate then, and for no percentile.
-- SQLite drops no NOT NULL, so the table is made anew.
-- depends: 0006.oldest_code

CREATE TABLE operator_switch_feedback_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT REFERENCES operator_session (session_id) ON DELETE CASCADE,
    message_id INTEGER REFERENCES operator_message (id) ON DELETE CASCADE,
    engine TEXT NOT NULL,
    success INTEGER NOT NULL CHECK (success IN (0, 1)),
    latency_ms INTEGER CHECK (latency_ms >= 0),
    tokens_used INTEGER NOT NULL CHECK (tokens_used >= 0),
    error_message TEXT,
    owner TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL,
    forwarded_at TEXT,
    given_up_at TEXT,
    created_at TEXT NOT NULL
) STRICT;

INSERT INTO operator_switch_feedback_new (
    id, session_id, message_id, engine, success, latency_ms, tokens_used, error_message, owner,
    attempts, not_before, forwarded_at, given_up_at, created_at
)
SELECT
    id, session_id, message_id, engine, success, latency_ms, tokens_used, error_message, owner,
    attempts, not_before, forwarded_at, given_up_at, created_at
FROM operator_switch_feedback;

-- An id that was given once is not given again.
DELETE FROM sqlite_sequence WHERE name = 'operator_switch_feedback_new';

INSERT INTO sqlite_sequence (name, seq)
SELECT 'operator_switch_feedback_new', seq FROM sqlite_sequence
WHERE name = 'operator_switch_feedback';

DROP TABLE operator_switch_feedback;

ALTER TABLE operator_switch_feedback_new RENAME TO operator_switch_feedback;

CREATE INDEX operator_switch_feedback_session ON operator_switch_feedback (session_id)
WHERE session_id IS NOT NULL;
CREATE INDEX operator_switch_feedback_message ON operator_switch_feedback (message_id)
WHERE message_id IS NOT NULL;
CREATE INDEX operator_switch_feedback_window ON operator_switch_feedback
(engine, created_at, success, latency_ms, tokens_used);
CREATE INDEX operator_switch_feedback_outbox ON operator_switch_feedback (engine, id)
WHERE forwarded_at IS NULL AND given_up_at IS NULL;

-- Older code takes feedback without a latency as it comes.
UPDATE operator_schema SET serves_from = '0006.oldest_code';
