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
WHERE
    t.reply_id = o.reply_id
    AND o.created_at < now() - make_interval(secs => CAST(:days AS double precision) * 86400)
RETURNING t.reply_id AS id;
