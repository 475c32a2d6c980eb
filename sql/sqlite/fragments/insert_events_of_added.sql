-- Stores the events of the messages that insert_added stored in the statement before.
INSERT INTO operator_event (session_id, seq, event, ts, message_id)
SELECT s.session_id, s.last_seq - n.newer, 'message.created', now(), n.id
FROM operator_session AS s
CROSS JOIN (
    SELECT m.id, row_number() OVER (ORDER BY m.id DESC) - 1 AS newer
    FROM operator_message AS m
    WHERE m.session_id = :session_id
    ORDER BY m.id DESC
    LIMIT json_array_length(:messages)
) AS n
WHERE s.session_id = :session_id AND changes() = json_array_length(:messages)
