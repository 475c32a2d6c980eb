-- name: session_news(session_ids, seqs)
-- Of the watched sessions those with newer events than seen; a NULL epoch means that it is gone.
SELECT w.session_id, CAST(s.epoch AS text) AS epoch, s.last_seq
FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
LEFT JOIN LATERAL (
    SELECT t.epoch, t.last_seq FROM operator_session AS t
    WHERE t.session_id = w.session_id AND t.deleted_at IS NULL
    -- One at most: it keeps the planner from reading all sessions for a thousand.
    LIMIT 1
) AS s ON TRUE
WHERE s.last_seq IS DISTINCT FROM w.seq;

-- name: session_beginnings(ids)
-- How the first message of a user begins, of each of these sessions that has one.
SELECT w.id, m.beginning
FROM unnest(CAST(:ids AS bigint[])) AS w (id)
CROSS JOIN LATERAL (
    SELECT t.session_id FROM operator_session AS t
    WHERE t.id = w.id AND t.deleted_at IS NULL
    -- One at most: it keeps the planner from reading all sessions for a page of them.
    LIMIT 1
) AS s
CROSS JOIN LATERAL (
    SELECT left(t.content, 240) AS beginning FROM operator_message AS t
    WHERE t.session_id = s.session_id AND t.role = 'user'
    ORDER BY t.id
    LIMIT 1
) AS m;

-- name: session_delete(session_id, viewer, page)
-- Deletes a session. One with more than so many messages and events is marked: it is gone for everybody,
-- its running replies and tasks are ended, and session_delete_piece deletes its rows. Another epoch and an event that
-- nobody can read send away the clients of processes that know no mark.
WITH session AS MATERIALIZED (
    SELECT session_id, epoch, message_count + last_seq <= :page AS is_small
    FROM operator_session
    WHERE
        session_id = :session_id AND deleted_at IS NULL
        AND (CAST(:viewer AS text) IS NULL OR user_id = :viewer)
    FOR UPDATE
),

deleted AS (
    DELETE FROM operator_session AS s
    USING session AS d
    WHERE s.session_id = d.session_id AND d.is_small
),

marked AS (
    UPDATE operator_session AS s
    SET deleted_at = now(), epoch = gen_random_uuid(), last_seq = s.last_seq + 1
    FROM session
    WHERE s.session_id = session.session_id AND NOT session.is_small
    RETURNING s.session_id
),

replies AS {{end_replies_of_marked}},

tasks AS {{delete_tasks_of_marked}}

SELECT session_id, CAST(epoch AS text) AS epoch FROM session;

-- name: sessions_expire(days, page)
-- Marks sessions as deleted in which nothing happened for so many days, those first that were left first; one that is
-- just written to, or imported into, is passed over.
WITH session AS MATERIALIZED (
    SELECT session_id FROM operator_session
    WHERE
        active_at < {{days_ago}}
        AND updated_at < {{days_ago}}
        AND deleted_at IS NULL
    ORDER BY active_at, id
    LIMIT :page
    FOR UPDATE SKIP LOCKED
),

marked AS (
    UPDATE operator_session AS s
    SET deleted_at = now(), epoch = gen_random_uuid(), last_seq = s.last_seq + 1
    FROM session
    WHERE s.session_id = session.session_id
    RETURNING s.session_id
),

replies AS {{end_replies_of_marked}},

tasks AS {{delete_tasks_of_marked}}

SELECT session_id FROM marked;

-- name: session_delete_piece(page)
-- Deletes so many rows of each kind of the deleted session whose turn it is or, where it has no more than these, the
-- session with them; no row where no session is left, or others are at them. Cascades are kept short: of messages the
-- newest go first, which takes replies before what they answer, and their tool calls and texts before them.
WITH session AS MATERIALIZED (
    SELECT session_id FROM operator_session
    WHERE deleted_at IS NOT NULL
    ORDER BY deleted_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
),

messages AS MATERIALIZED (
    SELECT d.id FROM session AS s
    CROSS JOIN LATERAL (
        SELECT m.id FROM operator_message AS m
        WHERE m.session_id = s.session_id
        ORDER BY m.id DESC
        LIMIT :page
    ) AS d
),

events AS MATERIALIZED (
    SELECT d.session_id, d.seq FROM session AS s
    CROSS JOIN LATERAL (
        SELECT e.session_id, e.seq FROM operator_event AS e
        WHERE e.session_id = s.session_id
        ORDER BY e.seq
        LIMIT :page
    ) AS d
),

tasks AS MATERIALIZED (
    SELECT t.id FROM session AS s
    INNER JOIN operator_browser_task AS t ON s.session_id = t.session_id
    LIMIT :page
),

