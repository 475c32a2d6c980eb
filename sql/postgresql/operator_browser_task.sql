-- name: browser_task_add(task_id, session_id, viewer, user_id, url, options, data)
-- Stores a task in a session that exists or, where session_id is NULL, in none.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

place AS (
    SELECT session_id, user_id FROM session
    UNION ALL
    SELECT CAST(NULL AS text), CAST(:user_id AS text) WHERE CAST(:session_id AS text) IS NULL
),

added AS (
    INSERT INTO operator_browser_task (task_id, session_id, user_id, url, status, options)
    SELECT :task_id, session_id, user_id, :url, 'pending', :options FROM place
    RETURNING session_id, created_at
),

numbered AS (
    UPDATE operator_session AS s
    SET
        last_seq = s.last_seq + 1,
        updated_at = now(),
        active_at = {{activity_time}}
    FROM added
    WHERE s.session_id = added.session_id
    RETURNING s.session_id, s.last_seq
),

fact AS MATERIALIZED (
    SELECT n.session_id, n.last_seq, {{queued_task}} AS data
    FROM added AS a
    LEFT JOIN numbered AS n ON a.session_id = n.session_id
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT session_id, last_seq, 'browser_task.queued', data FROM fact
    WHERE last_seq IS NOT NULL
)

SELECT last_seq AS seq, data, now() AS ts FROM fact;

-- name: browser_task_add_new(task_id, session_id, epoch, user_id, source, created, url, options, data)
-- Stores a task in a new session; created is the data of its event.
WITH session AS (
    INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq)
    VALUES (:session_id, CAST(:epoch AS uuid), :user_id, :source, 2)
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id, user_id, last_seq
),

added AS (
    INSERT INTO operator_browser_task (task_id, session_id, user_id, url, status, options)
    SELECT :task_id, session_id, user_id, :url, 'pending', :options FROM session
    RETURNING session_id, created_at
),

fact AS MATERIALIZED (
    SELECT s.session_id, s.last_seq, {{queued_task}} AS data
    FROM added AS a
    INNER JOIN session AS s ON a.session_id = s.session_id
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT
        session_id, 1, 'session.created', CAST(:created AS jsonb)
    FROM fact
    UNION ALL
    SELECT session_id, last_seq, 'browser_task.queued', data FROM fact
)

SELECT last_seq AS seq, data, now() AS ts FROM fact;

-- name: browser_task_claim(pod_id, after, passed_over, data)
-- The first due task of the next user after :after becomes this pod's. Nothing is waited for: a task
-- that another pod claims is passed over, and one whose session is just written to is left for a
-- moment later. The walk over the users with waiting tasks ends at the first that has a due one and
-- is none of :passed_over: of a recursive query no more rows are made than are asked for. IS TRUE
-- leaves PostgreSQL no index but the one of waiting tasks by their user.
WITH RECURSIVE waiting AS (
    (
        SELECT user_id FROM operator_browser_task
        WHERE (status = 'pending') IS TRUE AND user_id > CAST(:after AS text)
        ORDER BY user_id
        LIMIT 1
    )
    UNION ALL
    SELECT n.user_id
    FROM waiting AS w
    CROSS JOIN LATERAL (
        SELECT t.user_id FROM operator_browser_task AS t
        WHERE (t.status = 'pending') IS TRUE AND t.user_id > w.user_id
        ORDER BY t.user_id
        LIMIT 1
    ) AS n
),

