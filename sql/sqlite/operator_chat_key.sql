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

-- name: chat_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_chat_key
WHERE
    scope = :scope AND key = :key
    AND EXISTS (
        SELECT 1 FROM operator_session AS s
        WHERE s.session_id = operator_chat_key.session_id AND s.deleted_at IS NOT NULL
    )
RETURNING session_id;
