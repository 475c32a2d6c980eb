-- One feedback of clients on each reply, and what is not counted yet, newest first.
-- depends: 0013.feedback_kinds

CREATE UNIQUE INDEX operator_switch_feedback_posted ON operator_switch_feedback (message_id)
WHERE posted = 1;

CREATE INDEX operator_switch_feedback_unmarked ON operator_switch_feedback (created_at, id)
WHERE posted IS NULL;
