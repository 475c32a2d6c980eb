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
