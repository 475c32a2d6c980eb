-- The session, locked before anything of it is written: all writes lock in this order.
(
    SELECT session_id FROM operator_session WHERE session_id = :session_id FOR NO KEY UPDATE
)
