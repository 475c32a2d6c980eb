-- An index for the next user's first task.
-- transactional: false
-- depends: 0008.optional_latency

-- One that was left half made by a start that was killed is made anew.
DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_turn;

CREATE INDEX CONCURRENTLY operator_browser_task_turn ON operator_browser_task (user_id, not_before, id)
WHERE status = 'pending';
