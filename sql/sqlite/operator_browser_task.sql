-- name: browser_task_add(task_id, session_id, viewer, user_id, url, options, data)
-- Stores a task in a session that exists or, where session_id is NULL, in none.
UPDATE operator_session
SET
    last_seq = last_seq + 1,
    updated_at = now(),
    active_at = {{activity_time}}
WHERE {{session_of_viewer}};

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'browser_task.queued', now(),
    json_set(:data, '$.created_at', now())
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

INSERT INTO operator_browser_task (
    task_id, session_id, user_id, url, status, options, not_before, created_at
)
SELECT
    :task_id, :session_id,
    coalesce(
        (SELECT s.user_id FROM operator_session AS s WHERE s.session_id = :session_id), :user_id
    ),
    :url, 'pending', :options, now(), now()
WHERE changes() = 1 OR :session_id IS NULL
RETURNING
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json_set(:data, '$.created_at', now()) AS data,
    created_at AS ts;

-- name: browser_task_add_new(task_id, session_id, epoch, user_id, source, created, url, options, data)
-- Stores a task in a new session; created is the data of its event.
INSERT INTO operator_session (
    session_id, epoch, user_id, source, last_seq, created_at, updated_at, active_at
)
VALUES (:session_id, :epoch, :user_id, :source, 2, now(), now(), now())
ON CONFLICT (session_id) DO NOTHING;

INSERT INTO operator_browser_task (
    task_id, session_id, user_id, url, status, options, not_before, created_at
)
SELECT :task_id, :session_id, :user_id, :url, 'pending', :options, now(), now()
WHERE changes() = 1
RETURNING
    2 AS seq, json_set(:data, '$.created_at', now()) AS data, created_at AS ts;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    t.session_id, e.seq, e.event, now(),
    CASE e.seq WHEN 1 THEN :created ELSE json_set(:data, '$.created_at', now()) END
FROM operator_browser_task AS t
INNER JOIN (
    SELECT 1 AS seq, 'session.created' AS event
    UNION ALL SELECT 2, 'browser_task.queued'
) AS e
WHERE t.task_id = :task_id AND changes() = 1;

-- name: browser_task_claim(pod_id, after, passed_over, data)
-- The first due task of the next user becomes this pod's; it stays the same one from statement to
-- statement.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE
    session_id = (SELECT d.session_id FROM {{browser_task_due}} AS d);

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'browser_task.started', now(),
    json_set(
        :data, '$.task_id', t.task_id, '$.session_id', t.session_id, '$.url', t.url,
        '$.attempts', t.attempts, '$.created_at', t.created_at, '$.started_at', now()
    )
FROM operator_browser_task AS t
INNER JOIN operator_session AS s ON t.session_id = s.session_id
WHERE
    t.id = (SELECT d.id FROM {{browser_task_due}} AS d);

UPDATE operator_browser_task SET status = 'running', owner = :pod_id, started_at = now()
WHERE
    id = (SELECT d.id FROM {{browser_task_due}} AS d)
RETURNING
    id, task_id, session_id, user_id, url, status, options, owner, attempts, deaths, not_before,
    cancel_requested, result, error, duration_ms, created_at, started_at, completed_at,
    screenshot_etag,
    (
        SELECT s.last_seq FROM operator_session AS s
        WHERE s.session_id = operator_browser_task.session_id
    ) AS seq,
    (
        SELECT e.data FROM operator_event AS e
        WHERE e.session_id = operator_browser_task.session_id
        ORDER BY e.seq DESC
        LIMIT 1
    ) AS data,
    now() AS ts;

-- name: browser_task_release(task_id, session_id, owner, started_at, attempts, deaths, delay, data)
-- A running task waits for its next try; one that was asked to stop is left to be ended.
UPDATE operator_browser_task
SET
    status = 'pending', owner = NULL, started_at = NULL,
    attempts = :attempts, deaths = :deaths,
    not_before = CASE WHEN :delay > 0 THEN now(:delay) ELSE not_before END
WHERE
    task_id = :task_id AND status = 'running' AND NOT cancel_requested
    AND owner = :owner AND started_at = :started_at
RETURNING
    (SELECT s.last_seq + 1 FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json(:data) AS data,
    now() AS ts;

UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE session_id = :session_id AND changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT s.session_id, s.last_seq, 'browser_task.queued', now(), :data FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

-- name: browser_task_end(task_id, session_id, owner, started_at, status, event, attempts, deaths, result, error, duration_ms, screenshot, screenshot_etag, data)
-- The last write of a task: by the pod that runs it or, where owner is NULL, while it waits.
UPDATE operator_browser_task
SET
    status = :status, owner = NULL, attempts = :attempts, deaths = :deaths,
    result = :result, error = :error, duration_ms = :duration_ms,
    screenshot = :screenshot, screenshot_etag = :screenshot_etag, completed_at = now()
WHERE
    task_id = :task_id AND status IN ('pending', 'running')
    AND owner IS :owner AND started_at IS :started_at
RETURNING
    (SELECT s.last_seq + 1 FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json_set(:data, '$.completed_at', now()) AS data,
    now() AS ts;

UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE session_id = :session_id AND changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT s.session_id, s.last_seq, :event, now(), json_set(:data, '$.completed_at', now())
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

-- name: browser_tasks_states(task_ids)
-- The states of some tasks.
SELECT task_id, status, owner, cancel_requested FROM operator_browser_task
WHERE task_id IN (SELECT value FROM json_each(:task_ids));

-- name: browser_tasks_places(user_ids, ids)
-- The places of some tasks among the waiting ones of their users, 1 being the next.
SELECT
    w.id,
    w.place
FROM (
    SELECT
        id,
        row_number() OVER (PARTITION BY user_id ORDER BY not_before, id) AS place
    FROM operator_browser_task
    WHERE status = 'pending' AND user_id IN (SELECT value FROM json_each(:user_ids))
) AS w
WHERE w.id IN (SELECT value FROM json_each(:ids));

-- name: browser_screenshots_purge(days, page)
-- Deletes the pictures of tasks that ended more than so many days ago.
UPDATE operator_browser_task SET screenshot = NULL, screenshot_etag = NULL
WHERE
    id IN (
        SELECT o.id FROM operator_browser_task AS o
        WHERE o.screenshot_etag IS NOT NULL AND o.completed_at < now(-86400 * :days)
        ORDER BY o.completed_at
        LIMIT :page
    )
RETURNING task_id;
