-- name: session_get(session_id, viewer)
-- One session, where the viewer may see it.
SELECT {{session_columns}}
FROM operator_session AS s
WHERE s.session_id = :session_id AND {{visible_session}};

-- name: session_page(before_at, before_id, page, bytes)
-- Sessions of all users, newest first, before a place in that order.
/*+ page of :bytes */
SELECT {{session_columns}}, {{session_size}} AS size
FROM operator_session AS s
WHERE (s.active_at, s.id) < (:before_at, :before_id) AND s.deleted_at IS NULL
ORDER BY s.active_at DESC, s.id DESC
LIMIT :page;

-- name: session_page_of_user(user_id, before_at, before_id, page, bytes)
-- Sessions of one user, newest first, before a place in that order.
/*+ page of :bytes */
SELECT {{session_columns}}, {{session_size}} AS size
FROM operator_session AS s
WHERE
    s.user_id = :user_id AND (s.active_at, s.id) < (:before_at, :before_id)
    AND s.deleted_at IS NULL
ORDER BY s.active_at DESC, s.id DESC
LIMIT :page;

-- name: session_being_deleted(session_id)
-- A session that is gone for everybody, and whose rows are not all deleted yet.
SELECT session_id FROM operator_session
WHERE session_id = :session_id AND deleted_at IS NOT NULL;

-- name: session_set_metadata(session_id, viewer, metadata)
-- Replaces the metadata of a session.
UPDATE operator_session SET metadata = :metadata, updated_at = now()
WHERE
    session_id = :session_id AND deleted_at IS NULL
    AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer)
RETURNING id;
