-- name: search_window(before_at, before_id, sessions, messages)
-- Of so many of the newest sessions before a place, how many there are, and how many of them have no more than so many messages together.
SELECT
    count(*) AS sessions, count(CASE WHEN w.messages <= :messages THEN 1 END) AS fitting
FROM (
    SELECT sum(s.message_count) OVER (ORDER BY s.active_at DESC, s.id DESC) AS messages
    FROM {{newest_sessions}} AS s
) AS w;

-- name: search_window_of_user(user_id, before_at, before_id, sessions, messages)
-- As search_window, of the sessions of one user.
SELECT
    count(*) AS sessions, count(CASE WHEN w.messages <= :messages THEN 1 END) AS fitting
FROM (
    SELECT sum(s.message_count) OVER (ORDER BY s.active_at DESC, s.id DESC) AS messages
    FROM {{newest_sessions_of_user}} AS s
) AS w;

-- name: search_recent(words, before_at, before_id, sessions, page, bytes)
-- Of so many of the newest sessions before a place those with a message that has the words, newest first.
/*+ page of :bytes */
WITH found AS MATERIALIZED (
    SELECT s.id, s.active_at FROM {{newest_sessions}} AS s
    WHERE {{session_has_words}}
    ORDER BY s.active_at DESC, s.id DESC
    LIMIT :page
)

SELECT {{session_columns}}, {{session_size}} AS size
FROM found AS f
CROSS JOIN {{found_session}} AS s
WHERE f.id = s.id
ORDER BY f.active_at DESC, f.id DESC
LIMIT :page;

-- name: search_recent_of_user(user_id, words, before_at, before_id, sessions, page, bytes)
-- As search_recent, of the sessions of one user.
/*+ page of :bytes */
WITH found AS MATERIALIZED (
    SELECT s.id, s.active_at FROM {{newest_sessions_of_user}} AS s
    WHERE {{session_has_words}}
    ORDER BY s.active_at DESC, s.id DESC
    LIMIT :page
)

SELECT {{session_columns}}, {{session_size}} AS size
FROM found AS f
CROSS JOIN {{found_session}} AS s
WHERE f.id = s.id
ORDER BY f.active_at DESC, f.id DESC
LIMIT :page;
