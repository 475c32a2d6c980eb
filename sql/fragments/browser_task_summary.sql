-- The columns of a browser task, without the large parts of its result.
id, task_id, session_id, user_id, url, status, attempts, error, duration_ms, created_at,
started_at, completed_at, screenshot_etag,
CAST(result ->> 'http_status' AS bigint) AS http_status,
result ->> 'title' AS title, result ->> 'text_snippet' AS text_snippet,
result ->> 'final_url' AS final_url
