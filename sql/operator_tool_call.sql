-- name: tool_call_get(tool_call_id, viewer)
-- One tool call, where the viewer may see its session.
SELECT {{tool_call_columns}}
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE c.id = :tool_call_id AND {{visible_session}};

-- name: tool_call_page(message_id, after, page, bytes)
-- Tool calls of a message, oldest first, newer than the one with the id after.
/*+ page of :bytes */
SELECT {{tool_call_columns}}, {{tool_call_size}} AS size
FROM operator_tool_call AS c
WHERE c.message_id = :message_id AND c.id > :after
ORDER BY c.id
LIMIT :page;

-- name: tool_calls_of(message_ids, page, bytes)
-- The tool calls of some messages: those of the newest message first, in order within each.
/*+ page of :bytes */
SELECT {{tool_call_columns}}, {{tool_call_size}} AS size
FROM operator_tool_call AS c
WHERE {{of_listed_messages}}
ORDER BY c.message_id DESC, c.id ASC
LIMIT :page;
