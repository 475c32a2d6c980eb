-- The end of what is stored of the text of a reply m, in code points.
coalesce(
    (
        SELECT c."offset" + length(c.content) FROM operator_reply_chunk AS c
        WHERE c.reply_id = m.id
        ORDER BY c."offset" DESC
        LIMIT 1
    ),
    0
)
