-- name: feedback_engines(seconds, page)
-- Statistics of the feedback of the last seconds, engines with most calls first: whole hours by
-- their counts, what lies before the first one and what is not counted yet row by row.
WITH RECURSIVE edges AS (
    SELECT
        now(-1 * :seconds) AS begins,
        substr(now(3600 - :seconds), 1, 13) || ':00:00.000000Z' AS first_hour
),

names (engine) AS (
    SELECT min(f.engine) FROM operator_switch_feedback AS f
    UNION ALL
    SELECT
        (SELECT min(f.engine) FROM operator_switch_feedback AS f WHERE f.engine > n.engine)
    FROM names AS n
    WHERE n.engine IS NOT NULL
),

changes AS (
    SELECT c.engine, c.latency_ms, c.calls, c.successes, c.tokens
    FROM operator_feedback_change AS c
    WHERE c.hour >= (SELECT e.first_hour FROM edges AS e)
    UNION ALL
    SELECT
        f.engine, coalesce(CASE WHEN f.success THEN f.latency_ms END, -1),
        1, CASE WHEN f.success THEN 1 ELSE 0 END, f.tokens_used
    FROM names AS n
    INNER JOIN operator_switch_feedback AS f ON n.engine = f.engine
    WHERE
        f.created_at >= (SELECT e.begins FROM edges AS e)
        AND f.created_at < (SELECT e.first_hour FROM edges AS e)
    UNION ALL
    SELECT
        f.engine, coalesce(CASE WHEN f.success THEN f.latency_ms END, -1),
        1, CASE WHEN f.success THEN 1 ELSE 0 END, f.tokens_used
    FROM operator_switch_feedback AS f
    WHERE f.posted IS NULL AND f.created_at >= (SELECT e.first_hour FROM edges AS e)
),

counts AS (
    SELECT h.engine, h.latency_ms, h.calls, h.successes, h.tokens
    FROM operator_feedback_hour AS h
    WHERE h.hour >= (SELECT e.first_hour FROM edges AS e)
    UNION ALL
    SELECT c.engine, {{rounded_latency}}, c.calls, c.successes, c.tokens
    FROM changes AS c
),

latencies AS (
    SELECT
        c.engine, c.latency_ms, sum(c.calls) AS calls, sum(c.successes) AS successes,
        sum(c.tokens) AS tokens
    FROM counts AS c
    GROUP BY c.engine, c.latency_ms
),

said AS (
    SELECT
        l.engine, CAST(sum(l.calls) AS bigint) AS calls,
        CAST(sum(l.successes) AS bigint) AS successes, CAST(sum(l.tokens) AS bigint) AS tokens
    FROM latencies AS l
    GROUP BY l.engine
    HAVING sum(l.calls) > 0
)

SELECT
    s.engine, s.calls, s.successes, s.tokens, p.p50 AS latency_p50_ms, p.p95 AS latency_p95_ms
FROM said AS s
LEFT JOIN {{latency_percentiles}} AS p ON s.engine = p.engine
ORDER BY s.calls DESC, s.engine ASC
LIMIT :page;

-- name: feedback_count(page)
-- Adds so many changes to the counts of their hours.
INSERT INTO operator_feedback_hour (hour, engine, latency_ms, calls, successes, tokens)
SELECT
    t.hour, t.engine, t.latency_ms, sum(t.calls), sum(t.successes), sum(t.tokens)
FROM (
    SELECT
        c.hour, c.engine, {{rounded_latency}} AS latency_ms, c.calls, c.successes, c.tokens
    FROM (SELECT * FROM operator_feedback_change ORDER BY id LIMIT :page) AS c
) AS t
WHERE TRUE
GROUP BY t.hour, t.engine, t.latency_ms
ON CONFLICT (hour, engine, latency_ms) DO UPDATE
SET
    calls = operator_feedback_hour.calls + excluded.calls,
    successes = operator_feedback_hour.successes + excluded.successes,
    tokens = operator_feedback_hour.tokens + excluded.tokens;

DELETE FROM operator_feedback_change
WHERE id IN (SELECT o.id FROM operator_feedback_change AS o ORDER BY o.id LIMIT :page)
RETURNING id;

-- name: feedback_mark(page)
-- Marks what an older version has stored as posted or not, and so counts it. Of what was posted on
-- one reply the last stays, or what is marked already.
DELETE FROM operator_switch_feedback
WHERE
    id IN (
        SELECT u.id FROM {{unmarked_feedback}} AS u
        WHERE
            u.id IN (
                SELECT o.id FROM operator_switch_feedback AS o
                WHERE o.posted IS NULL
                ORDER BY o.created_at DESC, o.id DESC
                LIMIT :page
            )
            AND u.posted AND {{feedback_repeated}}
    );

UPDATE operator_switch_feedback AS t SET posted = u.posted
FROM {{unmarked_feedback}} AS u
WHERE
    t.id = u.id
    AND t.id IN (
        SELECT o.id FROM operator_switch_feedback AS o
        WHERE o.posted IS NULL
        ORDER BY o.created_at DESC, o.id DESC
        LIMIT :page
    )
    AND NOT (u.posted AND {{feedback_repeated}})
RETURNING id;

-- name: feedback_hours_purge(days, page)
-- Deletes hours that hold nothing, and those older than so many days.
DELETE FROM operator_feedback_hour
WHERE
    (hour, engine, latency_ms) IN (
        SELECT e.hour, e.engine, e.latency_ms FROM (
            SELECT hour, engine, latency_ms FROM operator_feedback_hour
            WHERE calls = 0
            LIMIT :page
        ) AS e
        UNION
        SELECT o.hour, o.engine, o.latency_ms FROM (
            SELECT hour, engine, latency_ms FROM operator_feedback_hour
            WHERE hour < now(-86400 * :days)
            ORDER BY hour
            LIMIT :page
        ) AS o
    )
RETURNING calls AS id;
