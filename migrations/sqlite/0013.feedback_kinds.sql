-- Feedback that a client has posted is told apart from what a reply gives by itself, and all of it is
-- counted by hour.
-- depends: 0012.database_history

-- NULL where an older version has stored it: it is neither marked nor counted yet.
ALTER TABLE operator_switch_feedback ADD COLUMN posted INTEGER CHECK (posted IN (0, 1));

-- Counts by hour and by latency: rounded, of successes, -1 where there is none.
CREATE TABLE operator_feedback_hour (
    hour TEXT NOT NULL,
    engine TEXT NOT NULL,
    latency_ms INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (hour, engine, latency_ms)
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_feedback_hour_empty ON operator_feedback_hour (hour) WHERE calls = 0;

-- What has to be added to the hours. Writers only append, so none waits for another one's count.
CREATE TABLE operator_feedback_change (
    id INTEGER PRIMARY KEY,
    hour TEXT NOT NULL,
    engine TEXT NOT NULL,
    latency_ms INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    tokens INTEGER NOT NULL
) STRICT;

CREATE TRIGGER operator_feedback_inserted AFTER INSERT ON operator_switch_feedback
WHEN new.posted IS NOT NULL
BEGIN
    INSERT INTO operator_feedback_change (hour, engine, latency_ms, calls, successes, tokens)
    VALUES (
        substr(new.created_at, 1, 13) || ':00:00.000000Z', new.engine,
        coalesce(CASE new.success WHEN 1 THEN new.latency_ms END, -1),
        1, new.success, new.tokens_used
    );
END;

CREATE TRIGGER operator_feedback_deleted AFTER DELETE ON operator_switch_feedback
WHEN old.posted IS NOT NULL
BEGIN
    INSERT INTO operator_feedback_change (hour, engine, latency_ms, calls, successes, tokens)
    VALUES (
        substr(old.created_at, 1, 13) || ':00:00.000000Z', old.engine,
        coalesce(CASE old.success WHEN 1 THEN old.latency_ms END, -1),
        -1, -old.success, -old.tokens_used
    );
END;

CREATE TRIGGER operator_feedback_changed_from
AFTER UPDATE OF posted, engine, success, latency_ms, tokens_used, created_at
ON operator_switch_feedback
WHEN old.posted IS NOT NULL
BEGIN
    INSERT INTO operator_feedback_change (hour, engine, latency_ms, calls, successes, tokens)
    VALUES (
        substr(old.created_at, 1, 13) || ':00:00.000000Z', old.engine,
        coalesce(CASE old.success WHEN 1 THEN old.latency_ms END, -1),
        -1, -old.success, -old.tokens_used
    );
END;

CREATE TRIGGER operator_feedback_changed_to
AFTER UPDATE OF posted, engine, success, latency_ms, tokens_used, created_at
ON operator_switch_feedback
WHEN new.posted IS NOT NULL
BEGIN
    INSERT INTO operator_feedback_change (hour, engine, latency_ms, calls, successes, tokens)
    VALUES (
        substr(new.created_at, 1, 13) || ':00:00.000000Z', new.engine,
        coalesce(CASE new.success WHEN 1 THEN new.latency_ms END, -1),
        1, new.success, new.tokens_used
    );
END;
