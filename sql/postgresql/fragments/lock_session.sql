-- The session, locked before anything of it is written: all writes lock in this order.
(
    SELECT session_id FROM operator_session
    WHERE session_id = :session_id AND deleted_at IS NULL
    FOR NO KEY UPDATE
)
