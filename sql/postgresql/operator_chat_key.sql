-- name: chat_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_chat_key AS k
USING operator_session AS s
WHERE
    k.scope = :scope AND k.key = :key
    AND s.session_id = k.session_id AND s.deleted_at IS NOT NULL
RETURNING k.session_id;
