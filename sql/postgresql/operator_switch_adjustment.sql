-- name: adjustment_record(session_id, viewer, message_id, before_config, after_config, reason, data)
-- Stores an adjustment, and in its session the event that says so.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

stored AS (
    INSERT INTO operator_switch_adjustment (
        session_id, message_id, before_config, after_config, reason
    )
    SELECT :session_id, :message_id, :before_config, :after_config, :reason
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE locked.sessions = 1 OR CAST(:session_id AS text) IS NULL
    RETURNING id, session_id, created_at
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT
        n.session_id, n.last_seq, 'switch_adjustment.recorded',
        CAST(:data AS jsonb) || jsonb_build_object(
            'id', r.id,
            'created_at', to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        )
    FROM numbered AS n CROSS JOIN stored AS r
    RETURNING seq, data
)

SELECT e.seq, e.data, a.created_at AS ts, a.id, a.session_id
FROM stored AS a LEFT JOIN events AS e ON TRUE;

-- name: adjustment_finish(adjustment_id, session_id, pod_id, event, applied, moved, error, data)
-- Stores the outcome of applying or reverting an adjustment, by the process that claimed it. The column
-- that is called moved, applied_at or reverted_at, gets the time; NULL is for a failure.
WITH session AS MATERIALIZED {{lock_session}},

stored AS (
    UPDATE operator_switch_adjustment AS a
    SET
        owner = NULL,
        error = :error,
        applied = :applied,
        applied_at = CASE WHEN CAST(:moved AS text) = 'applied_at' THEN now() ELSE a.applied_at END,
        reverted_at = CASE CAST(:moved AS text)
            WHEN 'applied_at' THEN NULL WHEN 'reverted_at' THEN now() ELSE a.reverted_at
        END
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE
        -- Without its lock, a session that is being deleted would be waited for in a circle.
        (CAST(:session_id AS text) IS NULL OR locked.sessions > 0)
        AND a.id = :adjustment_id AND a.owner = :pod_id
    RETURNING a.id, a.session_id, now() AS ts
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT
        n.session_id, n.last_seq, :event,
        CASE
            WHEN CAST(:moved AS text) IS NULL THEN CAST(:data AS jsonb)
            ELSE CAST(:data AS jsonb) || jsonb_build_object(
                CAST(:moved AS text),
                to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            )
        END
    FROM numbered AS n
    RETURNING seq, data
)

SELECT e.seq, e.data, a.ts, a.id, a.session_id
FROM stored AS a LEFT JOIN events AS e ON TRUE;

-- name: adjustments_release_orphaned(idle_pod_id)
-- Gives up the claims of processes without a lease, and those of the pod that works on none. One that
-- somebody else writes to is left to the next sweep.
UPDATE operator_switch_adjustment SET owner = NULL
WHERE
    id IN (
        SELECT a.id
        FROM operator_switch_adjustment AS a
        WHERE
            a.owner = CAST(:idle_pod_id AS text)
            OR (
                a.owner IS NOT NULL
                AND NOT EXISTS (
                    SELECT 1 FROM operator_pod AS p
                    WHERE p.pod_id = a.owner AND p.lease_until > now()
                )
            )
        FOR NO KEY UPDATE SKIP LOCKED
    )
RETURNING id;
