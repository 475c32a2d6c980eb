-- One more reply to a message that is there already, where the statement before found them.
INSERT INTO operator_message (
    session_id, role, content, status, reply_to, owner, created_at
)
SELECT :session_id, 'assistant', '', 'streaming', :message_id, :pod_id, now()
WHERE changes() = 1
RETURNING
    reply_to AS message_id, id AS reply_id,
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS last_seq,
    (SELECT s.epoch FROM operator_session AS s WHERE s.session_id = :session_id) AS epoch,
    NULL AS exchanges, created_at AS ts
