-- Stores the chat's key, if it has one, for a row of numbered.
(
    INSERT INTO operator_chat_key (scope, key, body_hash, session_id, message_id, reply_id)
    SELECT :scope, :key, :body_hash, session_id, message_id, reply_id FROM numbered
    WHERE CAST(:key AS text) IS NOT NULL
)
