-- True where the session of the task t is being deleted.
EXISTS (
    SELECT 1 FROM operator_session AS d
    WHERE d.session_id = t.session_id AND d.deleted_at IS NOT NULL
)
