-- One index of waiting tasks, which no other can take the place of: where few tasks waited when PostgreSQL last looked,
-- it took the one of their times or the one of states, and a claim read the tasks of all users for each user. Processes
-- of the version before still claim without it, slowly.
-- transactional: false
-- depends: 0025.event_days_alone

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_next;

-- Nothing but this index has the state as IS TRUE.
CREATE INDEX CONCURRENTLY operator_browser_task_next ON operator_browser_task (user_id, not_before, id)
WHERE (status = 'pending') IS TRUE;

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_turn;

DROP INDEX CONCURRENTLY IF EXISTS operator_browser_task_waiting;
