-- name: history_keep(fresh, server, unseen)
-- Notes that the database is in use; a file has no server. Where nobody did so for unseen
-- seconds, it gets the id fresh.
UPDATE operator_history
SET
    id = CASE WHEN seen_at BETWEEN now(-1 * :unseen) AND now(:unseen) THEN id ELSE :fresh END,
    server = :server,
    seen_at = now()
RETURNING id, server, seen_at;
