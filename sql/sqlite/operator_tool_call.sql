-- name: tool_calls_of(message_ids)
-- The tool calls of some messages, in order.
SELECT
    id, message_id, tool_name, status, duration_ms, arguments, result, error, created_at,
    finished_at
FROM operator_tool_call
WHERE message_id IN (SELECT value FROM json_each(:message_ids))
ORDER BY message_id, id;
