-- name: chunks_append(pod_id, reply_ids, offsets, contents)
-- Stores new text of replies that this pod still owns.
INSERT INTO operator_reply_chunk (reply_id, "offset", content)
SELECT m.id, t.start, t.content
FROM unnest(
    CAST(:reply_ids AS bigint[]), CAST(:offsets AS bigint[]), CAST(:contents AS text[])
) AS t (reply_id, start, content)
INNER JOIN (
    SELECT id FROM operator_message
    WHERE
        id = ANY(CAST(:reply_ids AS bigint[])) AND owner = :pod_id AND status = 'streaming'
    FOR SHARE
) AS m ON t.reply_id = m.id
RETURNING reply_id;

-- name: chunks_after(reply_ids, offsets)
-- The stored text of replies, each from an offset on, in order.
SELECT c.reply_id, c."offset", c.content
FROM unnest(CAST(:reply_ids AS bigint[]), CAST(:offsets AS bigint[])) AS t (reply_id, start)
INNER JOIN operator_reply_chunk AS c ON t.reply_id = c.reply_id AND t.start <= c."offset"
ORDER BY c.reply_id, c."offset";

-- name: chunks_purge()
-- Deletes text of replies that have ended, which a crash may have left.
DELETE FROM operator_reply_chunk AS c
USING operator_message AS m
WHERE c.reply_id = m.id AND m.status <> 'streaming';
