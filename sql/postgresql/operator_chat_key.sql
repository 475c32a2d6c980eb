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

-- name: chat_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_chat_key AS k
USING operator_session AS s
WHERE
    k.scope = :scope AND k.key = :key
    AND s.session_id = k.session_id AND s.deleted_at IS NOT NULL
RETURNING k.session_id;
