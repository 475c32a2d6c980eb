-- A message u that a prompt's history has: a user's with the answer a, or an item of a conversation. One without
-- text has parts, such as a picture.
(
    u.role IN ('user', 'system')
    AND (
        btrim(u.content, E' \t\r\n') <> ''
        OR u.metadata -> 'openai' -> 'content' IS NOT NULL
        OR u.metadata -> 'openai' -> 'input' IS NOT NULL
    )
    AND (a.content IS NOT NULL OR u.metadata -> 'openai' ->> 'item' = 'true')
)
