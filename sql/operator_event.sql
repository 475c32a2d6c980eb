-- name: events_after(session_id, after, page)
-- Events of a session in order, with the messages that they are about.
SELECT
    e.session_id, e.seq, e.event, e.ts, e.message_id, e.data,
    m.role, m.content, m.status, m.reply_to, m.metadata, m.created_at, m.finished_at
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.seq > :after
ORDER BY e.seq
LIMIT :page;

-- name: events_of_message(session_id, message_id)
-- The events that are about one message, in order.
SELECT
    e.session_id, e.seq, e.event, e.ts, e.message_id, e.data,
    m.role, m.content, m.status, m.reply_to, m.metadata, m.created_at, m.finished_at
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.message_id = :message_id
ORDER BY e.seq;
