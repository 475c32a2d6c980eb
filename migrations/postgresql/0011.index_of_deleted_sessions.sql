-- The queue of the sessions whose rows are still to be deleted.
-- transactional: false
-- depends: 0010.deleted_sessions

-- One that was left half made by a start that was killed is made anew.
DROP INDEX CONCURRENTLY IF EXISTS operator_session_deleted;

CREATE INDEX CONCURRENTLY operator_session_deleted ON operator_session (deleted_at)
WHERE deleted_at IS NOT NULL;
