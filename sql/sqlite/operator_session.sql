-- name: session_search(q, user_id, before_at, before_id, page)
-- Sessions with a finished message that has all words of q, newest first.
SELECT
    s.id, s.session_id, s.epoch, s.user_id, s.source, s.last_seq, s.message_count, s.metadata,
    s.created_at, s.updated_at, s.active_at
FROM operator_session AS s
WHERE
    s.session_id IN (
        SELECT m.session_id FROM operator_message_search AS f
        INNER JOIN operator_message AS m ON f.rowid = m.id
        WHERE operator_message_search MATCH :q
    )
    AND (:user_id IS NULL OR s.user_id = :user_id)
    AND (s.active_at, s.id) < (:before_at, :before_id)
ORDER BY s.active_at DESC, s.id DESC
LIMIT :page;

-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
WITH seqs AS MATERIALIZED (SELECT key, value FROM json_each(:seqs))

SELECT i.value AS session_id, s.epoch, s.last_seq
FROM json_each(:session_ids) AS i
CROSS JOIN seqs AS q ON i.key = q.key
LEFT JOIN operator_session AS s ON i.value = s.session_id
WHERE s.last_seq IS NOT q.value;
