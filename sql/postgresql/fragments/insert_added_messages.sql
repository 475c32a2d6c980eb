-- Stores the messages of added, which nobody is to answer.
(
    INSERT INTO operator_message (id, session_id, role, content, status, metadata, finished_at)
    SELECT
        id, session_id, message ->> 'role', message ->> 'content', 'complete',
        message -> 'metadata', now()
    FROM added
)
