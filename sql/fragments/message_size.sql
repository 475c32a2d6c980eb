-- The bytes of a message m, and of what is stored of its text while it is being written.
octet_length(m.content) + coalesce(octet_length(CAST(m.metadata AS text)), 0)
+ CASE
    WHEN m.status = 'streaming' THEN coalesce(
        (SELECT sum(octet_length(c.content)) FROM operator_reply_chunk AS c WHERE c.reply_id = m.id), 0
    )
    ELSE 0
END
