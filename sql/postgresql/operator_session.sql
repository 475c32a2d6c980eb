-- name: session_search(q, user_id, before_at, before_id, page)
-- Sessions with a finished message that has all words of q, newest first.
SELECT
    s.id, s.session_id, s.epoch, s.user_id, s.source, s.last_seq, s.message_count, s.metadata,
    s.created_at, s.updated_at, s.active_at
FROM operator_session AS s
WHERE
    s.session_id IN (
        SELECT m.session_id FROM operator_message AS m
        WHERE
            m.status <> 'streaming'
            AND to_tsvector('simple', left(m.content, 100000)) @@ plainto_tsquery('simple', :q)
    )
    AND (CAST(:user_id AS text) IS NULL OR s.user_id = :user_id)
    AND (s.active_at, s.id) < (:before_at, :before_id)
ORDER BY s.active_at DESC, s.id DESC
LIMIT :page;

-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
SELECT w.session_id, CAST(s.epoch AS text) AS epoch, s.last_seq
FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
LEFT JOIN operator_session AS s ON w.session_id = s.session_id
WHERE s.last_seq IS DISTINCT FROM w.seq;
