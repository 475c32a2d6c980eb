-- The session of a row f. LIMIT: it keeps the planner from reading all sessions for a few.
LATERAL (
    SELECT
        t.id, t.session_id, t.epoch, t.user_id, t.source, t.last_seq, t.message_count, t.metadata,
        t.created_at, t.updated_at, t.active_at
    FROM operator_session AS t
    WHERE t.id = f.id
    LIMIT 1
)