adjustments AS MATERIALIZED (
    SELECT a.id FROM session AS s
    INNER JOIN operator_switch_adjustment AS a ON s.session_id = a.session_id
    LIMIT :page
),

feedback AS MATERIALIZED (
    SELECT f.id FROM session AS s
    INNER JOIN operator_switch_feedback AS f ON s.session_id = f.session_id
    LIMIT :page
),

calls AS MATERIALIZED (
    SELECT c.id FROM messages AS m
    INNER JOIN operator_tool_call AS c ON m.id = c.message_id
    LIMIT :page
),

chunks AS MATERIALIZED (
    SELECT c.reply_id, c."offset" FROM messages AS m
    INNER JOIN operator_reply_chunk AS c ON m.id = c.reply_id
    LIMIT :page
),

found AS MATERIALIZED (
    SELECT
        greatest(
            (SELECT count(*) FROM calls), (SELECT count(*) FROM chunks)
        ) AS below_messages,
        greatest(
            (SELECT count(*) FROM messages), (SELECT count(*) FROM events),
            (SELECT count(*) FROM tasks), (SELECT count(*) FROM adjustments),
            (SELECT count(*) FROM feedback), (SELECT count(*) FROM calls),
            (SELECT count(*) FROM chunks)
        ) AS most
),

deleted_calls AS (
    DELETE FROM operator_tool_call AS c USING calls AS d WHERE c.id = d.id
),

deleted_chunks AS (
    DELETE FROM operator_reply_chunk AS c USING chunks AS d
    WHERE c.reply_id = d.reply_id AND c."offset" = d."offset"
),

deleted_events AS (
    DELETE FROM operator_event AS e USING events AS d
    WHERE e.session_id = d.session_id AND e.seq = d.seq
),

deleted_tasks AS (
    DELETE FROM operator_browser_task AS t USING tasks AS d WHERE t.id = d.id
),

deleted_adjustments AS (
    DELETE FROM operator_switch_adjustment AS a USING adjustments AS d WHERE a.id = d.id
),

deleted_feedback AS (
    DELETE FROM operator_switch_feedback AS f USING feedback AS d WHERE f.id = d.id
),

deleted_messages AS (
    DELETE FROM operator_message AS m USING messages AS d, found AS f
    WHERE m.id = d.id AND f.below_messages < :page
),

turned AS (
    UPDATE operator_session AS s SET deleted_at = now()
    FROM session, found AS f
    WHERE s.session_id = session.session_id AND f.most >= :page
),

deleted AS (
    DELETE FROM operator_session AS s USING session AS d, found AS f
    WHERE s.session_id = d.session_id AND f.most < :page
)

SELECT session_id FROM session;

-- name: session_open(session_id, epoch, user_id, source, created, metadata, messages, scope, key, body_hash, renews)
-- Makes a session with messages that nobody is to answer; created is the data of its event. A key that renews is taken
-- over from an earlier session, another one refused if it stands for one.
WITH given AS MATERIALIZED (
    SELECT g.message, g.place
    FROM jsonb_array_elements(CAST(:messages AS jsonb)) WITH ORDINALITY AS g (message, place)
),

session AS (
    INSERT INTO operator_session (
        session_id, epoch, user_id, source, last_seq, message_count, metadata
    )
    SELECT
        :session_id, CAST(:epoch AS uuid), :user_id, :source, 1 + count(*), count(*),
        CAST(:metadata AS jsonb)
    FROM given
    RETURNING session_id
),

added AS MATERIALIZED (
    SELECT o.session_id, o.message, o.place, nextval('operator_message_id_seq') AS id
    FROM (
        SELECT s.session_id, g.message, g.place
        FROM session AS s CROSS JOIN given AS g
        ORDER BY g.place
    ) AS o
),

messages AS {{insert_added_messages}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, data, message_id)
    SELECT session_id, 1, 'session.created', CAST(:created AS jsonb), CAST(NULL AS bigint)
    FROM session
    UNION ALL
    SELECT session_id, 1 + place, 'message.created', CAST(NULL AS jsonb), id FROM added
),

renewed AS (
    UPDATE operator_session_key
    SET body_hash = :body_hash, session_id = :session_id, created_at = now()
    WHERE scope = :scope AND key = :key AND CAST(:renews AS boolean)
    RETURNING key
),

keyed AS (
    INSERT INTO operator_session_key (scope, key, body_hash, session_id)
    SELECT :scope, :key, :body_hash, session_id FROM session
    WHERE CAST(:key AS text) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM renewed)
)

SELECT a.id, now() AS ts
FROM session AS s
LEFT JOIN added AS a ON s.session_id = a.session_id
ORDER BY a.id;
