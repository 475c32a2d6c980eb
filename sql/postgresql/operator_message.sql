-- name: chat_start(session_id, viewer, content, metadata, pod_id, scope, key, body_hash, repeated, renewed_after, exchanges, max_chars, recent_seq)
-- Stores a message and the reply to be written, in a session that exists; with the last exchanges, or NULL for them
-- where the caller has those as of the session's last event, and where others wrote to the session while this waited
-- for its lock: the statement sees other rows as they were before. A chat with a key is in no set: it may have to wait
-- for another one.
/*+ set by :session_id sharing :pod_id, :scope, :key, :body_hash, :repeated, :renewed_after, :exchanges, :max_chars */
WITH given AS (
    SELECT
        CAST(:session_id AS text) AS session_id, CAST(:viewer AS text) AS viewer,
        CAST(:content AS text) AS content, CAST(:metadata AS jsonb) AS metadata,
        CAST(:recent_seq AS bigint) AS recent_seq
),

ids AS MATERIALIZED (
    SELECT
        s.session_id, g.content, g.metadata, g.recent_seq,
        nextval('operator_message_id_seq') AS message_id,
        nextval('operator_message_id_seq') AS reply_id
    FROM given AS g
    CROSS JOIN LATERAL (
        SELECT o.session_id FROM operator_session AS o
        WHERE
            o.session_id = g.session_id AND o.deleted_at IS NULL
            AND (g.viewer IS NULL OR o.user_id = g.viewer)
        FOR NO KEY UPDATE
    ) AS s
),

numbered AS (
    UPDATE operator_session AS s
    SET
        last_seq = s.last_seq + 2,
        message_count = s.message_count + 2,
        updated_at = now(),
        active_at = {{activity_time}}
    FROM ids
    WHERE s.session_id = ids.session_id
    RETURNING
        s.session_id, s.epoch, s.last_seq, ids.message_id, ids.reply_id, ids.content, ids.metadata,
        ids.recent_seq
),

messages AS {{insert_messages}},

renewed AS {{renew_chat_key}},

keyed AS {{insert_chat_key}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq - 1, 'message.created', message_id FROM numbered
    UNION ALL
    SELECT session_id, last_seq, 'reply.started', reply_id FROM numbered
)

SELECT
    n.session_id, n.message_id, n.reply_id, n.last_seq, CAST(n.epoch AS text) AS epoch,
    CASE
        WHEN n.last_seq - 2 = n.recent_seq THEN NULL
        WHEN
            n.last_seq - 2 = (
                SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = n.session_id
            )
            THEN coalesce(
                (
                    SELECT
                        json_agg(
                            json_build_object(
                                'question', e.question, 'answer', e.answer, 'role', e.role,
                                'asked', e.asked, 'replied', e.replied
                            )
                            ORDER BY e.id DESC
                        )
                    FROM (
                        SELECT
                            u.id, u.role, {{sent_in_exchange}},
                            left(u.content, :max_chars + 1) AS question,
                            left(a.content, :max_chars + 1) AS answer
                        FROM operator_message AS u
                        LEFT JOIN LATERAL {{answer_text}} AS a ON u.role = 'user'
                        WHERE u.session_id = n.session_id AND {{in_history}}
                        ORDER BY u.id DESC
                        LIMIT :exchanges
                    ) AS e
                ),
                CAST('[]' AS json)
            )
    END AS exchanges,
    now() AS ts
FROM numbered AS n;

-- name: chat_start_new(session_id, epoch, user_id, source, created, content, metadata, pod_id, scope, key, body_hash, repeated, renewed_after)
-- Stores a message and the reply to be written, in a new session; created is the data of its event.
WITH session AS (
    INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq, message_count)
    VALUES (:session_id, CAST(:epoch AS uuid), :user_id, :source, 3, 2)
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id, epoch, last_seq
),

numbered AS MATERIALIZED (
    SELECT
        session_id, epoch, last_seq,
        CAST(:content AS text) AS content,
        CAST(:metadata AS jsonb) AS metadata,
        nextval('operator_message_id_seq') AS message_id,
        nextval('operator_message_id_seq') AS reply_id
    FROM session
),

messages AS {{insert_messages}},

