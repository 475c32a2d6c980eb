-- name: chunks_append(pod_id, reply_ids, offsets, contents)
-- Stores new text of replies that this pod still owns.
INSERT INTO operator_reply_chunk (reply_id, "offset", content)
SELECT r.value, json_extract(:offsets, r.fullkey), json_extract(:contents, r.fullkey)
FROM json_each(:reply_ids) AS r
-- CROSS keeps this order: the other way round each of the pod's replies would be looked for
-- in the whole list.
CROSS JOIN operator_message AS m ON r.value = m.id
WHERE m.owner = :pod_id AND m.status = 'streaming'
RETURNING reply_id;

-- name: chunks_after(reply_ids, offsets)
-- The stored text of replies, each from an offset on, in order.
SELECT c.reply_id, c."offset", c.content
FROM json_each(:reply_ids) AS r
INNER JOIN json_each(:offsets) AS o ON r.key = o.key
INNER JOIN operator_reply_chunk AS c ON r.value = c.reply_id AND o.value <= c."offset"
ORDER BY c.reply_id, c."offset";

-- name: chunks_purge()
-- Deletes text of replies that have ended, which a crash may have left.
DELETE FROM operator_reply_chunk
WHERE reply_id IN (SELECT id FROM operator_message WHERE status <> 'streaming');
