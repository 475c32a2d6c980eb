-- name: adjustment_record(session_id, viewer, message_id, before_config, after_config, reason)
-- Stores a change of Switch, and in its session the event that says so.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE session_id = :session_id AND (:viewer IS NULL OR user_id = :viewer);

INSERT INTO operator_switch_adjustment (
    session_id, message_id, before_config, after_config, reason, created_at
)
SELECT :session_id, :message_id, :before_config, :after_config, :reason, now()
WHERE :session_id IS NULL OR changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'switch_adjustment.recorded', now(),
    json_object(
        'id', a.id, 'session_id', a.session_id, 'message_id', a.message_id,
        'before_config', json(a.before_config), 'after_config', json(a.after_config),
        'reason', a.reason, 'applied', json('false'), 'applied_at', NULL,
        'reverted_at', NULL, 'error', a.error, 'created_at', a.created_at
    )
FROM operator_switch_adjustment AS a
INNER JOIN operator_session AS s ON a.session_id = s.session_id
WHERE a.id = last_insert_rowid() AND changes() = 1;

SELECT
    a.id, a.session_id, a.message_id, a.before_config, a.after_config, a.reason, a.applied,
    a.applied_at, a.reverted_at, a.error, a.owner, a.created_at, e.seq, e.ts, e.data
FROM operator_switch_adjustment AS a
LEFT JOIN operator_session AS s ON a.session_id = s.session_id
LEFT JOIN operator_event AS e ON s.session_id = e.session_id AND s.last_seq = e.seq
WHERE a.id = last_insert_rowid() AND (:session_id IS NULL OR changes() = 1);

-- name: adjustment_finish(adjustment_id, session_id, pod_id, event, error)
-- Stores what came of applying or reverting a change, by the process that had its mark, which
-- comes off last: until then it guards each statement.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = :session_id
    AND EXISTS (
        SELECT 1 FROM operator_switch_adjustment AS a
        WHERE a.id = :adjustment_id AND a.owner = :pod_id
    );

UPDATE operator_switch_adjustment
SET
    error = :error,
    applied = CASE :event
        WHEN 'switch_adjustment.applied' THEN 1
        WHEN 'switch_adjustment.reverted' THEN 0
        ELSE applied
    END,
    applied_at = CASE :event WHEN 'switch_adjustment.applied' THEN now() ELSE applied_at END,
    reverted_at = CASE :event
        WHEN 'switch_adjustment.applied' THEN NULL
        WHEN 'switch_adjustment.reverted' THEN now()
        ELSE reverted_at
    END
WHERE id = :adjustment_id AND owner = :pod_id;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, :event, now(),
    json_object(
        'id', a.id, 'session_id', a.session_id, 'message_id', a.message_id,
        'before_config', json(a.before_config), 'after_config', json(a.after_config),
        'reason', a.reason, 'applied', json(CASE a.applied WHEN 1 THEN 'true' ELSE 'false' END),
        'applied_at', a.applied_at, 'reverted_at', a.reverted_at, 'error', a.error,
        'created_at', a.created_at
    )
FROM operator_switch_adjustment AS a
INNER JOIN operator_session AS s ON a.session_id = s.session_id
WHERE a.id = :adjustment_id AND a.owner = :pod_id;

UPDATE operator_switch_adjustment SET owner = NULL
WHERE id = :adjustment_id AND owner = :pod_id
RETURNING
    id, session_id, message_id, before_config, after_config, reason, applied, applied_at,
    reverted_at, error, owner, created_at,
    (
        SELECT s.last_seq FROM operator_session AS s
        WHERE s.session_id = operator_switch_adjustment.session_id
    ) AS seq,
    (
        SELECT e.ts FROM operator_event AS e
        INNER JOIN operator_session AS s ON e.session_id = s.session_id AND e.seq = s.last_seq
        WHERE s.session_id = operator_switch_adjustment.session_id
    ) AS ts,
    (
        SELECT e.data FROM operator_event AS e
        INNER JOIN operator_session AS s ON e.session_id = s.session_id AND e.seq = s.last_seq
        WHERE s.session_id = operator_switch_adjustment.session_id
    ) AS data;
