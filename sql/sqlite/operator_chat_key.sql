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
