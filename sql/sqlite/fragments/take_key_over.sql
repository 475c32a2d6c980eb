-- The rest of insert_key_of_reply: a chat without a key stores none, and the key of an intent is taken over from an
-- earlier call. One that may not be taken would stand for no reply, which the table refuses.
:key IS NOT NULL
ON CONFLICT (scope, key) DO UPDATE
SET
    body_hash = excluded.body_hash,
    session_id = excluded.session_id,
    message_id = excluded.message_id,
    reply_id = (
        SELECT excluded.reply_id
        FROM given
        WHERE
            :session_id = excluded.session_id AND :renewed_after IS NOT NULL
            AND (
                NOT (operator_chat_key.repeated OR excluded.repeated)
                OR operator_chat_key.created_at <= now(-1 * :renewed_after)
            )
    ),
    created_at = excluded.created_at,
    repeated = excluded.repeated
