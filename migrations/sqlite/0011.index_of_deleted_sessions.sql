-- The queue of the sessions whose rows are still to be deleted.
-- depends: 0010.deleted_sessions

CREATE INDEX operator_session_deleted ON operator_session (deleted_at)
WHERE deleted_at IS NOT NULL;
