-- name: feedback_record(session_id, viewer, message_id, engine, success, latency_ms, tokens_used, error_message, data)
-- Stores feedback to be forwarded, and in its session the event that says so.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = :session_id AND deleted_at IS NULL
    AND (:viewer IS NULL OR user_id = :viewer);

INSERT INTO operator_switch_feedback (
    session_id, message_id, engine, success, latency_ms, tokens_used, error_message,
    not_before, created_at
)
SELECT
    :session_id, :message_id, :engine, :success, :latency_ms, :tokens_used, :error_message,
    now(), now()
WHERE :session_id IS NULL OR changes() = 1
RETURNING
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json_set(:data, '$.id', id, '$.created_at', created_at) AS data,
    created_at AS ts,
    id, session_id;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'switch_feedback.recorded', now(),
    json_set(:data, '$.id', last_insert_rowid(), '$.created_at', now())
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

-- name: feedback_settle(feedback_id, pod_id, given_up, go_on)
-- Marks feedback as forwarded or given up, and claims the next one of its engine where wanted.
UPDATE operator_switch_feedback
SET
    owner = NULL,
    attempts = attempts + 1,
    forwarded_at = CASE WHEN :given_up THEN NULL ELSE now() END,
    given_up_at = CASE WHEN :given_up THEN now() END
WHERE id = :feedback_id AND owner = :pod_id;

UPDATE operator_switch_feedback SET owner = :pod_id
WHERE
    changes() = 1 AND :go_on
    AND id = (
        SELECT f.id FROM operator_switch_feedback AS f
        WHERE
            f.engine = (
                SELECT s.engine FROM operator_switch_feedback AS s WHERE s.id = :feedback_id
            )
            AND f.forwarded_at IS NULL AND f.given_up_at IS NULL
        ORDER BY f.engine, f.id
        LIMIT 1
    )
    AND not_before <= now()
    AND (owner IS NULL OR owner = :pod_id)
RETURNING id, engine, success, latency_ms, tokens_used, attempts;

-- name: feedback_postpone(feedback_id, pod_id, seconds)
-- Gives up the claim of feedback that could not be forwarded; it is due again in so many seconds.
UPDATE operator_switch_feedback
SET owner = NULL, attempts = attempts + 1, not_before = now(:seconds)
WHERE id = :feedback_id AND owner = :pod_id
RETURNING id;

-- name: feedback_engines(seconds, page)
-- Statistics of the feedback of the last seconds, engines with most calls first. A percentile
-- between two latencies is weighed by its distance to each, as PostgreSQL does.
WITH RECURSIVE names (engine) AS (
    SELECT min(f.engine) FROM operator_switch_feedback AS f
    UNION ALL
    SELECT
        (SELECT min(f.engine) FROM operator_switch_feedback AS f WHERE f.engine > n.engine)
    FROM names AS n
    WHERE n.engine IS NOT NULL
),

said AS (
    SELECT
        n.engine, count(*) AS calls, sum(f.success) AS successes, sum(f.tokens_used) AS tokens
    FROM names AS n
    INNER JOIN operator_switch_feedback AS f ON n.engine = f.engine
    WHERE f.created_at >= now(-1 * :seconds)
    GROUP BY n.engine
),

placed AS (
    SELECT
        f.engine, f.latency_ms,
        row_number() OVER (PARTITION BY f.engine ORDER BY f.latency_ms) - 1 AS place,
        count(*) OVER (PARTITION BY f.engine) - 1 AS last_place
    FROM names AS n
    INNER JOIN operator_switch_feedback AS f ON n.engine = f.engine
    WHERE
        f.created_at >= now(-1 * :seconds) AND f.success = 1
        AND f.latency_ms IS NOT NULL
),

latencies AS (
    SELECT
        p.engine,
        sum(p.latency_ms * max(0.0, 1.0 - abs(p.place - 0.5 * p.last_place))) AS p50,
        sum(p.latency_ms * max(0.0, 1.0 - abs(p.place - 0.95 * p.last_place))) AS p95
    FROM placed AS p
    GROUP BY p.engine
)

SELECT
    s.engine, s.calls, s.successes, s.tokens, l.p50 AS latency_p50_ms, l.p95 AS latency_p95_ms
FROM said AS s
LEFT JOIN latencies AS l ON s.engine = l.engine
ORDER BY s.calls DESC, s.engine ASC
LIMIT :page;

-- name: feedback_release_orphaned()
-- Gives up the claims of processes without a lease: only the oldest feedback of an engine can be
-- claimed.
UPDATE operator_switch_feedback SET owner = NULL
WHERE
    id IN (SELECT h.id FROM {{feedback_heads}} AS h)
    AND owner IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM operator_pod AS p
        WHERE p.pod_id = operator_switch_feedback.owner AND p.lease_until > now()
    )
RETURNING id;

-- name: feedback_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest feedback, by its id.
DELETE FROM operator_switch_feedback
WHERE id IN (
    SELECT o.id FROM (
        SELECT id, created_at FROM operator_switch_feedback
        ORDER BY id
        LIMIT :page
    ) AS o
    WHERE o.created_at < now(-86400 * :days)
)
RETURNING id AS id;
