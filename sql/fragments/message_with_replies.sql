-- A message that the viewer may see, with all replies to it; and with_question the message that it alone replies to.
(
    SELECT m.id, m.session_id
    FROM operator_message AS m
    INNER JOIN operator_session AS s ON m.session_id = s.session_id
    WHERE
        s.deleted_at IS NULL AND (CAST(:viewer AS text) IS NULL OR s.user_id = :viewer)
        AND (m.id = :message_id OR m.reply_to = :message_id)
    UNION ALL
    SELECT q.id, q.session_id
    FROM operator_message AS r
    INNER JOIN operator_message AS q ON r.reply_to = q.id
    INNER JOIN operator_session AS s ON q.session_id = s.session_id
    WHERE
        s.deleted_at IS NULL AND (CAST(:viewer AS text) IS NULL OR s.user_id = :viewer)
        AND r.id = :message_id AND CAST(:with_question AS boolean)
        AND NOT EXISTS (
            SELECT 1 FROM operator_message AS o WHERE o.reply_to = q.id AND o.id <> r.id
        )
)
