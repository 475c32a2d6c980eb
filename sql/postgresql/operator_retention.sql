-- name: chat_keys_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days; only these are locked.
-- The oldest idempotency keys, by the index of their replies.
WITH oldest AS MATERIALIZED (
    SELECT reply_id, created_at FROM operator_chat_key
    ORDER BY reply_id
    LIMIT :page
),

old AS MATERIALIZED (
    SELECT l.reply_id FROM oldest AS o
    INNER JOIN operator_chat_key AS l ON o.reply_id = l.reply_id
    WHERE o.created_at < {{days_ago}}
    FOR UPDATE OF l SKIP LOCKED
)

DELETE FROM operator_chat_key AS t
USING old AS o
WHERE t.reply_id = o.reply_id
RETURNING t.reply_id AS id;

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
    INNER JOIN operator_switch_feedback AS l ON o.id = l.id
    WHERE o.created_at < {{days_ago}}
    FOR UPDATE OF l SKIP LOCKED
)

DELETE FROM operator_switch_feedback AS t
USING old AS o
WHERE t.id = o.id
RETURNING t.id AS id;

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
    INNER JOIN operator_tool_call AS l ON o.id = l.id
    WHERE o.created_at < {{days_ago}}
    FOR UPDATE OF l SKIP LOCKED
)

DELETE FROM operator_tool_call AS t
USING old AS o
WHERE t.id = o.id
RETURNING t.id AS id;

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
    INNER JOIN operator_browser_task AS l ON o.id = l.id
    WHERE o.completed_at < {{days_ago}}
    FOR UPDATE OF l SKIP LOCKED
)

DELETE FROM operator_browser_task AS t
USING old AS o
WHERE t.id = o.id
RETURNING t.id AS id;
