-- name: browser_task_get(task_id, viewer)
-- One task, where the viewer may see it.
SELECT {{browser_task_columns}}
FROM operator_browser_task AS t
WHERE
    t.task_id = :task_id AND (CAST(:viewer AS text) IS NULL OR t.user_id = :viewer)
    AND NOT {{in_deleted_session}};

-- name: browser_task_screenshot(task_id)
-- The picture of a task.
SELECT t.task_id, t.screenshot, t.screenshot_etag
FROM operator_browser_task AS t
WHERE t.task_id = :task_id AND t.screenshot_etag IS NOT NULL AND NOT {{in_deleted_session}};

-- name: browser_tasks_waiting(most)
-- The number of waiting tasks, and of those among them that are due; only so many are counted.
SELECT
    count(*) AS pending,
    coalesce(sum(CASE WHEN w.not_before <= now() THEN 1 ELSE 0 END), 0) AS due
FROM (
    SELECT not_before FROM operator_browser_task
    WHERE status = 'pending'
    ORDER BY not_before, id
    LIMIT :most
) AS w;

-- name: browser_tasks_unowned(pod_id)
-- Tasks that pods without a lease run, and those of this pod.
SELECT {{browser_task_columns}}
FROM operator_browser_task AS t
LEFT JOIN operator_pod AS p ON t.owner = p.pod_id
WHERE
    t.status = 'running'
    AND (t.owner = :pod_id OR p.pod_id IS NULL OR p.lease_until < now());

-- name: browser_task_request_cancel(task_id)
-- Asks the pod that runs a task to stop. Who has an owner is running: see reply_fence.
UPDATE operator_browser_task SET cancel_requested = TRUE
WHERE task_id = :task_id AND owner IS NOT NULL
RETURNING task_id;

-- name: browser_tasks_page(before, page, bytes)
-- All tasks, newest first, without the large parts of their results.
/*+ page of :bytes */
SELECT {{browser_task_summary}}, {{browser_task_size}} AS size
FROM operator_browser_task AS t
WHERE t.id < :before AND NOT {{in_deleted_session}}
ORDER BY t.id DESC
LIMIT :page;

-- name: browser_tasks_page_of_status(status, before, page, bytes)
-- The tasks of a status, newest first.
/*+ page of :bytes */
SELECT {{browser_task_summary}}, {{browser_task_size}} AS size
FROM operator_browser_task AS t
WHERE t.status = :status AND t.id < :before AND NOT {{in_deleted_session}}
ORDER BY t.id DESC
LIMIT :page;

-- name: browser_tasks_page_of_user(user_id, before, page, bytes)
-- The tasks of a user, newest first.
/*+ page of :bytes */
SELECT {{browser_task_summary}}, {{browser_task_size}} AS size
FROM operator_browser_task AS t
WHERE t.user_id = :user_id AND t.id < :before AND NOT {{in_deleted_session}}
ORDER BY t.id DESC
LIMIT :page;

-- name: browser_tasks_page_of_user_and_status(user_id, status, before, page, bytes)
-- The tasks of a user that stand so, newest first. By -id: by id PostgreSQL would read all tasks for a rare status.
/*+ page of :bytes */
SELECT {{browser_task_summary}}, {{browser_task_size}} AS size
FROM operator_browser_task AS t
WHERE
    t.user_id = :user_id AND t.status = :status AND -t.id > -CAST(:before AS bigint)
    AND NOT {{in_deleted_session}}
ORDER BY -t.id
LIMIT :page;

-- name: browser_tasks_page_of_session(session_id, user_id, status, before, page, bytes)
-- The tasks of a session, newest first.
/*+ page of :bytes */
SELECT {{browser_task_summary}}, {{browser_task_size}} AS size
FROM operator_browser_task AS t
WHERE
    t.session_id = :session_id AND t.id < :before AND NOT {{in_deleted_session}}
    AND (CAST(:user_id AS text) IS NULL OR t.user_id = :user_id)
    AND (CAST(:status AS text) IS NULL OR t.status = :status)
ORDER BY t.id DESC
LIMIT :page;
