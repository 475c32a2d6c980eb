-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_waiting;

CREATE INDEX CONCURRENTLY operator_browser_task_waiting ON operator_browser_task (not_before, id)
WHERE status = 'pending';

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_turn;

CREATE INDEX CONCURRENTLY operator_browser_task_turn ON operator_browser_task (user_id, not_before, id)
WHERE status = 'pending';

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_next;
