-- name: feedback_count(page)
-- Adds so many changes to the counts of their hours. The hours are locked in one order, so that
-- processes that do so at once wait for each other and no more.
WITH taken AS (
    DELETE FROM operator_feedback_change
    WHERE
        id IN (
            SELECT o.id FROM operator_feedback_change AS o
            ORDER BY o.id
            LIMIT :page
            FOR UPDATE SKIP LOCKED
        )
    RETURNING id, hour, engine, latency_ms, calls, successes, tokens
),

added AS (
    INSERT INTO operator_feedback_hour AS h (
        hour, engine, latency_ms, calls, successes, tokens
    )
    SELECT
        t.hour, t.engine, t.latency_ms, sum(t.calls), sum(t.successes), sum(t.tokens)
    FROM (
        SELECT
            c.hour, c.engine, {{rounded_latency}} AS latency_ms, c.calls, c.successes, c.tokens
        FROM taken AS c
    ) AS t
    GROUP BY t.hour, t.engine, t.latency_ms
    ORDER BY t.hour, t.engine, t.latency_ms
    ON CONFLICT (hour, engine, latency_ms) DO UPDATE
    SET
        calls = h.calls + excluded.calls,
        successes = h.successes + excluded.successes,
        tokens = h.tokens + excluded.tokens
)

SELECT t.id FROM taken AS t;

-- name: feedback_mark(page)
-- Marks what an older version has stored as posted or not, and so counts it. Of what was posted on
-- one reply the last stays, or what is marked already.
WITH newest AS MATERIALIZED (
    SELECT f.id FROM operator_switch_feedback AS f
    WHERE f.posted IS NULL
    ORDER BY f.created_at DESC, f.id DESC
    LIMIT :page
    FOR UPDATE SKIP LOCKED
),

judged AS MATERIALIZED (
    SELECT u.id, u.posted, u.posted AND {{feedback_repeated}} AS repeated
    FROM newest AS n
    INNER JOIN {{unmarked_feedback}} AS u ON n.id = u.id
),

dropped AS (
    DELETE FROM operator_switch_feedback AS f USING judged AS j
    WHERE f.id = j.id AND j.repeated
),

marked AS (
    UPDATE operator_switch_feedback AS f SET posted = j.posted
    FROM judged AS j
    WHERE f.id = j.id AND NOT j.repeated
)

SELECT n.id FROM newest AS n;

-- name: feedback_hours_purge(days, page)
-- Deletes hours that hold nothing, and those older than so many days.
DELETE FROM operator_feedback_hour AS h
USING (
    (
        SELECT e.hour, e.engine, e.latency_ms FROM operator_feedback_hour AS e
        WHERE e.calls = 0
        LIMIT :page
    )
    UNION
    (
        SELECT o.hour, o.engine, o.latency_ms FROM operator_feedback_hour AS o
        WHERE o.hour < now() - make_interval(secs => CAST(:days AS double precision) * 86400)
        ORDER BY o.hour
        LIMIT :page
    )
) AS p
WHERE
    h.hour = p.hour AND h.engine = p.engine AND h.latency_ms = p.latency_ms
    AND (
        h.calls = 0
        OR h.hour < now() - make_interval(secs => CAST(:days AS double precision) * 86400)
    )
RETURNING h.calls AS id;
