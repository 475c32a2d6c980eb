-- Deletes the tasks that wait or run in sessions that are marked as deleted.
(
    DELETE FROM operator_browser_task AS t
    USING marked
    WHERE t.session_id = marked.session_id AND t.status IN ('pending', 'running')
)
