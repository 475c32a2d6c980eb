-- Stores the user's message and the reply to be written, of each row of numbered.
(
    INSERT INTO operator_message (
        id, session_id, role, content, status, reply_to, owner, metadata, finished_at
    )
    SELECT message_id, session_id, 'user', content, 'complete', NULL, NULL, metadata, now()
    FROM numbered
    UNION ALL
    SELECT
        reply_id, session_id, 'assistant', '', 'streaming', message_id, :pod_id,
        CAST(NULL AS jsonb), NULL
    FROM numbered
)
