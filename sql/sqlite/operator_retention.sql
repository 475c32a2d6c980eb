-- name: chat_keys_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest idempotency keys, by the index of their replies.
DELETE FROM operator_chat_key
WHERE (scope, key) IN (
    SELECT o.scope, o.key FROM (
        SELECT scope, key, created_at FROM operator_chat_key
        ORDER BY reply_id
        LIMIT :page
    ) AS o
    WHERE o.created_at < now(-86400 * :days)
)
RETURNING reply_id AS id;

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

-- name: tool_calls_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest tool calls, by their id.
DELETE FROM operator_tool_call
WHERE id IN (
    SELECT o.id FROM (
        SELECT id, created_at FROM operator_tool_call
        ORDER BY id
        LIMIT :page
    ) AS o
    WHERE o.created_at < now(-86400 * :days)
)
RETURNING id AS id;

-- name: browser_tasks_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest tasks that have ended, by their id.
DELETE FROM operator_browser_task
WHERE id IN (
    SELECT o.id FROM (
        SELECT id, completed_at FROM operator_browser_task
        ORDER BY id
        LIMIT :page
    ) AS o
    WHERE o.completed_at < now(-86400 * :days)
)
RETURNING id AS id;