renewed AS {{renew_chat_key}},

keyed AS {{insert_chat_key}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id, data)
    SELECT
        session_id, 1, 'session.created', NULL, CAST(:created AS jsonb)
    FROM numbered
    UNION ALL
    SELECT session_id, 2, 'message.created', message_id, NULL FROM numbered
    UNION ALL
    SELECT session_id, 3, 'reply.started', reply_id, NULL FROM numbered
)

SELECT
    message_id, reply_id, last_seq, CAST(epoch AS text) AS epoch,
    CAST(NULL AS json) AS exchanges, now() AS ts
FROM numbered;

-- name: chat_retry(session_id, message_id, failed_reply_id, pod_id, scope, key)
-- A new reply to the message of a key whose reply failed; only one caller wins.
WITH session AS MATERIALIZED {{lock_session}},

ids AS MATERIALIZED (
    SELECT session_id, nextval('operator_message_id_seq') AS reply_id FROM session
),

keyed AS (
    UPDATE operator_chat_key AS k SET reply_id = ids.reply_id
    FROM ids
    WHERE k.scope = :scope AND k.key = :key AND k.reply_id = :failed_reply_id
    RETURNING ids.session_id, ids.reply_id
),

numbered AS (
    UPDATE operator_session AS s
    SET last_seq = s.last_seq + 1, message_count = s.message_count + 1, updated_at = now()
    FROM keyed
    WHERE s.session_id = keyed.session_id
    RETURNING s.session_id, s.epoch, s.last_seq, keyed.reply_id
),

messages AS (
    INSERT INTO operator_message (
        id, session_id, role, content, status, reply_to, owner
    )
    SELECT reply_id, session_id, 'assistant', '', 'streaming', :message_id, :pod_id FROM numbered
),

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq, 'reply.started', reply_id FROM numbered
)

SELECT
    CAST(:message_id AS bigint) AS message_id, reply_id, last_seq,
    CAST(epoch AS text) AS epoch, CAST(NULL AS json) AS exchanges, now() AS ts
FROM numbered;

-- name: chat_regenerate(session_id, viewer, message_id, pod_id, scope, key, body_hash, repeated, renewed_after)
-- One more reply to a message of a user that is there already.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

ids AS MATERIALIZED (
    SELECT m.session_id, m.id AS message_id, nextval('operator_message_id_seq') AS reply_id
    FROM session
    INNER JOIN operator_message AS m ON session.session_id = m.session_id
    WHERE m.id = :message_id AND m.role = 'user'
),

numbered AS (
    UPDATE operator_session AS s
    SET last_seq = s.last_seq + 1, message_count = s.message_count + 1, updated_at = now()
    FROM ids
    WHERE s.session_id = ids.session_id
    RETURNING s.session_id, s.epoch, s.last_seq, ids.message_id, ids.reply_id
),

messages AS (
    INSERT INTO operator_message (
        id, session_id, role, content, status, reply_to, owner
    )
    SELECT reply_id, session_id, 'assistant', '', 'streaming', message_id, :pod_id FROM numbered
),

renewed AS {{renew_chat_key}},

keyed AS {{insert_chat_key}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq, 'reply.started', reply_id FROM numbered
)

SELECT
    message_id, reply_id, last_seq, CAST(epoch AS text) AS epoch,
    CAST(NULL AS json) AS exchanges, now() AS ts
FROM numbered;

-- name: reply_finish(session_id, reply_id, begun_at, pod_id, status, content, metadata, event, engine, success, latency_ms, tokens_used, error_message, forward, chunked, token, user_id, model, prompt_tokens, completion_tokens, total_tokens)
-- The last write of a reply, by the pod that owns it: its text, its state, its event, feedback, usage.
-- It is known by when it began, too: after a switch-over that lost commits its id may be another reply's.
/*+ set by :session_id sharing :pod_id, :chunked */
WITH given AS (
    SELECT
        CAST(:session_id AS text) AS session_id, CAST(:reply_id AS bigint) AS reply_id,
        CAST(:begun_at AS timestamptz) AS begun_at, CAST(:status AS text) AS status,
        CAST(:content AS text) AS content, CAST(:metadata AS jsonb) AS metadata,
        CAST(:event AS text) AS event, CAST(:engine AS text) AS engine,
        CAST(:success AS boolean) AS success, CAST(:latency_ms AS bigint) AS latency_ms,
        CAST(:tokens_used AS bigint) AS tokens_used, CAST(:error_message AS text) AS error_message,
        CAST(:forward AS boolean) AS forward, CAST(:token AS text) AS token,
        CAST(:user_id AS text) AS user_id, CAST(:model AS text) AS model,
        CAST(:prompt_tokens AS bigint) AS prompt_tokens,
        CAST(:completion_tokens AS bigint) AS completion_tokens,
        CAST(:total_tokens AS bigint) AS total_tokens
),

