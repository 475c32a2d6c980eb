-- The next number of the session of a row of stored.
(
    UPDATE operator_session AS s SET last_seq = s.last_seq + 1, updated_at = now()
    FROM stored
    WHERE s.session_id = stored.session_id
    RETURNING s.session_id, s.last_seq
)
