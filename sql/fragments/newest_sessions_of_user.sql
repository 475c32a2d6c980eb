-- So many of the newest sessions of a user before a place.
(
    SELECT n.id, n.session_id, n.active_at, n.message_count FROM operator_session AS n
    WHERE
        n.user_id = :user_id AND (n.active_at, n.id) < (:before_at, :before_id)
        AND n.deleted_at IS NULL
    ORDER BY n.active_at DESC, n.id DESC
    LIMIT :sessions
)
