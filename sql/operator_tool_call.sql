-- name: tool_call_get(tool_call_id, viewer)^
-- One tool call, where the viewer may see its session.
SELECT {{tool_call_columns}}
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE
    c.id = :tool_call_id AND s.deleted_at IS NULL
    AND (CAST(:viewer AS text) IS NULL OR s.user_id = :viewer);

-- name: tool_call_page(message_id, after, page, bytes)
-- Tool calls of a message, oldest first, newer than the one with the id after.
WITH page AS (
    SELECT
        {{tool_call_size}} AS size,
        c.id AS place
    FROM operator_tool_call AS c
    WHERE c.message_id = :message_id AND c.id > :after
    ORDER BY c.id
    LIMIT :page
)

SELECT
    {{tool_call_columns}},
    {{tool_call_size}} AS size,
    (SELECT count(*) FROM page) AS found
FROM operator_tool_call AS c
WHERE c.message_id = :message_id AND c.id > :after
ORDER BY c.id
LIMIT {{rows_that_fit}};
