-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
WITH seqs AS MATERIALIZED (SELECT key, value FROM json_each(:seqs))

SELECT i.value AS session_id, s.epoch, s.last_seq
FROM json_each(:session_ids) AS i
CROSS JOIN seqs AS q ON i.key = q.key
LEFT JOIN operator_session AS s ON i.value = s.session_id AND s.deleted_at IS NULL
WHERE s.last_seq IS NOT q.value;

-- name: session_beginnings(ids)
-- How the first message of a user begins, of each of these sessions that has one.
SELECT s.id, substr(m.content, 1, 240) AS beginning
FROM json_each(:ids) AS i
CROSS JOIN operator_session AS s ON i.value = s.id AND s.deleted_at IS NULL
INNER JOIN operator_message AS m
    ON m.id = (
        SELECT t.id FROM operator_message AS t
        WHERE t.session_id = s.session_id AND t.role = 'user'
        ORDER BY t.id
        LIMIT 1
    );

-- name: session_delete(session_id, viewer, page)
-- Deletes a session. One with more than so many messages and events is marked: it is gone for everybody,
-- its running replies and tasks are ended, and session_delete_piece deletes its rows.
UPDATE operator_session SET deleted_at = now()
WHERE
    {{session_of_viewer}}
RETURNING session_id, epoch;

DELETE FROM operator_session
WHERE session_id = :session_id AND deleted_at IS NOT NULL AND message_count + last_seq <= :page;

UPDATE operator_message SET status = 'cancelled', owner = NULL, finished_at = now()
WHERE
    status = 'streaming'
    AND session_id = (
        SELECT s.session_id FROM operator_session AS s
        WHERE s.session_id = :session_id AND s.deleted_at IS NOT NULL
    );

DELETE FROM operator_browser_task
WHERE
    status IN ('pending', 'running')
    AND session_id = (
        SELECT s.session_id FROM operator_session AS s
        WHERE s.session_id = :session_id AND s.deleted_at IS NOT NULL
    );

-- name: sessions_expire(days, page)
-- Marks sessions as deleted in which nothing happened for so many days, those first that were left first.
UPDATE operator_session SET deleted_at = now()
WHERE
    id IN (
        SELECT s.id FROM operator_session AS s
        WHERE
            s.active_at < now(-86400 * :days) AND s.updated_at < now(-86400 * :days)
            AND s.deleted_at IS NULL
        ORDER BY s.active_at, s.id
        LIMIT :page
    )
RETURNING session_id;

UPDATE operator_message SET status = 'cancelled', owner = NULL, finished_at = now()
WHERE
    status = 'streaming'
    AND session_id IN (
        SELECT s.session_id FROM operator_session AS s WHERE s.deleted_at IS NOT NULL
    );

DELETE FROM operator_browser_task
WHERE
    status IN ('pending', 'running')
    AND session_id IN (
        SELECT s.session_id FROM operator_session AS s WHERE s.deleted_at IS NOT NULL
    );

-- name: session_delete_piece(page)
-- Deletes so many rows of each kind of the deleted session whose turn it is or, where it has no more than these, the
-- session with them; no row where no deleted session is left. Cascades are kept short: of messages the newest go first,
-- which takes replies before what they answer, and their tool calls and texts before them.
DELETE FROM operator_event
WHERE
    (session_id, seq) IN (
        SELECT e.session_id, e.seq FROM operator_event AS e
        WHERE e.session_id = {{deleted_session}}
        ORDER BY e.seq
        LIMIT :page
    );

DELETE FROM operator_browser_task
WHERE
    id IN (
        SELECT t.id FROM operator_browser_task AS t
        WHERE t.session_id = {{deleted_session}}
        LIMIT :page
    );

DELETE FROM operator_switch_adjustment
WHERE
    id IN (
        SELECT a.id FROM operator_switch_adjustment AS a
        WHERE a.session_id = {{deleted_session}}
        LIMIT :page
    );

DELETE FROM operator_switch_feedback
WHERE
    id IN (
        SELECT f.id FROM operator_switch_feedback AS f
        WHERE f.session_id = {{deleted_session}}
        LIMIT :page
    );

DELETE FROM operator_tool_call
WHERE
    id IN (
        SELECT c.id FROM {{messages_of_deleted}} AS m
        CROSS JOIN operator_tool_call AS c ON m.id = c.message_id
        LIMIT :page
    );

DELETE FROM operator_reply_chunk
WHERE
    (reply_id, "offset") IN (
        SELECT c.reply_id, c."offset" FROM {{messages_of_deleted}} AS m
        CROSS JOIN operator_reply_chunk AS c ON m.id = c.reply_id
        LIMIT :page
    );

DELETE FROM operator_message
WHERE
    id IN (SELECT m.id FROM {{messages_of_deleted}} AS m)
    AND NOT EXISTS (
        SELECT 1 FROM {{messages_of_deleted}} AS m
        CROSS JOIN operator_tool_call AS c ON m.id = c.message_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM {{messages_of_deleted}} AS m
        CROSS JOIN operator_reply_chunk AS c ON m.id = c.reply_id
    );

DELETE FROM operator_session
WHERE
    session_id = {{deleted_session}}
    AND NOT EXISTS (
        SELECT 1 FROM operator_message AS m WHERE m.session_id = operator_session.session_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM operator_event AS e WHERE e.session_id = operator_session.session_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM operator_browser_task AS t WHERE t.session_id = operator_session.session_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM operator_switch_adjustment AS a
        WHERE a.session_id = operator_session.session_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM operator_switch_feedback AS f
        WHERE f.session_id = operator_session.session_id
    );

UPDATE operator_session SET deleted_at = now()
WHERE session_id = {{deleted_session}}
RETURNING session_id;

-- name: session_open(session_id, epoch, user_id, source, created, metadata, messages, scope, key, body_hash, renews)
-- Makes a session with messages that nobody is to answer; created is the data of its event. A key that renews is taken
-- over from an earlier session, another one refused if it stands for one.
INSERT INTO operator_session (
    session_id, epoch, user_id, source, last_seq, message_count, metadata,
    created_at, updated_at, active_at
)
VALUES (
    :session_id, :epoch, :user_id, :source, 1 + json_array_length(:messages),
    json_array_length(:messages), :metadata, now(), now(), now()
);

INSERT INTO operator_event (session_id, seq, event, ts, data)
VALUES (:session_id, 1, 'session.created', now(), :created);

{{insert_added}};

{{insert_events_of_added}};

/*+ only if :key */
INSERT INTO operator_session_key (scope, key, body_hash, session_id, created_at)
VALUES (:scope, :key, :body_hash, :session_id, now())
ON CONFLICT (scope, key) DO UPDATE
SET
    body_hash = excluded.body_hash,
    session_id = CASE WHEN :renews THEN excluded.session_id END,
    created_at = excluded.created_at;

SELECT m.id, s.created_at AS ts
FROM operator_session AS s
LEFT JOIN operator_message AS m ON s.session_id = m.session_id
WHERE s.session_id = :session_id
ORDER BY m.id;
