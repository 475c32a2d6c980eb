-- name: tool_calls_of(message_ids)
-- The tool calls of some messages, in order.
SELECT
    id, message_id, tool_name, status, duration_ms, arguments, result, error, created_at,
    finished_at
FROM operator_tool_call
WHERE message_id IN (SELECT value FROM json_each(:message_ids))
ORDER BY message_id, id;

-- name: tool_call_record(message_id, viewer, tool_name, status, duration_ms, arguments, result, error)
-- Stores a tool call of a message, and the event that says so.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = (SELECT m.session_id FROM operator_message AS m WHERE m.id = :message_id)
    AND (:viewer IS NULL OR user_id = :viewer);

INSERT INTO operator_tool_call (
    message_id, tool_name, status, duration_ms, arguments, result, error, created_at, finished_at
)
SELECT
    :message_id, :tool_name, :status, :duration_ms, :arguments, :result, :error, now(),
    CASE WHEN :status <> 'pending' THEN now() END
WHERE changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'tool_call.recorded', now(),
    json_object(
        'id', c.id, 'message_id', c.message_id, 'tool_name', c.tool_name, 'status', c.status,
        'duration_ms', c.duration_ms, 'error', c.error,
        'created_at', c.created_at, 'finished_at', c.finished_at
    )
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE c.id = last_insert_rowid() AND changes() = 1;

SELECT
    c.id, c.message_id, c.tool_name, c.status, c.duration_ms, c.arguments, c.result, c.error,
    c.created_at, c.finished_at, e.session_id, e.seq, e.ts, e.data
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
INNER JOIN operator_event AS e ON s.session_id = e.session_id AND s.last_seq = e.seq
WHERE c.id = last_insert_rowid() AND changes() = 1;

-- name: tool_call_finish(tool_call_id, message_id, viewer, status, duration_ms, arguments, result, error)
-- Ends a pending tool call, and stores the event that says so. What is NULL stays as it was.
UPDATE operator_tool_call
SET
    status = :status,
    duration_ms = coalesce(:duration_ms, duration_ms),
    arguments = coalesce(:arguments, arguments),
    result = coalesce(:result, result),
    error = coalesce(:error, error),
    finished_at = now()
WHERE
    id = :tool_call_id AND status = 'pending'
    AND (:message_id IS NULL OR message_id = :message_id)
    AND message_id IN (
        SELECT m.id FROM operator_message AS m
        INNER JOIN operator_session AS s ON m.session_id = s.session_id
        WHERE m.id = operator_tool_call.message_id AND (:viewer IS NULL OR s.user_id = :viewer)
    );

UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = (
        SELECT m.session_id FROM operator_message AS m
        INNER JOIN operator_tool_call AS c ON m.id = c.message_id
        WHERE c.id = :tool_call_id
    )
    AND changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'tool_call.recorded', now(),
    json_object(
        'id', c.id, 'message_id', c.message_id, 'tool_name', c.tool_name, 'status', c.status,
        'duration_ms', c.duration_ms, 'error', c.error,
        'created_at', c.created_at, 'finished_at', c.finished_at
    )
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE c.id = :tool_call_id AND changes() = 1;

SELECT
    c.id, c.message_id, c.tool_name, c.status, c.duration_ms, c.arguments, c.result, c.error,
    c.created_at, c.finished_at, e.session_id, e.seq, e.ts, e.data
FROM operator_tool_call AS c
INNER JOIN operator_message AS m ON c.message_id = m.id
INNER JOIN operator_session AS s ON m.session_id = s.session_id
INNER JOIN operator_event AS e ON s.session_id = e.session_id AND s.last_seq = e.seq
WHERE c.id = :tool_call_id AND changes() = 1;
