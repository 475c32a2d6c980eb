-- A message u that a prompt's history has: a user's with the answer a, or an item of a conversation.
(
    u.role IN ('user', 'system') AND btrim(u.content, E' \t\r\n') <> ''
    AND (a.content IS NOT NULL OR u.metadata -> 'openai' ->> 'item' = 'true')
)
