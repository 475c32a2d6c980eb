-- Stores the chat's key, if it has one that was not taken over, for a row of numbered.
(
    INSERT INTO operator_chat_key (
        scope, key, body_hash, session_id, message_id, reply_id, repeated
    )
    SELECT
        :scope, :key, :body_hash, session_id, message_id, reply_id,
        coalesce(CAST(:repeated AS boolean), FALSE)
    FROM numbered
    WHERE CAST(:key AS text) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM renewed)
)
