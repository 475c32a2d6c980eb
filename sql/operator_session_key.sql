-- name: session_key_get(scope, key)
-- What an idempotency key stands for.
SELECT scope, key, body_hash, session_id, created_at
FROM operator_session_key
WHERE scope = :scope AND key = :key;

-- name: session_key_answered(scope, key, session_id)
-- Deletes the key of a session whose caller has its answer.
DELETE FROM operator_session_key
WHERE scope = :scope AND key = :key AND session_id = :session_id
RETURNING session_id;
