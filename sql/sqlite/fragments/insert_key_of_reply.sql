-- Stores the chat's key for the reply whose events the statement before stored.
INSERT INTO operator_chat_key (
    scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
)
SELECT
    :scope, :key, :body_hash, r.session_id, r.reply_to, r.id, now(), coalesce(:repeated, FALSE)
FROM operator_message AS r
WHERE r.id = last_insert_rowid() AND changes() > 0
