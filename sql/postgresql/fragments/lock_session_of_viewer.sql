-- The session, locked, where the viewer may see it.
(
    SELECT session_id, user_id FROM operator_session
    WHERE
        session_id = :session_id AND deleted_at IS NULL
        AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer)
    FOR NO KEY UPDATE
)
