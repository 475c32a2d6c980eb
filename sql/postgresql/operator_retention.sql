-- name: chat_keys_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days; only these are locked.
-- The oldest idempotency keys, by the index of their replies.
-- LIMIT 1 and the array keep the planner from reading the whole table for a page, here and below.
WITH oldest AS MATERIALIZED (
    SELECT scope, key, created_at FROM operator_chat_key
    ORDER BY reply_id
    LIMIT :page
),

old AS MATERIALIZED (
    SELECT l.place FROM oldest AS o
    CROSS JOIN LATERAL (
        SELECT k.ctid AS place FROM operator_chat_key AS k
        WHERE k.scope = o.scope AND k.key = o.key
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS l
    WHERE o.created_at < {{days_ago}}
)

DELETE FROM operator_chat_key
WHERE ctid = ANY(ARRAY(SELECT o.place FROM old AS o))
RETURNING reply_id AS id;

-- name: feedback_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days; only these are locked.
-- The oldest feedback, by its id.
WITH oldest AS MATERIALIZED (
    SELECT id, created_at FROM operator_switch_feedback
    ORDER BY id
    LIMIT :page
),

old AS MATERIALIZED (
    SELECT l.id FROM oldest AS o
    CROSS JOIN LATERAL (
        SELECT r.id FROM operator_switch_feedback AS r
        WHERE r.id = o.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS l
    WHERE o.created_at < {{days_ago}}
)

DELETE FROM operator_switch_feedback
WHERE id = ANY(ARRAY(SELECT o.id FROM old AS o))
RETURNING id;

-- name: tool_calls_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days; only these are locked.
-- The oldest tool calls, by their id.
WITH oldest AS MATERIALIZED (
    SELECT id, created_at FROM operator_tool_call
    ORDER BY id
    LIMIT :page
),

old AS MATERIALIZED (
    SELECT l.id FROM oldest AS o
    CROSS JOIN LATERAL (
        SELECT r.id FROM operator_tool_call AS r
        WHERE r.id = o.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS l
    WHERE o.created_at < {{days_ago}}
)

DELETE FROM operator_tool_call
WHERE id = ANY(ARRAY(SELECT o.id FROM old AS o))
RETURNING id;

-- name: browser_tasks_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days; only these are locked.
-- The oldest tasks that have ended, by their id.
WITH oldest AS MATERIALIZED (
    SELECT id, completed_at FROM operator_browser_task
    ORDER BY id
    LIMIT :page
),

old AS MATERIALIZED (
    SELECT l.id FROM oldest AS o
    CROSS JOIN LATERAL (
        SELECT r.id FROM operator_browser_task AS r
        WHERE r.id = o.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS l
    WHERE o.completed_at < {{days_ago}}
)

DELETE FROM operator_browser_task
WHERE id = ANY(ARRAY(SELECT o.id FROM old AS o))
RETURNING id;
