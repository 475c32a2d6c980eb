-- The columns of a browser task t, without the large parts of its result.
t.id, t.task_id, t.session_id, t.user_id, t.url, t.status, t.attempts, t.error, t.duration_ms,
t.created_at, t.started_at, t.completed_at, t.screenshot_etag,
CAST(t.result ->> 'http_status' AS bigint) AS http_status,
t.result ->> 'title' AS title, t.result ->> 'text_snippet' AS text_snippet,
t.result ->> 'final_url' AS final_url
