-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_message_streaming_session;

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_user_status;
