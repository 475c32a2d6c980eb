-- The event of the reply that the statement before stored.
INSERT INTO operator_event (session_id, seq, event, ts, message_id)
SELECT s.session_id, s.last_seq, 'reply.started', now(), last_insert_rowid()
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1
