-- A message u that a prompt's history has: an item of a conversation that an engine is sent, or a user's with the
-- answer a. One without text has parts, such as a picture.
(
    (
        u.metadata -> 'openai' ->> 'item' = 'true'
        AND (u.role <> 'tool' OR u.metadata -> 'openai' -> 'input' IS NOT NULL)
    )
    OR (
        u.role = 'user' AND a.content IS NOT NULL
        AND (
            btrim(u.content, E' \t\r\n') <> ''
            OR u.metadata -> 'openai' -> 'content' IS NOT NULL
            OR u.metadata -> 'openai' -> 'input' IS NOT NULL
        )
    )
)
