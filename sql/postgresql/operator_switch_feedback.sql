-- name: feedback_record(session_id, viewer, message_id, engine, success, latency_ms, tokens_used, error_message, data)
-- Stores what a client says, in the place of what was said of the same reply before, and in its
-- session the event that says so. What Switch was told stays told; what it refused is due again.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

stored AS (
    INSERT INTO operator_switch_feedback AS f (
        session_id, message_id, engine, success, latency_ms, tokens_used, error_message, posted
    )
    SELECT
        :session_id, :message_id, :engine, :success, :latency_ms, :tokens_used, :error_message,
        TRUE
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE locked.sessions = 1 OR CAST(:session_id AS text) IS NULL
    ON CONFLICT (message_id) WHERE posted DO UPDATE
    SET
        {{newer_feedback}},
        attempts = CASE WHEN f.given_up_at IS NULL THEN f.attempts ELSE 0 END,
        not_before = CASE WHEN f.given_up_at IS NULL THEN f.not_before ELSE now() END,
        given_up_at = NULL
    RETURNING
        id, session_id,
        CAST(:data AS jsonb) || jsonb_build_object(
            'id', id,
            'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'forwarded_at', to_char(forwarded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS data,
        now() AS ts
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT n.session_id, n.last_seq, 'switch_feedback.recorded', f.data
    FROM numbered AS n CROSS JOIN stored AS f
    RETURNING seq
)

SELECT e.seq, f.data, f.ts, f.id, f.session_id
FROM stored AS f LEFT JOIN events AS e ON TRUE;

-- name: feedback_settle(feedback_id, pod_id, given_up, go_on)
-- Marks feedback as forwarded or given up, and claims the next one of its engine where wanted. One
-- that is being deleted is passed over, since whoever deletes it may wait for the first.
WITH settled AS (
    UPDATE operator_switch_feedback
    SET
        owner = NULL,
        attempts = attempts + 1,
        forwarded_at = CASE WHEN CAST(:given_up AS boolean) THEN NULL ELSE now() END,
        given_up_at = CASE WHEN CAST(:given_up AS boolean) THEN now() END
    WHERE id = :feedback_id AND owner = :pod_id
    RETURNING engine
),

following AS (
    SELECT f.id
    FROM operator_switch_feedback AS f
    WHERE
        f.id = (
            SELECT g.id
            FROM operator_switch_feedback AS g
            WHERE
                g.engine = (SELECT s.engine FROM settled AS s)
                AND g.forwarded_at IS NULL AND g.given_up_at IS NULL AND g.id <> :feedback_id
                AND CAST(:go_on AS boolean)
            ORDER BY g.engine, g.id
            LIMIT 1
        )
    FOR NO KEY UPDATE SKIP LOCKED
)

UPDATE operator_switch_feedback AS f SET owner = :pod_id
FROM following
WHERE
    f.id = following.id AND f.forwarded_at IS NULL AND f.given_up_at IS NULL
    AND f.not_before <= now()
    AND (f.owner IS NULL OR f.owner = :pod_id)
RETURNING f.id, f.engine, f.success, f.latency_ms, f.tokens_used, f.attempts;

-- name: feedback_postpone(feedback_id, pod_id, seconds)
-- Gives up the claim of feedback that could not be forwarded; it is due again in so many seconds.
UPDATE operator_switch_feedback
SET
    owner = NULL,
    attempts = attempts + 1,
    not_before = now() + make_interval(secs => CAST(:seconds AS double precision))
WHERE id = :feedback_id AND owner = :pod_id
RETURNING id;

-- name: feedback_release_orphaned()
-- Gives up the claims of processes without a lease: only the oldest feedback of an engine can be
-- claimed. One that somebody else writes to is left to the next sweep.
UPDATE operator_switch_feedback SET owner = NULL
WHERE
    id IN (
        SELECT f.id
        FROM operator_switch_feedback AS f
        WHERE
            f.id IN (SELECT h.id FROM {{feedback_heads}} AS h)
            AND f.owner IS NOT NULL
            AND NOT EXISTS (
                SELECT 1 FROM operator_pod AS p
                WHERE p.pod_id = f.owner AND p.lease_until > now()
            )
        FOR NO KEY UPDATE SKIP LOCKED
    )
RETURNING id;
