-- name: chat_start(session_id, viewer, content, metadata, pod_id, scope, key, body_hash, repeated, renewed_after, exchanges, max_chars, recent_seq)
-- Stores a message and the reply to be written, in a session that exists; with the last exchanges,
-- or NULL for them where the caller has those as of the session's last event.
/*+ set by :session_id sharing :pod_id, :exchanges, :max_chars */
UPDATE operator_session AS s
SET
    last_seq = s.last_seq + 2,
    message_count = s.message_count + 2,
    updated_at = now(),
    active_at = {{activity_time}}
FROM given
WHERE {{session_of_viewer}};

INSERT INTO operator_message (
    session_id, role, content, status, metadata, created_at, finished_at
)
SELECT s.session_id, 'user', :content, 'complete', :metadata, now(), now()
FROM given
CROSS JOIN operator_session AS s
WHERE {{session_of_viewer}};

{{insert_replies}};

INSERT INTO operator_event (session_id, seq, event, ts, message_id)
SELECT
    s.session_id, s.last_seq - e.back, e.event, now(),
    CASE e.back WHEN 1 THEN r.reply_to ELSE r.id END
FROM operator_message AS r
CROSS JOIN operator_session AS s ON r.session_id = s.session_id
CROSS JOIN (
    SELECT 1 AS back, 'message.created' AS event UNION ALL SELECT 0, 'reply.started'
) AS e
WHERE r.id > last_insert_rowid() - changes() AND r.id <= last_insert_rowid();

SELECT
    r.session_id, r.reply_to AS message_id, r.id AS reply_id, s.last_seq, s.epoch,
    CASE
        WHEN :recent_seq IS NULL OR s.last_seq - 2 <> :recent_seq
            THEN (
                SELECT
                    json_group_array(
                        json_object(
                            'question', e.question, 'answer', e.answer, 'role', e.role,
                            'asked', json(e.asked), 'replied', json(e.replied)
                        )
                    )
                FROM (
                    SELECT w.question, w.answer, w.role, w.asked, w.replied FROM {{said}} AS w
                    WHERE w.answer IS NOT NULL OR w.is_item
                    ORDER BY w.id DESC
                    LIMIT :exchanges
                ) AS e
            )
    END AS exchanges,
    now() AS ts
FROM given
CROSS JOIN operator_session AS s
CROSS JOIN operator_message AS r
WHERE
    s.session_id = :session_id AND r.session_id = s.session_id
    AND r.id > last_insert_rowid() - changes() / 2 AND r.id <= last_insert_rowid();

/*+ only if :key */
{{insert_key_of_reply}} - changes() / 2 AND {{take_key_over}};

-- name: chat_start_new(session_id, epoch, user_id, source, created, content, metadata, pod_id, scope, key, body_hash, repeated, renewed_after)
-- Stores a message and the reply to be written, in a new session; created is the data of its event.
/*+ set by :session_id sharing :pod_id */
INSERT INTO operator_session (
    session_id, epoch, user_id, source, last_seq, message_count, created_at, updated_at, active_at
)
SELECT :session_id, :epoch, :user_id, :source, 3, 2, now(), now(), now()
FROM given
WHERE :session_id IS NOT NULL
ON CONFLICT (session_id) DO NOTHING;

INSERT INTO operator_message (
    session_id, role, content, status, metadata, created_at, finished_at
)
SELECT s.session_id, 'user', :content, 'complete', :metadata, now(), now()
FROM given
CROSS JOIN operator_session AS s
WHERE s.session_id = :session_id AND s.epoch = :epoch;

{{insert_replies}};

INSERT INTO operator_event (session_id, seq, event, ts, message_id, data)
SELECT
    r.session_id, e.seq, e.event, now(),
    CASE e.seq WHEN 2 THEN r.reply_to WHEN 3 THEN r.id END,
    CASE e.seq WHEN 1 THEN :created END
FROM given
CROSS JOIN operator_message AS r
CROSS JOIN (
    SELECT 1 AS seq, 'session.created' AS event
    UNION ALL SELECT 2, 'message.created'
    UNION ALL SELECT 3, 'reply.started'
) AS e
WHERE
    r.session_id = :session_id
    AND r.id > last_insert_rowid() - changes() AND r.id <= last_insert_rowid();

