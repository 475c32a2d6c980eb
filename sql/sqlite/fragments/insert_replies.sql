-- Stores the replies to be written to the messages that the statement before stored: their ids follow each other.
INSERT INTO operator_message (
    session_id, role, content, status, reply_to, owner, created_at
)
SELECT u.session_id, 'assistant', '', 'streaming', u.id, :pod_id, now()
FROM operator_message AS u
WHERE u.id > last_insert_rowid() - changes() AND u.id <= last_insert_rowid()
ORDER BY u.id
