-- Indexes for what was read row by row: a user's tasks of a rare status, and the replies that are being written in a session.
-- transactional: false
-- depends: 0004.old_search_index

-- By -id, so that nothing but this index has the order: the one of all ids looks cheap where a status is rare.
-- One that was left half made by a start that was killed is made anew.
DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_user_status;

CREATE INDEX CONCURRENTLY operator_browser_task_user_status ON operator_browser_task (user_id, status, (-id));

DROP INDEX CONCURRENTLY IF EXISTS operator_message_streaming_session;

CREATE INDEX CONCURRENTLY operator_message_streaming_session ON operator_message (session_id)
WHERE status = 'streaming';
