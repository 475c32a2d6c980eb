-- The columns of a browser task t, without its picture.
t.id, t.task_id, t.session_id, t.user_id, t.url, t.status, t.options, t.owner, t.attempts,
t.deaths, t.not_before, t.cancel_requested, t.result, t.error, t.duration_ms, t.created_at,
t.started_at, t.completed_at, t.screenshot_etag
