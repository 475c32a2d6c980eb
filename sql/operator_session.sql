-- name: session_get(session_id, viewer)^
-- One session, where the viewer may see it.
SELECT
    id, session_id, epoch, user_id, source, last_seq, message_count, metadata,
    created_at, updated_at, active_at
FROM operator_session
WHERE session_id = :session_id AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer);

-- name: session_page(before_at, before_id, page)
-- Sessions of all users, newest first, before a place in that order.
SELECT
    id, session_id, epoch, user_id, source, last_seq, message_count, metadata,
    created_at, updated_at, active_at
FROM operator_session
WHERE (active_at, id) < (:before_at, :before_id)
ORDER BY active_at DESC, id DESC
LIMIT :page;

-- name: session_page_of_user(user_id, before_at, before_id, page)
-- Sessions of one user, newest first, before a place in that order.
SELECT
    id, session_id, epoch, user_id, source, last_seq, message_count, metadata,
    created_at, updated_at, active_at
FROM operator_session
WHERE user_id = :user_id AND (active_at, id) < (:before_at, :before_id)
ORDER BY active_at DESC, id DESC
LIMIT :page;

-- name: session_delete(session_id, viewer)
-- Deletes a session with all that belongs to it.
DELETE FROM operator_session
WHERE session_id = :session_id AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer)
RETURNING session_id, epoch;
