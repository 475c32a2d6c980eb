-- name: tool_call_get(tool_call_id, viewer)^
-- One tool call, where the viewer may see its session.
SELECT
    c.id, c.message_id, c.tool_name, c.status, c.duration_ms, c.arguments, c.result, c.error,
    c.created_at, c.finished_at
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE
    c.id = :tool_call_id AND s.deleted_at IS NULL
    AND (CAST(:viewer AS text) IS NULL OR s.user_id = :viewer);

-- name: tool_call_page(message_id, after, page)
-- Tool calls of a message, oldest first, newer than the one with the id after.
SELECT
    id, message_id, tool_name, status, duration_ms, arguments, result, error, created_at,
    finished_at
FROM operator_tool_call
WHERE message_id = :message_id AND id > :after
ORDER BY id
LIMIT :page;
