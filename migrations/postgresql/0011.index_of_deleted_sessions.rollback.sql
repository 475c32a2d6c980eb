-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_session_deleted;
