-- name: chunks_append(pod_id, reply_ids, begun_at, offsets, contents)
-- Stores new text of replies that this pod still owns, which are known by when they began, too: after a
-- switch-over that lost commits their ids may be others'. What is stored already, by an attempt whose
-- answer was lost, and replies that somebody else is writing to are passed over. ON CONFLICT would add a
-- record to the log for each row; an attempt that commits meanwhile violates the key instead. NOT EXISTS might
-- be planned as a join with the whole table.
WITH stored AS (
    INSERT INTO operator_reply_chunk (reply_id, "offset", content)
    SELECT m.id, t.start, t.content
    FROM unnest(
        CAST(:reply_ids AS bigint[]), CAST(CAST(:begun_at AS text[]) AS timestamptz[]), CAST(:offsets AS bigint[]),
        CAST(:contents AS text[])
    ) AS t (reply_id, begun_at, start, content)
    CROSS JOIN LATERAL (
        SELECT o.id FROM operator_message AS o
        WHERE
            o.id = t.reply_id AND o.created_at = t.begun_at AND o.owner = :pod_id
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
    WHERE
        (
            SELECT c."offset" FROM operator_reply_chunk AS c
            WHERE c.reply_id = t.reply_id AND c."offset" = t.start
        ) IS NULL
    RETURNING reply_id
)

SELECT count(*) AS stored FROM stored;

-- name: chunks_ends(pod_id, reply_ids, begun_at)
-- Up to where the text is stored of those of the replies that this pod still owns.
SELECT m.id AS reply_id, {{stored_end}} AS stored_end
FROM unnest(CAST(:reply_ids AS bigint[]), CAST(CAST(:begun_at AS text[]) AS timestamptz[])) AS t (reply_id, begun_at)
INNER JOIN operator_message AS m ON t.reply_id = m.id AND t.begun_at = m.created_at
WHERE m.owner = :pod_id;

-- name: chunks_after(reply_ids, offsets)
-- The stored text of replies, each from an offset on, in order.
SELECT c.reply_id, c."offset", c.content
FROM unnest(CAST(:reply_ids AS bigint[]), CAST(:offsets AS bigint[])) AS t (reply_id, start)
INNER JOIN operator_reply_chunk AS c ON t.reply_id = c.reply_id AND t.start <= c."offset"
ORDER BY c.reply_id, c."offset";

-- name: chunks_purge()
-- Deletes text of replies that have ended, which a crash may have left.
DELETE FROM operator_reply_chunk
WHERE
    (reply_id, "offset") IN (
        SELECT c.reply_id, c."offset"
        FROM operator_reply_chunk AS c
        INNER JOIN operator_message AS m ON c.reply_id = m.id
        WHERE m.status <> 'streaming'
        FOR UPDATE OF c SKIP LOCKED
    );