SELECT
    r.session_id, r.reply_to AS message_id, r.id AS reply_id, s.last_seq, s.epoch,
    NULL AS exchanges, now() AS ts
FROM given
CROSS JOIN operator_session AS s
CROSS JOIN operator_message AS r
WHERE
    s.session_id = :session_id AND r.session_id = s.session_id
    AND r.id > last_insert_rowid() - changes() / 3 AND r.id <= last_insert_rowid();

/*+ only if :key */
{{insert_key_of_reply}} - changes() / 3 AND {{take_key_over}};

-- name: chat_retry(session_id, message_id, failed_reply_id, pod_id, scope, key)
-- A new reply to the message of a key whose reply failed; only one caller wins.
UPDATE operator_session
SET last_seq = last_seq + 1, message_count = message_count + 1, updated_at = now()
WHERE
    session_id = :session_id AND deleted_at IS NULL
    AND EXISTS (
        SELECT 1 FROM operator_chat_key AS k
        WHERE k.scope = :scope AND k.key = :key AND k.reply_id = :failed_reply_id
    );

{{insert_another_reply}};

{{insert_reply_started}};

UPDATE operator_chat_key SET reply_id = last_insert_rowid()
WHERE scope = :scope AND key = :key AND reply_id = :failed_reply_id AND changes() = 1;

-- name: chat_regenerate(session_id, viewer, message_id, pod_id, scope, key, body_hash, repeated, renewed_after)
-- One more reply to a message of a user that is there already.
UPDATE operator_session
SET last_seq = last_seq + 1, message_count = message_count + 1, updated_at = now()
WHERE
    {{session_of_viewer}}
    AND EXISTS (
        SELECT 1 FROM operator_message AS m
        WHERE m.id = :message_id AND m.session_id = :session_id AND m.role = 'user'
    );

{{insert_another_reply}};

{{insert_reply_started}};

/*+ only if :key */
WITH given AS (SELECT 1)

{{insert_key_of_reply}} - changes() AND {{take_key_over}};

-- name: reply_finish(session_id, reply_id, begun_at, pod_id, status, content, metadata, event, engine, success, latency_ms, tokens_used, error_message, forward, chunked, token, user_id, model, prompt_tokens, completion_tokens, total_tokens)
-- The last write of a reply, by the pod that owns it: its text, its state, its event, feedback, usage.
-- The message itself comes last: until then its owner tells that all this is to be written.
/*+ set by :session_id sharing :pod_id */
UPDATE operator_session AS s
SET last_seq = s.last_seq + 1, updated_at = now()
FROM given
CROSS JOIN operator_message AS m
WHERE {{owned_reply}} AND s.session_id = m.session_id
RETURNING session_id, last_seq, updated_at AS ts;

INSERT INTO operator_event (session_id, seq, event, ts, message_id)
SELECT s.session_id, s.last_seq, :event, now(), m.id
FROM given
CROSS JOIN operator_message AS m
CROSS JOIN operator_session AS s
WHERE {{owned_reply}} AND s.session_id = m.session_id;

/*+ only if :engine */
INSERT INTO operator_switch_feedback (
    session_id, message_id, engine, success, latency_ms, tokens_used, error_message,
    posted, not_before, created_at, given_up_at
)
SELECT
    m.session_id, m.id, :engine, :success, :latency_ms, :tokens_used, :error_message,
    0, now(), now(), CASE WHEN NOT :forward THEN now() END
FROM given
CROSS JOIN operator_message AS m
WHERE {{owned_reply}} AND :engine IS NOT NULL;

/*+ only if :token */
INSERT INTO operator_usage_change (
    day, token, user_id, model, prompt_tokens, completion_tokens, total_tokens
)
SELECT
    substr(now(), 1, 10), :token, :user_id, :model, :prompt_tokens, :completion_tokens,
    :total_tokens
FROM given
CROSS JOIN operator_message AS m
WHERE {{owned_reply}} AND :token IS NOT NULL;

UPDATE operator_message AS m
SET
    status = :status, content = :content, metadata = :metadata, owner = NULL, finished_at = now()
FROM given
WHERE {{owned_reply}};

/*+ only if :chunked */
DELETE FROM operator_reply_chunk
WHERE reply_id IN (
    SELECT m.id
    FROM given
    CROSS JOIN operator_message AS m
    WHERE m.id = :reply_id AND m.status <> 'streaming' AND :chunked IS NOT NULL
);

