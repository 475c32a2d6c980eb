-- The columns of a tool call c.
c.id, c.message_id, c.tool_name, c.status, c.duration_ms, c.arguments, c.result, c.error,
c.created_at, c.finished_at
