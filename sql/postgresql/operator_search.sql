-- name: search_indexed(asked, checked, user_id, before_at, before_id, page, bytes)
-- Sessions with a message that has the words, newest first: found in the index, and where need be checked for more.
/*+ page of :bytes */
WITH hits AS MATERIALIZED (
    SELECT DISTINCT w.session_id FROM operator_search AS w
    WHERE
        w.words @@ CAST(:asked AS tsquery)
        AND (CAST(:checked AS tsquery) IS NULL OR ts_match_vq(w.words, CAST(:checked AS tsquery)))
),

found AS MATERIALIZED (
    SELECT s.id, s.active_at
    FROM hits AS h
    CROSS JOIN LATERAL (
        SELECT t.id, t.active_at
        FROM operator_session AS t
        WHERE
            t.session_id = h.session_id AND t.deleted_at IS NULL
            AND (CAST(:user_id AS text) IS NULL OR t.user_id = :user_id)
            AND (t.active_at, t.id) < (:before_at, :before_id)
        -- One at most: it keeps the planner from reading all sessions for a few.
        LIMIT 1
    ) AS s
    ORDER BY s.active_at DESC, s.id DESC
    LIMIT :page
)

SELECT {{session_columns}}, {{session_size}} AS size
FROM found AS f
CROSS JOIN {{found_session}} AS s
WHERE f.id = s.id
ORDER BY f.active_at DESC, f.id DESC
LIMIT :page;

-- name: search_sample(words, messages)
-- How many of the newest messages have the words.
SELECT count(*) AS messages
FROM (SELECT words FROM operator_search ORDER BY message_id DESC LIMIT :messages) AS w
WHERE ts_match_vq(w.words, CAST(:words AS tsquery));

-- name: search_claim(seconds, messages, bytes)
-- Takes the newest messages that wait to be indexed, for so many seconds; a NULL content is of one that is gone.
WITH due AS MATERIALIZED (
    SELECT message_id FROM operator_search_queue
    WHERE claimed_until IS NULL OR claimed_until < now()
    ORDER BY message_id DESC
    LIMIT :messages
    FOR UPDATE SKIP LOCKED
),

sized AS (
    SELECT
        d.message_id, m.content,
        coalesce(
            sum(octet_length(m.content)) OVER (
                ORDER BY d.message_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            0
        ) AS earlier
    FROM due AS d
    LEFT JOIN operator_message AS m ON d.message_id = m.id
    -- It makes the planner expect one row: the others are looked up, where all were read for a hundred.
    WHERE d.message_id = d.message_id + 0
)

UPDATE operator_search_queue AS q
SET claimed_until = now() + make_interval(secs => CAST(:seconds AS double precision))
FROM sized AS s
WHERE q.message_id = s.message_id AND s.earlier < :bytes
RETURNING q.message_id, s.content;

-- name: search_store(entries)
-- Puts the words of messages into the index, [id, words] each, and takes these off the queue.
-- A message that is being deleted stays in the queue, lest its deletion be rolled back.
WITH entries AS MATERIALIZED (
    SELECT CAST(e.value ->> 0 AS bigint) AS message_id, e.value ->> 1 AS words
    FROM jsonb_array_elements(CAST(:entries AS jsonb)) AS e (value)
    -- As above: it makes the planner expect one row.
    WHERE e.value ->> 0 = (e.value ->> 0) || ''
),

present AS MATERIALIZED (
    SELECT m.id, m.session_id, e.words
    FROM entries AS e
    INNER JOIN operator_message AS m ON e.message_id = m.id
    FOR KEY SHARE OF m SKIP LOCKED
),

stored AS (
    INSERT INTO operator_search (message_id, session_id, words)
    SELECT id, session_id, array_to_tsvector(string_to_array(words, ' '))
    FROM present
    WHERE words <> ''
    ON CONFLICT (message_id) DO UPDATE SET words = excluded.words
    WHERE operator_search.words <> excluded.words
),

emptied AS (
    DELETE FROM operator_search AS w USING entries AS e
    WHERE w.message_id = e.message_id AND e.words = ''
)

DELETE FROM operator_search_queue AS q
USING entries AS e
WHERE
    q.message_id = e.message_id
    AND (
        e.message_id IN (SELECT p.id FROM present AS p)
        OR NOT EXISTS (SELECT 1 FROM operator_message AS m WHERE m.id = e.message_id)
    )
RETURNING q.message_id AS id;

-- name: search_backfill(messages)
-- Puts the next messages that were there before the index into the queue, the newest first; none where all are in it.
WITH place AS MATERIALIZED (
    SELECT before_id FROM operator_search_backfill FOR UPDATE SKIP LOCKED
),

next AS MATERIALIZED (
    SELECT m.id, m.status FROM place AS p
    CROSS JOIN LATERAL (
        SELECT o.id, o.status FROM operator_message AS o
        WHERE o.id < p.before_id
        ORDER BY o.id DESC
        LIMIT :messages
    ) AS m
),

queued AS (
    INSERT INTO operator_search_queue (message_id)
    SELECT n.id FROM next AS n
    WHERE n.status <> 'streaming'
    ON CONFLICT DO NOTHING
),

moved AS (
    UPDATE operator_search_backfill AS b SET before_id = n.id
    FROM (SELECT min(id) AS id FROM next) AS n
    WHERE n.id IS NOT NULL
),

ended AS (
    DELETE FROM operator_search_backfill AS b
    USING place AS p
    WHERE b.before_id = p.before_id AND NOT EXISTS (SELECT 1 FROM next)
)

SELECT n.id FROM next AS n;
