-- name: tool_call_record(message_id, viewer, tool_name, status, duration_ms, arguments, result, error, data)
-- Stores a tool call of a message, and the event that says so.
WITH session AS MATERIALIZED (
    SELECT s.session_id FROM operator_session AS s
    WHERE
        s.session_id = (SELECT m.session_id FROM operator_message AS m WHERE m.id = :message_id)
        AND {{visible_session}}
    FOR NO KEY UPDATE
),

stored AS (
    INSERT INTO operator_tool_call (
        message_id, tool_name, status, duration_ms, arguments, result, error, finished_at
    )
    SELECT
        :message_id, :tool_name, CAST(:status AS text), :duration_ms, :arguments, :result, :error,
        CASE WHEN CAST(:status AS text) <> 'pending' THEN now() END
    FROM session
    RETURNING id, created_at, finished_at
),

numbered AS (
    UPDATE operator_session AS s SET last_seq = s.last_seq + 1, updated_at = now()
    FROM session
    WHERE s.session_id = session.session_id AND EXISTS (SELECT 1 FROM stored)
    RETURNING s.session_id, s.last_seq
)

INSERT INTO operator_event (session_id, seq, event, data)
SELECT
    n.session_id, n.last_seq, 'tool_call.recorded',
    CAST(:data AS jsonb) || jsonb_build_object(
        'id', c.id,
        'created_at', to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'finished_at', to_char(c.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )
FROM numbered AS n CROSS JOIN stored AS c
RETURNING seq, data, ts, CAST(data ->> 'id' AS bigint) AS id, session_id;

-- name: tool_call_finish(tool_call_id, status, duration_ms, arguments, result, error, data)
-- Ends a pending tool call, and stores the event that says so.
WITH session AS MATERIALIZED (
    SELECT s.session_id FROM operator_session AS s
    WHERE
        s.session_id = (
            SELECT m.session_id FROM operator_message AS m
            INNER JOIN operator_tool_call AS c ON m.id = c.message_id
            WHERE c.id = :tool_call_id
        )
        AND s.deleted_at IS NULL
    FOR NO KEY UPDATE
),

stored AS (
    UPDATE operator_tool_call AS c
    SET
        status = :status, duration_ms = :duration_ms, arguments = :arguments, result = :result,
        error = :error, finished_at = now()
    FROM session
    WHERE c.id = :tool_call_id AND c.status = 'pending'
    RETURNING session.session_id
),

numbered AS {{next_seq}}

INSERT INTO operator_event (session_id, seq, event, data)
SELECT
    n.session_id, n.last_seq, 'tool_call.recorded',
    CAST(:data AS jsonb) || jsonb_build_object(
        'finished_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )
FROM numbered AS n
RETURNING seq, data, ts, CAST(data ->> 'id' AS bigint) AS id, session_id;
