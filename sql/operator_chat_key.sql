-- name: chat_key_get(scope, key)
-- What an idempotency key stands for.
SELECT scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
FROM operator_chat_key
WHERE scope = :scope AND key = :key;
