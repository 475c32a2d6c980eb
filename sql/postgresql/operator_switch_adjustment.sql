-- name: adjustment_record(session_id, viewer, message_id, before_config, after_config, reason)
-- Stores a change of Switch, and in its session the event that says so.
WITH session AS MATERIALIZED (
    SELECT session_id FROM operator_session
    WHERE session_id = :session_id AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer)
    FOR NO KEY UPDATE
),

stored AS (
    INSERT INTO operator_switch_adjustment (
        session_id, message_id, before_config, after_config, reason
    )
    SELECT :session_id, :message_id, :before_config, :after_config, :reason
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE locked.sessions = 1 OR CAST(:session_id AS text) IS NULL
    RETURNING
        id, session_id, message_id, before_config, after_config, reason, applied, applied_at,
        reverted_at, error, owner, created_at
),

numbered AS (
    UPDATE operator_session AS s SET last_seq = s.last_seq + 1, updated_at = now()
    FROM stored
    WHERE s.session_id = stored.session_id
    RETURNING s.session_id, s.last_seq
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT
        n.session_id, n.last_seq, 'switch_adjustment.recorded',
        jsonb_build_object(
            'id', a.id, 'session_id', a.session_id, 'message_id', a.message_id,
            'before_config', a.before_config, 'after_config', a.after_config,
            'reason', a.reason, 'applied', a.applied, 'applied_at', NULL,
            'reverted_at', NULL, 'error', a.error,
            'created_at', to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        )
    FROM numbered AS n CROSS JOIN stored AS a
    RETURNING seq, ts, data
)

SELECT
    a.id, a.session_id, a.message_id, a.before_config, a.after_config, a.reason, a.applied,
    a.applied_at, a.reverted_at, a.error, a.owner, a.created_at, e.seq, e.ts, e.data
FROM stored AS a LEFT JOIN events AS e ON TRUE;

-- name: adjustment_finish(adjustment_id, session_id, pod_id, event, error)
-- Stores what came of applying or reverting a change, by the process that had its mark.
WITH session AS MATERIALIZED (
    SELECT session_id FROM operator_session WHERE session_id = :session_id FOR NO KEY UPDATE
),

stored AS (
    UPDATE operator_switch_adjustment AS a
    SET
        owner = NULL,
        error = :error,
        applied = CASE CAST(:event AS text)
            WHEN 'switch_adjustment.applied' THEN TRUE
            WHEN 'switch_adjustment.reverted' THEN FALSE
            ELSE a.applied
        END,
        applied_at = CASE CAST(:event AS text)
            WHEN 'switch_adjustment.applied' THEN now() ELSE a.applied_at
        END,
        reverted_at = CASE CAST(:event AS text)
            WHEN 'switch_adjustment.applied' THEN NULL
            WHEN 'switch_adjustment.reverted' THEN now()
            ELSE a.reverted_at
        END
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE a.id = :adjustment_id AND a.owner = :pod_id AND locked.sessions >= 0
    RETURNING
        a.id, a.session_id, a.message_id, a.before_config, a.after_config, a.reason, a.applied,
        a.applied_at, a.reverted_at, a.error, a.owner, a.created_at
),

numbered AS (
    UPDATE operator_session AS s SET last_seq = s.last_seq + 1, updated_at = now()
    FROM stored
    WHERE s.session_id = stored.session_id
    RETURNING s.session_id, s.last_seq
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT
        n.session_id, n.last_seq, CAST(:event AS text),
        jsonb_build_object(
            'id', a.id, 'session_id', a.session_id, 'message_id', a.message_id,
            'before_config', a.before_config, 'after_config', a.after_config,
            'reason', a.reason, 'applied', a.applied,
            'applied_at',
            to_char(a.applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'reverted_at',
            to_char(a.reverted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'error', a.error,
            'created_at', to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        )
    FROM numbered AS n CROSS JOIN stored AS a
    RETURNING seq, ts, data
)

SELECT
    a.id, a.session_id, a.message_id, a.before_config, a.after_config, a.reason, a.applied,
    a.applied_at, a.reverted_at, a.error, a.owner, a.created_at, e.seq, e.ts, e.data
FROM stored AS a LEFT JOIN events AS e ON TRUE;
