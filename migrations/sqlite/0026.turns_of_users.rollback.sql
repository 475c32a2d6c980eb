CREATE INDEX operator_browser_task_waiting ON operator_browser_task (not_before, id)
WHERE status = 'pending';
