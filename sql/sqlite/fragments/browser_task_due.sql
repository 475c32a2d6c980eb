-- The task that is due first, by its id and session. Left alone, SQLite sorts all that wait by
-- another index.
(
    SELECT d.id, d.session_id
    FROM operator_browser_task AS d INDEXED BY operator_browser_task_waiting
    WHERE d.status = 'pending' AND d.not_before <= now()
    ORDER BY d.not_before, d.id
    LIMIT 1
)
