-- name: tool_call_record(message_id, viewer, tool_name, status, duration_ms, arguments, result, error, data)
-- Stores a tool call of a message, and the event that says so.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = (SELECT m.session_id FROM operator_message AS m WHERE m.id = :message_id)
    AND deleted_at IS NULL
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
    json_set(
        :data, '$.id', last_insert_rowid(), '$.created_at', now(),
        '$.finished_at', CASE WHEN :status <> 'pending' THEN now() END
    )
FROM operator_session AS s
WHERE
    s.session_id = (SELECT m.session_id FROM operator_message AS m WHERE m.id = :message_id)
    AND changes() = 1
RETURNING seq, data, ts, data ->> 'id' AS id, session_id;

-- name: tool_call_finish(tool_call_id, status, duration_ms, arguments, result, error, data)
-- Ends a pending tool call, and stores the event that says so.
UPDATE operator_tool_call
SET
    status = :status, duration_ms = :duration_ms, arguments = :arguments, result = :result,
    error = :error, finished_at = now()
WHERE id = :tool_call_id AND status = 'pending';

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
    s.session_id, s.last_seq, 'tool_call.recorded', now(), json_set(:data, '$.finished_at', now())
FROM operator_session AS s
WHERE
    s.session_id = (
        SELECT m.session_id FROM operator_message AS m
        INNER JOIN operator_tool_call AS c ON m.id = c.message_id
        WHERE c.id = :tool_call_id
    )
    AND changes() = 1
RETURNING seq, data, ts, data ->> 'id' AS id, session_id;
