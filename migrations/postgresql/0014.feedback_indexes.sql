-- One feedback of clients on each reply, and what is not counted yet, newest first.
-- transactional: false
-- depends: 0013.feedback_kinds

-- One that was left half made by a start that was killed is made anew.
DROP INDEX CONCURRENTLY IF EXISTS operator_switch_feedback_posted;

CREATE UNIQUE INDEX CONCURRENTLY operator_switch_feedback_posted ON operator_switch_feedback (message_id)
WHERE posted;

DROP INDEX CONCURRENTLY IF EXISTS operator_switch_feedback_unmarked;

CREATE INDEX CONCURRENTLY operator_switch_feedback_unmarked ON operator_switch_feedback (created_at, id)
WHERE posted IS NULL;
