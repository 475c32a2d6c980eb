-- name: chat_keys_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest idempotency keys, by the index of their replies.
WITH oldest AS MATERIALIZED (
    SELECT reply_id, created_at FROM operator_chat_key
    ORDER BY reply_id
    LIMIT :page
    FOR UPDATE SKIP LOCKED
)

DELETE FROM operator_chat_key AS t
USING oldest AS o
WHERE t.reply_id = o.reply_id AND o.created_at < {{days_ago}}
RETURNING t.reply_id AS id;

-- name: chat_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_chat_key AS k
USING operator_session AS s
WHERE
    k.scope = :scope AND k.key = :key
    AND s.session_id = k.session_id AND s.deleted_at IS NOT NULL
RETURNING k.session_id;
