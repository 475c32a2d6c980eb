-- Takes the key of an intent over from an earlier call, for a row of numbered.
(
    UPDATE operator_chat_key AS k
    SET
        body_hash = :body_hash, session_id = n.session_id, message_id = n.message_id,
        reply_id = n.reply_id, created_at = now(), repeated = CAST(:repeated AS boolean)
    FROM numbered AS n
    WHERE
        k.scope = :scope AND k.key = :key
        AND (
            NOT (k.repeated OR CAST(:repeated AS boolean))
            OR k.created_at <= now() - make_interval(secs => CAST(:renewed_after AS double precision))
        )
    RETURNING k.key
)
