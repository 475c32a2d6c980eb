-- name: chat_key_get(scope, key)^
-- What an idempotency key stands for.
SELECT scope, key, body_hash, session_id, message_id, reply_id, created_at
FROM operator_chat_key
WHERE scope = :scope AND key = :key;

-- name: chat_key_last(scope, above, below)^
-- The last key between two others, in their own order.
SELECT scope, key, body_hash, session_id, message_id, reply_id, created_at
FROM operator_chat_key
WHERE scope = :scope AND key > :above AND key < :below
ORDER BY key DESC
LIMIT 1;
