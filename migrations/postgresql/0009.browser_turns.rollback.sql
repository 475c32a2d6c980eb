-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_turn;
