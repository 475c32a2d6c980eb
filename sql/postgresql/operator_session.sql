-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
SELECT w.session_id, CAST(s.epoch AS text) AS epoch, s.last_seq
FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
LEFT JOIN operator_session AS s ON w.session_id = s.session_id
WHERE s.last_seq IS DISTINCT FROM w.seq;
