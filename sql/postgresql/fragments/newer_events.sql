-- The events of a session after a number, as a row w tells both: for each row one look into the index of each day,
-- where a join could be planned as a walk over all sessions.
(
    SELECT o.session_id, o.seq, o.event, o.ts, o.message_id, o.data
    FROM operator_event AS o
    WHERE o.session_id = w.session_id AND o.seq > w.seq
    ORDER BY o.seq
    LIMIT :page
)
