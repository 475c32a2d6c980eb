-- name: session_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_session_key
WHERE
    scope = :scope AND key = :key
    AND EXISTS (
        SELECT 1 FROM operator_session AS s
        WHERE s.session_id = operator_session_key.session_id AND s.deleted_at IS NOT NULL
    )
RETURNING session_id;

-- name: session_key_claim(scope, key, soon, within)
-- Deletes a key that is at least so many seconds old, and less than others: its session is for one of those who ask.
DELETE FROM operator_session_key
WHERE
    scope = :scope AND key = :key
    AND created_at <= now(-1 * :soon) AND created_at > now(-1 * :within)
    AND EXISTS (
        SELECT 1 FROM operator_session AS s
        WHERE s.session_id = operator_session_key.session_id AND s.deleted_at IS NULL
    )
RETURNING session_id;