due AS MATERIALIZED (
    SELECT d.id, d.session_id
    FROM waiting AS w
    CROSS JOIN LATERAL (
        SELECT t.id, t.session_id FROM operator_browser_task AS t
        WHERE
            (t.status = 'pending') IS TRUE
            AND t.user_id = w.user_id
            AND t.not_before <= now()
        ORDER BY t.not_before, t.id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS d
    WHERE w.user_id <> ALL(CAST(:passed_over AS text[]))
    LIMIT 1
),

session AS MATERIALIZED (
    SELECT s.session_id FROM operator_session AS s
    WHERE s.session_id = (SELECT d.session_id FROM due AS d)
    FOR NO KEY UPDATE SKIP LOCKED
),

stored AS (
    UPDATE operator_browser_task AS t
    SET status = 'running', owner = :pod_id, started_at = now()
    FROM due
    WHERE
        t.id = due.id
        AND (due.session_id IS NULL OR due.session_id = (SELECT s.session_id FROM session AS s))
    RETURNING {{browser_task_columns}}
),

numbered AS {{next_seq}},

fact AS MATERIALIZED (
    SELECT
        c.*, n.last_seq,
        CAST(:data AS jsonb) || jsonb_build_object(
            'task_id', c.task_id, 'session_id', c.session_id, 'url', c.url,
            'attempts', c.attempts,
            'created_at',
            to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'started_at',
            to_char(c.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS data
    FROM stored AS c
    LEFT JOIN numbered AS n ON c.session_id = n.session_id
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT session_id, last_seq, 'browser_task.started', data FROM fact
    WHERE last_seq IS NOT NULL
)

SELECT {{browser_task_columns}}, t.last_seq AS seq, t.data, now() AS ts
FROM fact AS t;

-- name: browser_task_release(task_id, session_id, owner, started_at, attempts, deaths, delay, data)
-- A running task waits for its next try; one that was asked to stop is left to be ended.
WITH session AS MATERIALIZED {{lock_session}},

stored AS (
    UPDATE operator_browser_task AS t
    SET
        status = 'pending', owner = NULL, started_at = NULL,
        attempts = :attempts, deaths = :deaths,
        not_before = CASE
            WHEN CAST(:delay AS double precision) > 0
                THEN now() + make_interval(secs => CAST(:delay AS double precision))
            ELSE t.not_before
        END
    WHERE
        (CAST(:session_id AS text) IS NULL OR EXISTS (SELECT 1 FROM session))
        AND t.task_id = :task_id AND NOT t.cancel_requested
        AND t.owner = :owner AND t.started_at = :started_at
    RETURNING t.session_id
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT session_id, last_seq, 'browser_task.queued', :data FROM numbered
)

SELECT n.last_seq AS seq, CAST(:data AS jsonb) AS data, now() AS ts
FROM stored AS r
LEFT JOIN numbered AS n ON r.session_id = n.session_id;

-- name: browser_task_end(task_id, session_id, owner, started_at, status, event, attempts, deaths, result, error, duration_ms, screenshot, screenshot_etag, data)
-- The last write of a task: by the pod that runs it or, where owner is NULL, while it waits.
WITH session AS MATERIALIZED {{lock_session}},

stored AS (
    UPDATE operator_browser_task AS t
    SET
        status = :status, owner = NULL, attempts = :attempts, deaths = :deaths,
        result = :result, error = :error, duration_ms = :duration_ms,
        screenshot = :screenshot, screenshot_etag = :screenshot_etag, completed_at = now()
    WHERE
        (CAST(:session_id AS text) IS NULL OR EXISTS (SELECT 1 FROM session))
        AND t.task_id = :task_id AND t.status IN ('pending', 'running')
        AND t.owner IS NOT DISTINCT FROM CAST(:owner AS text)
        AND t.started_at IS NOT DISTINCT FROM CAST(:started_at AS timestamptz)
    RETURNING t.session_id, t.completed_at
),

numbered AS {{next_seq}},

fact AS MATERIALIZED (
    SELECT
        n.session_id, n.last_seq,
        CAST(:data AS jsonb) || jsonb_build_object(
            'completed_at',
            to_char(e.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS data
    FROM stored AS e
    LEFT JOIN numbered AS n ON e.session_id = n.session_id
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, data)
    SELECT session_id, last_seq, :event, data FROM fact WHERE last_seq IS NOT NULL
)

SELECT last_seq AS seq, data, now() AS ts FROM fact;

-- name: browser_tasks_states(task_ids)
-- The states of some tasks.
SELECT task_id, status, owner, cancel_requested FROM operator_browser_task
WHERE task_id = ANY(CAST(:task_ids AS text[]));

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
    WHERE (status = 'pending') IS TRUE AND user_id = ANY(CAST(:user_ids AS text[]))
) AS w
WHERE w.id = ANY(CAST(:ids AS bigint[]));

-- name: browser_screenshots_purge(days, page)
-- Deletes the pictures of tasks that ended more than so many days ago.
UPDATE operator_browser_task SET screenshot = NULL, screenshot_etag = NULL
WHERE
    id IN (
        SELECT o.id FROM operator_browser_task AS o
        WHERE
            o.screenshot_etag IS NOT NULL
            AND o.completed_at < {{days_ago}}
        ORDER BY o.completed_at
        LIMIT :page
        FOR NO KEY UPDATE SKIP LOCKED
    )
RETURNING task_id;
