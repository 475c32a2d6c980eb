-- The text and the metadata of what answers the user's message u: the newest complete reply, else the newest with text,
-- else the assistant's message after it (of an adopted session), if that is no item of a conversation.
(
    (
        SELECT r.content, r.metadata FROM operator_message AS r
        WHERE
            r.reply_to = u.id
            AND r.status IN ('complete', 'cancelled', 'interrupted')
            AND btrim(r.content, E' \t\r\n') <> ''
        ORDER BY r.status = 'complete' DESC, r.id DESC
        LIMIT 1
    )
    UNION ALL
    (
        SELECT n.content, n.metadata FROM (
            SELECT m.role, m.reply_to, m.status, m.content, m.metadata FROM operator_message AS m
            WHERE
                m.session_id = u.session_id AND m.id > u.id
                AND m.role IN ('user', 'assistant')
            ORDER BY m.id
            LIMIT 1
        ) AS n
        WHERE
            n.role = 'assistant' AND n.reply_to IS NULL AND n.status = 'complete'
            AND btrim(n.content, E' \t\r\n') <> ''
            AND (n.metadata -> 'openai' ->> 'item') IS DISTINCT FROM 'true'
    )
    LIMIT 1
)
