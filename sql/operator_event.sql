-- name: events_after(session_id, after, page, bytes)
-- Events of a session in order, with the messages that they are about.
WITH page AS (
    SELECT
        e.seq AS place,
        {{event_size}} AS size
    FROM operator_event AS e
    LEFT JOIN operator_message AS m ON e.message_id = m.id
    WHERE e.session_id = :session_id AND e.seq > :after
    ORDER BY e.seq
    LIMIT :page
)

SELECT
    {{event_columns}},
    {{event_size}} AS size,
    (SELECT count(*) FROM page) AS found
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.seq > :after
ORDER BY e.seq
LIMIT {{rows_that_fit}};

-- name: events_of_message(session_id, message_id)
-- The events that are about one message, in order.
SELECT {{event_columns}}
FROM operator_event AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
WHERE e.session_id = :session_id AND e.message_id = :message_id
ORDER BY e.seq;