-- name: reply_interrupt(session_id, reply_id, owner, metadata)
-- Ends an abandoned reply with the text that was stored of it.
UPDATE operator_message
SET
    status = 'interrupted', metadata = :metadata, owner = NULL, finished_at = now(),
    content = coalesce(
        (
            SELECT group_concat(c.content, '') FROM (
                SELECT content FROM operator_reply_chunk
                WHERE reply_id = :reply_id
                ORDER BY "offset"
            ) AS c
        ),
        ''
    )
WHERE id = :reply_id AND session_id = :session_id AND owner = :owner AND status = 'streaming';

UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE session_id = :session_id AND changes() = 1
RETURNING last_seq, updated_at AS ts;

INSERT INTO operator_event (session_id, seq, event, ts, message_id)
SELECT session_id, last_seq, 'reply.interrupted', now(), :reply_id FROM operator_session
WHERE session_id = :session_id AND changes() = 1;

DELETE FROM operator_reply_chunk
WHERE
    reply_id = :reply_id
    AND (SELECT m.status FROM operator_message AS m WHERE m.id = :reply_id) <> 'streaming';

-- name: replies_streaming(session_ids)
-- The replies that are being written in these sessions.
SELECT m.id AS reply_id, m.session_id, m.owner, m.created_at AS begun_at
FROM operator_message AS m
WHERE
    m.status = 'streaming'
    AND m.session_id IN (SELECT value FROM json_each(:session_ids));

-- name: exchanges(session_id, before, page, max_chars)
-- Messages older than one, newest first, with the best reply to each that has one.
SELECT w.question, w.answer, w.role, w.asked, w.replied FROM {{said}} AS w
WHERE w.id < :before AND (w.answer IS NOT NULL OR w.is_item)
ORDER BY w.id DESC
LIMIT :page;

-- name: message_delete(message_id, viewer, with_question)
-- Deletes a message with the replies to it, and with_question what it alone replies to. Each one's events become
-- events of its deletion, and a new one says so last.
UPDATE operator_session
SET
    last_seq = last_seq + (SELECT count(*) FROM {{message_with_replies}}),
    message_count = message_count - (SELECT count(*) FROM {{message_with_replies}}),
    updated_at = now()
WHERE
    session_id IN (SELECT d.session_id FROM {{message_with_replies}} AS d);

UPDATE operator_event
SET
    event = 'message.deleted', message_id = NULL, data = json_object('message_id', message_id)
WHERE
    session_id IN (SELECT d.session_id FROM {{message_with_replies}} AS d)
    AND message_id IN (SELECT d.id FROM {{message_with_replies}} AS d);

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq - count(*) OVER () + row_number() OVER (ORDER BY d.id DESC),
    'message.deleted', now(), json_object('message_id', d.id)
FROM {{message_with_replies}} AS d
INNER JOIN operator_session AS s ON d.session_id = s.session_id
RETURNING session_id, seq, data, ts;

DELETE FROM operator_message
WHERE id IN (SELECT d.id FROM {{message_with_replies}} AS d);

-- name: messages_add(session_id, viewer, messages, scope, key, body_hash, repeated, renewed_after)
-- Stores messages that nobody is to answer, in their order. A key stands for them from the first to the last.
UPDATE operator_session
SET
    last_seq = last_seq + json_array_length(:messages),
    message_count = message_count + json_array_length(:messages),
    updated_at = now(),
    active_at = now()
WHERE {{session_of_viewer}};

{{insert_added}};

{{insert_events_of_added}};

/*+ only if :key */
WITH given AS (SELECT 1)

INSERT INTO operator_chat_key (
    scope, key, body_hash, session_id, message_id, reply_id, created_at, repeated
)
SELECT
    :scope, :key, :body_hash, m.session_id, m.id - changes() + 1, m.id, now(),
    coalesce(:repeated, FALSE)
FROM given
CROSS JOIN operator_message AS m
WHERE
    changes() = json_array_length(:messages)
    AND m.id = (
        SELECT n.id FROM operator_message AS n
        WHERE n.session_id = :session_id
        ORDER BY n.id DESC
        LIMIT 1
    )
    AND {{take_key_over}};
