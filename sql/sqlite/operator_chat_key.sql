-- name: chat_keys_purge(days, page)
-- Of so many of the oldest rows deletes those older than so many days. The oldest idempotency keys, by the index of their replies.
DELETE FROM operator_chat_key
WHERE reply_id IN (
    SELECT o.reply_id FROM (
        SELECT reply_id, created_at FROM operator_chat_key
        ORDER BY reply_id
        LIMIT :page
    ) AS o
    WHERE o.created_at < now(-86400 * :days)
)
RETURNING reply_id AS id;
