-- Stores the user's message, where the statement before found its session.
INSERT INTO operator_message (
    session_id, role, content, status, metadata, created_at, finished_at
)
SELECT :session_id, 'user', :content, 'complete', :metadata, now(), now() WHERE changes() = 1
