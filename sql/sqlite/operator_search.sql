-- name: search_indexed(asked, checked, user_id, before_at, before_id, page, bytes)
-- Sessions with a message that has the words, newest first: found in the index, and where need be checked for more.
/*+ page of :bytes */
WITH hits AS MATERIALIZED (
    SELECT DISTINCT w.session_id FROM operator_search_words AS i
    CROSS JOIN operator_search AS w ON i.rowid = w.message_id
    WHERE
        operator_search_words MATCH :asked
        AND (
            :checked IS NULL
            OR NOT EXISTS (
                SELECT 1 FROM json_each(:checked) AS q WHERE instr(' ' || w.words || ' ', q.value) = 0
            )
        )
),

found AS MATERIALIZED (
    SELECT s.id, s.active_at
    FROM hits AS h
    CROSS JOIN operator_session AS s ON h.session_id = s.session_id
    WHERE
        s.deleted_at IS NULL AND (:user_id IS NULL OR s.user_id = :user_id)
        AND (s.active_at, s.id) < (:before_at, :before_id)
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
WHERE NOT EXISTS (
    SELECT 1 FROM json_each(:words) AS q WHERE instr(' ' || w.words || ' ', q.value) = 0
);

-- name: search_claim(seconds, messages, bytes)
-- Takes the newest messages that wait to be indexed, for so many seconds; a NULL content is of one that is gone.
UPDATE operator_search_queue SET claimed_until = now(:seconds)
WHERE message_id IN (
    SELECT s.message_id FROM (
        SELECT
            d.message_id,
            coalesce(
                sum(length(m.content)) OVER (
                    ORDER BY d.message_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ),
                0
            ) AS earlier
        FROM (
            SELECT message_id FROM operator_search_queue
            WHERE claimed_until IS NULL OR claimed_until < now()
            ORDER BY message_id DESC
            LIMIT :messages
        ) AS d
        LEFT JOIN operator_message AS m ON d.message_id = m.id
    ) AS s
    WHERE s.earlier < :bytes
)
RETURNING
    message_id,
    (SELECT m.content FROM operator_message AS m WHERE m.id = operator_search_queue.message_id) AS content;

-- name: search_store(entries)
-- Puts the words of messages into the index, [id, words] each, and takes these off the queue.
DELETE FROM operator_search
WHERE message_id IN (
    SELECT w.message_id
    FROM json_each(:entries) AS e
    CROSS JOIN operator_search AS w ON json_extract(e.value, '$[0]') = w.message_id
    WHERE w.words <> json_extract(e.value, '$[1]')
);

INSERT INTO operator_search (message_id, session_id, words)
SELECT m.id, m.session_id, json_extract(e.value, '$[1]')
FROM json_each(:entries) AS e
CROSS JOIN operator_message AS m ON json_extract(e.value, '$[0]') = m.id
WHERE json_extract(e.value, '$[1]') <> ''
ON CONFLICT (message_id) DO NOTHING;

DELETE FROM operator_search_queue
WHERE message_id IN (SELECT json_extract(e.value, '$[0]') FROM json_each(:entries) AS e)
RETURNING message_id AS id;

-- name: search_backfill(messages)
-- Puts the next messages that were there before the index into the queue, the newest first; none where all are in it.
INSERT OR IGNORE INTO operator_search_queue (message_id)
SELECT m.id FROM (
    SELECT id, status FROM operator_message
    WHERE id < (SELECT b.before_id FROM operator_search_backfill AS b)
    ORDER BY id DESC
    LIMIT :messages
) AS m
WHERE m.status <> 'streaming';

DELETE FROM operator_search_backfill
WHERE NOT EXISTS (
    SELECT 1 FROM operator_message AS m WHERE m.id < operator_search_backfill.before_id
);

UPDATE operator_search_backfill
SET before_id = (
    SELECT min(m.id) FROM (
        SELECT o.id FROM operator_message AS o
        WHERE o.id < operator_search_backfill.before_id
        ORDER BY o.id DESC
        LIMIT :messages
    ) AS m
)
RETURNING before_id AS id;