locked AS MATERIALIZED (
    SELECT g.*
    FROM given AS g
    CROSS JOIN LATERAL (
        SELECT o.session_id FROM operator_session AS o
        WHERE o.session_id = g.session_id AND o.deleted_at IS NULL
        FOR NO KEY UPDATE
    ) AS s
),

-- Who has an owner is being written: to ask for its status would lead to the index of all that are.
stored AS (
    UPDATE operator_message AS m
    SET
        status = g.status, content = g.content, metadata = g.metadata, owner = NULL,
        finished_at = now()
    FROM locked AS g
    WHERE
        m.id = g.reply_id AND m.session_id = g.session_id AND m.created_at = g.begun_at
        AND m.owner = :pod_id
    RETURNING
        m.id, m.session_id, g.event, g.engine, g.success, g.latency_ms, g.tokens_used,
        g.error_message, g.forward, g.token, g.user_id, g.model, g.prompt_tokens,
        g.completion_tokens, g.total_tokens
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT n.session_id, n.last_seq, stored.event, stored.id
    FROM numbered AS n
    INNER JOIN stored ON n.session_id = stored.session_id
),

feedback AS (
    INSERT INTO operator_switch_feedback (
        session_id, message_id, engine, success, latency_ms, tokens_used, error_message,
        posted, given_up_at
    )
    SELECT
        session_id, id, engine, success, latency_ms, tokens_used, error_message,
        FALSE, CASE WHEN NOT forward THEN now() END
    FROM stored
    WHERE engine IS NOT NULL
),

used AS (
    INSERT INTO operator_usage_change (
        day, token, user_id, model, prompt_tokens, completion_tokens, total_tokens
    )
    SELECT
        to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), token, user_id, model,
        prompt_tokens, completion_tokens, total_tokens
    FROM stored
    WHERE token IS NOT NULL
),

chunks AS (
    DELETE FROM operator_reply_chunk AS c USING stored
    WHERE c.reply_id = stored.id AND CAST(:chunked AS boolean)
)

SELECT session_id, last_seq, now() AS ts FROM numbered;

-- name: reply_interrupt(session_id, reply_id, owner, metadata)
-- Ends an abandoned reply with the text that was stored of it.
WITH session AS MATERIALIZED {{lock_session}},

stored AS (
    UPDATE operator_message AS m
    SET
        status = 'interrupted', metadata = :metadata, owner = NULL, finished_at = now(),
        content = coalesce(
            (
                SELECT string_agg(c.content, '' ORDER BY c."offset")
                FROM operator_reply_chunk AS c
                WHERE c.reply_id = :reply_id
            ),
            ''
        )
    FROM session
    WHERE
        m.session_id = session.session_id
        AND m.id = :reply_id AND m.owner = :owner
    RETURNING m.id, m.session_id
),

numbered AS {{next_seq}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq, 'reply.interrupted', :reply_id FROM numbered
),

chunks AS (
    DELETE FROM operator_reply_chunk AS c USING stored WHERE c.reply_id = stored.id
)

SELECT last_seq, now() AS ts FROM numbered;

-- name: replies_streaming(session_ids)
-- The replies that are being written in these sessions.
SELECT m.id AS reply_id, m.session_id, m.owner, m.created_at AS begun_at
FROM operator_message AS m
WHERE m.status = 'streaming' AND m.session_id = ANY(CAST(:session_ids AS text[]));

