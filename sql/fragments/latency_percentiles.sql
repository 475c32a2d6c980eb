-- Median and 95th percentile of each engine in the CTE latencies (engine, latency_ms, calls). One
-- between two latencies is weighed by its distance to each, as PostgreSQL's percentile_cont does.
-- -1 stands for no latency.
(
    WITH placed AS (
        SELECT
            l.engine, l.latency_ms, l.calls,
            sum(l.calls) OVER (PARTITION BY l.engine ORDER BY l.latency_ms) AS places,
            sum(l.calls) OVER (PARTITION BY l.engine) - 1 AS last_place
        FROM latencies AS l
        WHERE l.latency_ms >= 0 AND l.calls > 0
    ),

    weighed AS (
        SELECT
            p.engine, q.rank, p.latency_ms,
            p.places - q.rank * p.last_place AS ends,
            p.places - p.calls - q.rank * p.last_place AS begins
        FROM placed AS p
        CROSS JOIN (SELECT 0.5 AS rank UNION ALL SELECT 0.95) AS q
    ),

    shares AS (
        SELECT
            w.engine, w.rank,
            w.latency_ms
            * (
                CASE WHEN w.ends > 1 THEN 1 ELSE w.ends END
                - CASE WHEN w.begins < 0 THEN 0 ELSE w.begins END
            ) AS share
        FROM weighed AS w
        WHERE w.ends > 0 AND w.begins < 1
    )

    SELECT
        w.engine,
        CAST(sum(CASE WHEN w.rank = 0.5 THEN w.share END) AS double precision) AS p50,
        CAST(sum(CASE WHEN w.rank = 0.95 THEN w.share END) AS double precision) AS p95
    FROM shares AS w
    GROUP BY w.engine
)
