-- name: tool_calls_of(message_ids)
-- The tool calls of some messages, in order.
SELECT
    id, message_id, tool_name, status, duration_ms, arguments, result, error, created_at,
    finished_at
FROM operator_tool_call
WHERE message_id = ANY(CAST(:message_ids AS bigint[]))
ORDER BY message_id, id;
