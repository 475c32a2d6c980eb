-- name: chunks_append(pod_id, reply_ids, begun_at, offsets, contents)
-- Stores new text of replies that this pod still owns; what is stored already is passed over. How
-- many were stored is one row: for each row that it returns, the thread gives the interpreter away.
-- CROSS keeps the order of the list: the other way round each of the pod's replies would be looked
-- for in all of it. MATERIALIZED gives the other lists an index.
WITH begun AS MATERIALIZED (SELECT key, value FROM json_each(:begun_at)),

offsets AS MATERIALIZED (SELECT key, value FROM json_each(:offsets)),

contents AS MATERIALIZED (SELECT key, value FROM json_each(:contents))

INSERT INTO operator_reply_chunk (reply_id, "offset", content)
SELECT r.value, o.value, c.value
FROM json_each(:reply_ids) AS r
CROSS JOIN begun AS b ON r.key = b.key
CROSS JOIN offsets AS o ON r.key = o.key
CROSS JOIN contents AS c ON r.key = c.key
CROSS JOIN operator_message AS m ON r.value = m.id AND b.value = m.created_at
WHERE m.owner = :pod_id AND m.status = 'streaming'
ON CONFLICT (reply_id, "offset") DO NOTHING;

SELECT changes() AS stored;

-- name: chunks_ends(pod_id, reply_ids, begun_at)
-- Up to where the text is stored of those of the replies that this pod still owns.
WITH begun AS MATERIALIZED (SELECT key, value FROM json_each(:begun_at))

SELECT m.id AS reply_id, {{stored_end}} AS stored_end
FROM json_each(:reply_ids) AS r
CROSS JOIN begun AS b ON r.key = b.key
CROSS JOIN operator_message AS m ON r.value = m.id AND b.value = m.created_at
WHERE m.owner = :pod_id AND m.status = 'streaming';

-- name: chunks_after(reply_ids, offsets)
-- The stored text of replies, each from an offset on, in order.
WITH offsets AS MATERIALIZED (SELECT key, value FROM json_each(:offsets))

SELECT c.reply_id, c."offset", c.content
FROM json_each(:reply_ids) AS r
CROSS JOIN offsets AS o ON r.key = o.key
CROSS JOIN operator_reply_chunk AS c ON r.value = c.reply_id AND o.value <= c."offset"
ORDER BY c.reply_id, c."offset";

-- name: chunks_purge()
-- Deletes text of replies that have ended, which a crash may have left.
DELETE FROM operator_reply_chunk
WHERE
    reply_id IN (
        SELECT c.reply_id FROM operator_reply_chunk AS c
        CROSS JOIN operator_message AS m ON c.reply_id = m.id
        WHERE m.status <> 'streaming'
    );
