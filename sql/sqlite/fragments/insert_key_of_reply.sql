-- Stores the chat's key, for the one of the newest replies that is in its session: of those whose events the
-- statement before stored.
INSERT INTO operator_chat_key (
    scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
)
SELECT
    :scope, :key, :body_hash, r.session_id, r.reply_to, r.id, now(), coalesce(:repeated, FALSE)
FROM given
CROSS JOIN operator_message AS r
WHERE
    r.session_id = :session_id
    AND r.id <= last_insert_rowid() AND r.id > last_insert_rowid()
