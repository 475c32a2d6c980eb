-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_switch_feedback_unmarked;

DROP INDEX CONCURRENTLY IF EXISTS operator_switch_feedback_posted;