-- name: exchanges(session_id, before, page, max_chars)
-- Messages older than one, newest first, with the best reply to each that has one.
SELECT e.question, e.answer, e.role, e.asked, e.replied FROM (
    SELECT
        u.id, u.role, {{sent_in_exchange}},
        left(u.content, :max_chars + 1) AS question,
        left(a.content, :max_chars + 1) AS answer
    FROM operator_message AS u
    LEFT JOIN LATERAL {{answer_text}} AS a ON u.role = 'user'
    WHERE u.session_id = :session_id AND u.id < :before AND {{in_history}}
) AS e
ORDER BY e.id DESC
LIMIT :page;

-- name: message_delete(message_id, viewer, with_question)
-- Deletes a message with the replies to it, and with_question what it alone replies to. Each one's events become
-- events of its deletion, and a new one says so last. No row also where others wrote to the session meanwhile: the
-- statement sees other rows as they were before.
WITH session AS MATERIALIZED (
    SELECT session_id, last_seq FROM operator_session
    WHERE
        session_id = (SELECT m.session_id FROM operator_message AS m WHERE m.id = :message_id)
        AND deleted_at IS NULL
    FOR NO KEY UPDATE
),

doomed AS MATERIALIZED (
    SELECT d.id, d.session_id FROM {{message_with_replies}} AS d
    INNER JOIN session ON d.session_id = session.session_id
    INNER JOIN operator_session AS seen
        ON session.session_id = seen.session_id AND session.last_seq = seen.last_seq
),

numbered AS (
    UPDATE operator_session AS s
    SET
        last_seq = s.last_seq + d.messages, message_count = s.message_count - d.messages,
        updated_at = now()
    FROM (SELECT session_id, count(*) AS messages FROM doomed GROUP BY session_id) AS d
    WHERE s.session_id = d.session_id
    RETURNING s.session_id, s.last_seq, d.messages
),

deleted AS (
    DELETE FROM operator_message AS m USING doomed AS d WHERE m.id = d.id
),

rewritten AS (
    UPDATE operator_event AS e
    SET
        event = 'message.deleted', message_id = NULL,
        data = jsonb_build_object('message_id', d.id)
    FROM doomed AS d
    WHERE e.session_id = d.session_id AND e.message_id = d.id
)

INSERT INTO operator_event (session_id, seq, event, data)
SELECT
    n.session_id, n.last_seq - n.messages + row_number() OVER (ORDER BY d.id DESC),
    'message.deleted', jsonb_build_object('message_id', d.id)
FROM numbered AS n
INNER JOIN doomed AS d ON n.session_id = d.session_id
RETURNING session_id, seq, data, ts;

-- name: messages_add(session_id, viewer, messages, scope, key, body_hash, repeated, renewed_after)
-- Stores messages that nobody is to answer, in their order. A key stands for them from the first to the last.
WITH session AS MATERIALIZED {{lock_session_of_viewer}},

given AS MATERIALIZED (
    SELECT g.message, g.place
    FROM jsonb_array_elements(CAST(:messages AS jsonb)) WITH ORDINALITY AS g (message, place)
),

counted AS (
    UPDATE operator_session AS s
    SET
        last_seq = s.last_seq + g.total,
        message_count = s.message_count + g.total,
        updated_at = now(),
        active_at = now()
    FROM session CROSS JOIN (SELECT count(*) AS total FROM given) AS g
    WHERE s.session_id = session.session_id
    RETURNING s.session_id, s.last_seq, g.total
),

added AS MATERIALIZED (
    SELECT o.session_id, o.last_seq, o.message, o.seq, nextval('operator_message_id_seq') AS id
    FROM (
        SELECT n.session_id, n.last_seq, g.message, n.last_seq - n.total + g.place AS seq
        FROM counted AS n CROSS JOIN given AS g
        ORDER BY g.place
    ) AS o
),

messages AS {{insert_added_messages}},

events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, seq, 'message.created', id FROM added
),

numbered AS MATERIALIZED (
    SELECT session_id, min(id) AS message_id, max(id) AS reply_id FROM added GROUP BY session_id
),

renewed AS {{renew_chat_key}},

keyed AS {{insert_chat_key}}

SELECT a.id, a.last_seq, now() AS ts
FROM added AS a
INNER JOIN numbered AS n ON a.session_id = n.session_id;
