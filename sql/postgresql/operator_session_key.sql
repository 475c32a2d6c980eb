-- name: session_key_release(scope, key)
-- Deletes a key whose session is being deleted: it stands for nothing any more.
DELETE FROM operator_session_key AS k
USING operator_session AS s
WHERE
    k.scope = :scope AND k.key = :key
    AND s.session_id = k.session_id AND s.deleted_at IS NOT NULL
RETURNING k.session_id;

-- name: session_key_claim(scope, key, soon, within)
-- Deletes a key that is at least so many seconds old, and less than others: its session is for one of those who ask.
DELETE FROM operator_session_key AS k
USING operator_session AS s
WHERE
    k.scope = :scope AND k.key = :key
    AND k.created_at <= now() - make_interval(secs => CAST(:soon AS double precision))
    AND k.created_at > now() - make_interval(secs => CAST(:within AS double precision))
    AND s.session_id = k.session_id AND s.deleted_at IS NULL
RETURNING k.session_id;
