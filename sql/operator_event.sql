-- name: events_after(session_id, after, page, bytes)
-- Events of a session in order, with the messages that they are about.
/*+ page of :bytes */
SELECT {{event_columns}}, {{event_size}} AS size
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.seq > :after
ORDER BY e.seq
LIMIT :page;

-- name: events_of_message(session_id, message_id)
-- The events that are about one message, in order.
SELECT {{event_columns}}
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.message_id = :message_id
ORDER BY e.seq;
