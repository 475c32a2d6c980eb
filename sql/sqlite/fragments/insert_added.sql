-- Stores the messages in their order, where the statement before changed one row: their session.
INSERT INTO operator_message (
    session_id, role, content, status, metadata, created_at, finished_at
)
SELECT
    :session_id, json_extract(g.value, '$.role'), json_extract(g.value, '$.content'), 'complete',
    json_extract(g.value, '$.metadata'), now(), now()
FROM json_each(:messages) AS g
WHERE changes() = 1
ORDER BY g.key
RETURNING
    id,
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS last_seq,
    created_at AS ts
