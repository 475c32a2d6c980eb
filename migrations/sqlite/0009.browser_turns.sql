-- An index for the next user's first task.
-- depends: 0008.optional_latency

CREATE INDEX operator_browser_task_turn ON operator_browser_task (user_id, not_before, id)
WHERE status = 'pending';
