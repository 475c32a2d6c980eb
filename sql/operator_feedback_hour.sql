-- name: feedback_engines(seconds, page)
-- Statistics of the feedback of the last seconds, engines with most calls first: whole hours by
-- their counts, what lies before the first one and what is not counted yet row by row.
WITH RECURSIVE edges AS {{ranking_edges}},

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
    INNER JOIN operator_switch_feedback AS f ON {{of_named_engine}}
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
