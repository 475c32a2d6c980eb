-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
WITH seqs AS MATERIALIZED (SELECT key, value FROM json_each(:seqs))

SELECT i.value AS session_id, s.epoch, s.last_seq
FROM json_each(:session_ids) AS i
CROSS JOIN seqs AS q ON i.key = q.key
LEFT JOIN operator_session AS s ON i.value = s.session_id
WHERE s.last_seq IS NOT q.value;
