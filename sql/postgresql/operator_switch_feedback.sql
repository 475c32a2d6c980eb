-- name: feedback_record(session_id, viewer, message_id, engine, success, latency_ms, tokens_used, error_message, data)
-- Stores feedback to be forwarded, and in its session the event that says so.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

stored AS (
    INSERT INTO operator_switch_feedback (
        session_id, message_id, engine, success, latency_ms, tokens_used, error_message
    )
    SELECT
        :session_id, :message_id, :engine, :success, :latency_ms, :tokens_used, :error_message
    FROM (SELECT count(*) AS sessions FROM session) AS locked
    WHERE locked.sessions = 1 OR CAST(:session_id AS text) IS NULL
    RETURNING id, session_id, created_at
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
        n.session_id, n.last_seq, 'switch_feedback.recorded',
        CAST(:data AS jsonb) || jsonb_build_object(
            'id', f.id,
            'created_at', to_char(f.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        )
    FROM numbered AS n CROSS JOIN stored AS f
    RETURNING seq, data
)

SELECT e.seq, e.data, f.created_at AS ts, f.id, f.session_id
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

-- name: feedback_engines(seconds, page)
-- Statistics of the feedback of the last seconds, engines with most calls first. The index
-- holds all that is read; BETWEEN makes the planner expect few rows of an engine, and so use it,
-- where one engine has most of the table.
WITH RECURSIVE names (engine) AS (
    (SELECT f.engine FROM operator_switch_feedback AS f ORDER BY f.engine LIMIT 1)
    UNION ALL
    SELECT
        (
            SELECT f.engine FROM operator_switch_feedback AS f
            WHERE f.engine > n.engine
            ORDER BY f.engine
            LIMIT 1
        )
    FROM names AS n
    WHERE n.engine IS NOT NULL
)

SELECT
    n.engine, said.calls, said.successes, said.tokens,
    said.latencies[1] AS latency_p50_ms, said.latencies[2] AS latency_p95_ms
FROM names AS n
CROSS JOIN LATERAL (
    SELECT
        CAST(coalesce(sum(f.tokens_used), 0) AS bigint) AS tokens,
        count(*) AS calls,
        count(*) FILTER (WHERE f.success) AS successes,
        percentile_cont(ARRAY[0.5, 0.95])
            WITHIN GROUP (ORDER BY f.latency_ms) FILTER (WHERE f.success) AS latencies
    FROM operator_switch_feedback AS f
    WHERE
        f.engine BETWEEN n.engine AND n.engine
        AND f.created_at >= now() - make_interval(secs => CAST(:seconds AS double precision))
) AS said
WHERE n.engine IS NOT NULL AND said.calls > 0
ORDER BY said.calls DESC, n.engine ASC
LIMIT :page;

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

-- name: feedback_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest feedback, by its id.
WITH oldest AS MATERIALIZED (
    SELECT id, created_at FROM operator_switch_feedback
    ORDER BY id
    LIMIT :page
    FOR UPDATE SKIP LOCKED
)

DELETE FROM operator_switch_feedback AS t
USING oldest AS o
WHERE
    t.id = o.id
    AND o.created_at < now() - make_interval(secs => CAST(:days AS double precision) * 86400)
RETURNING t.id AS id;
