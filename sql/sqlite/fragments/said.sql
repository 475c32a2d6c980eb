-- Messages of a session that a prompt's history may have: each with its answer, where it has one (the
-- newest complete reply, else the newest with text, else the assistant's message after it that is no
-- item), and whether it is an item of a conversation, which needs none; and the messages and parts that
-- both keep for the engine. One without text has parts, such as a picture.
(
    SELECT
        u.id, u.role, substr(u.content, 1, :max_chars + 1) AS question,
        substr(a.content, 1, :max_chars + 1) AS answer,
        json_extract(u.metadata, '$.openai.item') IS TRUE AS is_item,
        json_remove(
            u.metadata -> '$.openai', '$.parameters', '$.response', '$.messages', '$.instructions'
        ) AS asked,
        json_remove(
            a.metadata -> '$.openai', '$.parameters', '$.response', '$.messages', '$.instructions'
        ) AS replied
    FROM operator_message AS u
    LEFT JOIN operator_message AS a
        ON
            u.role = 'user'
            AND a.id = coalesce(
                (
                    SELECT r.id FROM operator_message AS r
                    WHERE
                        r.reply_to = u.id
                        AND r.status IN ('complete', 'cancelled', 'interrupted')
                        AND trim(r.content, ' ' || char(9, 10, 13)) <> ''
                    ORDER BY r.status = 'complete' DESC, r.id DESC
                    LIMIT 1
                ),
                (
                    SELECT n.id FROM (
                        SELECT m.id, m.role, m.reply_to, m.status, m.content, m.metadata
                        FROM operator_message AS m
                        WHERE
                            m.session_id = u.session_id AND m.id > u.id
                            AND m.role IN ('user', 'assistant')
                        ORDER BY m.id
                        LIMIT 1
                    ) AS n
                    WHERE
                        n.role = 'assistant' AND n.reply_to IS NULL AND n.status = 'complete'
                        AND trim(n.content, ' ' || char(9, 10, 13)) <> ''
                        AND json_extract(n.metadata, '$.openai.item') IS NOT TRUE
                )
            )
    WHERE
        u.session_id = :session_id
        AND (u.role = 'user' OR json_extract(u.metadata, '$.openai.item') IS TRUE)
        AND (
            trim(u.content, ' ' || char(9, 10, 13)) <> ''
            OR json_extract(u.metadata, '$.openai.content') IS NOT NULL
            OR json_extract(u.metadata, '$.openai.input') IS NOT NULL
        )
)
